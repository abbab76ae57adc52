"""Compare our vanilla, eager, in static shapes and compiled, with ``transformers`` generate.

AdaDecode is compared with our vanilla too. All are timed in turn in one run, on one CPU thread at
batch 1: the demo model on held-out prompts, and a Llama of 150M random parameters, each in FP32 and
BF16.

A text must be the model's own in FP32. In BF16, where the order of sums may flip a near-tie, the
texts that are its own are counted, and AdaDecode's that are vanilla's in the same mode. All texts
have the same length, whatever their ends, so that seconds compare. The limit given with them is a
token in the time that this core needs to read as many bytes as the weights have, in the same turns.
AdaDecode's designs are the best by simulation, on other prompts than those that are measured, with
latencies recorded here in each dtype and mode.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from adadecode.engine import AdaDecoder, load_demo
from adadecode.engine.cli.profile import app as record_profile
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import encode
from adadecode.engine.model.cuda_graphs import CompiledModel
from adadecode.engine.model.static_shapes import StaticModel
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from benchmarks.designs import best_design
from benchmarks.harness import PROFILE, describe_ratio, in_turn, ratio, write_result

MODES = ("eager", "static", "compile")
DESIGN_MODES = ("eager", "compile")
"""Modes in which AdaDecode is timed too."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RANDOM_VOCABULARY, RANDOM_PROMPT = 16384, 32
"""Vocabulary and prompt tokens of the random Llama."""


def random_llama(dtype: torch.dtype) -> PreTrainedModel:
    """Return a Llama of 152M random parameters (seed 0): 12 layers of width 1024."""
    config = LlamaConfig(
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=12,
        num_attention_heads=16,
        num_key_value_heads=4,
        vocab_size=RANDOM_VOCABULARY,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).to(dtype).eval()


LATENCY_OPTIONS = {
    "limit": 4,
    "domains": "arithmetic",
    "max-new-tokens": 8,
    "repeats": 1,
    "placements": 4,
    "gammas": 0.5,
    "fixed-drafts": 0,
    "samples": 2,
    "walks": "1,2,3,4,6,8,12",
    "branch-floor": 1,
}
"""Options of a recording of which only the latencies are used."""

READS = 4
"""Times that as many bytes as the weights have are read, for the limit."""

Decode = Callable[[torch.Tensor, int], list[int]]
"""Decodes a number of tokens after a prompt of shape (1, n)."""


def compare(
    name: str,
    model: PreTrainedModel,
    heads: ExitHeads,
    prompts: Sequence[torch.Tensor],
    tokens: int,
    repeats: int,
    designs: Mapping[str, Design],
) -> dict[str, Any]:
    """Decode the same prompts in all ways, in turn, prompt by prompt.

    A text's first token is timed by itself as well, in the same turns: the rest is the time of
    tokens without the prompt.

    Args:
        name: Of the model.
        model: To decode with.
        heads: Of the model.
        prompts: Token ids, shape (1, n) each.
        tokens: New tokens of each prompt.
        repeats: Of the timed runs.
        designs: Of AdaDecode by mode, each the best of many by simulation.

    Raises:
        SystemExit: If a text in FP32 is not the model's own.
    """
    model.generation_config.eos_token_id = None
    decoders = {mode: AdaDecoder(model, heads, graphs=mode) for mode in MODES}
    ways = _ways(model, decoders, designs)
    began = time.perf_counter()
    texts = {way: [decode(ids, tokens) for ids in prompts] for way, decode in ways.items()}
    first_run_s = time.perf_counter() - began  # compiling included
    weights = sum(weight.nbytes for weight in model.parameters())
    run_s = in_turn(_jobs(ways, prompts, tokens, weights), repeats)
    token_s = {
        way: _later_tokens(run_s[way], run_s[f"{way}, first token"], len(prompts) * (tokens - 1))
        for way in ways
    }
    read_s = [seconds / (READS * len(prompts)) for seconds in run_s["read"]]
    others = [way for way in ways if way != "transformers"]
    result: dict[str, Any] = {
        "model": name,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "prompts": len(prompts),
        "new_tokens": tokens,
        "repeats": repeats,
        "tokens_per_s": {way: 1 / median(seconds) for way, seconds in token_s.items()},
        "over_transformers": {way: ratio(token_s["transformers"], token_s[way]) for way in others},
        "over_transformers_with_prompt": {
            way: ratio(run_s["transformers"], run_s[way]) for way in others
        },
        "read_gb_per_s": weights / median(read_s) / 1e9,
        "of_the_reading_limit": {
            way: ratio(read_s, token_s[way]) for way in ("transformers", *MODES)
        },
        "equal_texts": {
            way: _count_equal(found, texts["transformers"]) for way, found in texts.items()
        },
        "compiled": _compilation(decoders["compile"]),
        "first_run_s": first_run_s,
        "fallbacks": _fallbacks(decoders),
    }
    for mode, design in designs.items():
        way = f"adadecode {mode}"
        result[f"design_{mode}"] = design.label
        result[f"equal_to_vanilla_{mode}"] = _count_equal(texts[way], texts[mode])
        result[f"adadecode_over_vanilla_{mode}"] = ratio(token_s[mode], token_s[way])
    if model.dtype == torch.float32:
        _check_texts(name, result["equal_texts"], len(prompts))
    return result


def _check_texts(name: str, equal_texts: Mapping[str, int], n_prompts: int) -> None:
    """Raise SystemExit unless all texts are the model's own."""
    if any(count < n_prompts for count in equal_texts.values()):
        raise SystemExit(f"{name} in FP32: not all texts are the model's own: {equal_texts}")


def _ways(
    model: PreTrainedModel, decoders: Mapping[str, AdaDecoder], designs: Mapping[str, Design]
) -> dict[str, Decode]:
    """Return generate, our vanilla by mode, and AdaDecode by the modes of the designs."""

    def generate(ids: torch.Tensor, tokens: int) -> list[int]:
        output = model.generate(ids, max_new_tokens=tokens, do_sample=False, pad_token_id=0)
        text: list[int] = output[0, ids.shape[1] :].tolist()
        return text

    def decode_with(decoder: AdaDecoder, **options: Any) -> Decode:  # noqa: ANN401 - of generate
        return lambda ids, tokens: decoder.generate(ids, tokens, eos_token_id=(), **options).tokens

    ways: dict[str, Decode] = {"transformers": generate}
    for mode, decoder in decoders.items():
        ways[mode] = decode_with(decoder, policy="vanilla")
    for mode, design in designs.items():
        ways[f"adadecode {mode}"] = decode_with(
            decoders[mode], gamma=design.gammas, placement=design.placement, cap=design.cap
        )
    return ways


def _jobs(
    ways: Mapping[str, Decode], prompts: Sequence[torch.Tensor], tokens: int, weights: int
) -> dict[str, list[Callable[[], Any]]]:
    """Return what is timed: reading, whole texts, and first tokens; a part a prompt.

    Args:
        ways: To decode.
        prompts: Token ids, shape (1, n) each.
        tokens: New tokens of a whole text.
        weights: Bytes of the weights.
    """
    memory = torch.ones(weights // 4)
    jobs: dict[str, list[Callable[[], Any]]] = {
        "read": [lambda: [memory.sum() for _ in range(READS)]] * len(prompts)
    }
    for way, decode in ways.items():
        jobs[way] = [partial(decode, ids, tokens) for ids in prompts]
        jobs[f"{way}, first token"] = [partial(decode, ids, 1) for ids in prompts]
    return jobs


def _later_tokens(whole: Sequence[float], first: Sequence[float], tokens: int) -> list[float]:
    """Return the seconds of one token after the first, in each repeat."""
    return [(text_s - first_s) / tokens for text_s, first_s in zip(whole, first, strict=True)]


def _count_equal(texts: Sequence[list[int]], others: Sequence[list[int]]) -> int:
    return sum(text == other for text, other in zip(texts, others, strict=True))


def _fallbacks(decoders: Mapping[str, AdaDecoder]) -> list[str]:
    """Return why parts of the model ran in another mode than theirs."""
    return [
        fallback
        for decoder in decoders.values()
        if isinstance(decoder.parts, StaticModel)
        for fallback in decoder.parts.fallbacks
    ]


def _compilation(decoder: AdaDecoder) -> dict[str, Any] | None:
    """Return how many functions were compiled and how long that took; None where none was."""
    compiled = decoder.parts
    assert isinstance(compiled, CompiledModel)
    if compiled.compiler is None:
        return None
    return {"variants": compiled.compiler.variants, "seconds": compiled.compiler.seconds}


def record_latency(trace: Profile, dtype: str, graphs: str) -> LatencyTable:
    """Record the demo model's latencies here, at the contexts of ``trace``.

    Args:
        trace: A recording of the demo model.
        dtype: Of the weights.
        graphs: How layers are run.
    """
    contexts = sorted(set(trace.latency.loc[trace.latency["context"] > 0, "context"]))
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "out": f"{folder}/p",
            "dtype": dtype,
            "graphs": graphs,
            "contexts": ",".join(map(str, contexts)),
            **LATENCY_OPTIONS,
        }
        record_profile(
            ["--demo", *(f"--{name}={value}" for name, value in options.items())],
            standalone_mode=False,
        )
        return LatencyTable.from_samples(read_profile(f"{folder}/p").latency, trace.n_layers)


def rows_over_one(latency: LatencyTable) -> dict[str, float]:
    """Return what a walk of all layers over 2 and over 4 tokens costs, relative to one token."""
    walks = {
        n: latency.layers(0, latency.n_layers, n, latency.contexts[0], latency.n_layers)
        for n in (1, 2, 4)
    }
    return {str(n): seconds / walks[1] for n, seconds in walks.items() if n > 1}


def table_of(results: Sequence[dict[str, Any]]) -> Table:
    """Return the ratios of all models and dtypes as a table."""
    title = "tokens after the first, over transformers generate: median (lowest .. highest)"
    table = Table("", *(f"{r['model']} {r['dtype']}" for r in results), title=title)

    def add(name: str, cell: Callable[[dict[str, Any]], str]) -> None:
        table.add_row(name, *(cell(result) for result in results))

    ways = list(dict.fromkeys(way for result in results for way in result["over_transformers"]))
    for way in ways:
        add(way, lambda r, w=way: describe_ratio(r["over_transformers"].get(w)))
    for way in ways:
        add(
            f"{way}, prompt included",
            lambda r, w=way: describe_ratio(r["over_transformers_with_prompt"].get(w)),
        )
    for mode in DESIGN_MODES:
        key = f"adadecode_over_vanilla_{mode}"
        add(f"adadecode / vanilla, {mode}", lambda r, k=key: describe_ratio(r.get(k)))
    for mode in DESIGN_MODES:
        key = f"rows_over_one_{mode}"
        add(
            f"2 and 4 tokens over one, {mode}",
            lambda r, k=key: ", ".join(f"{cost:.2f}" for cost in r.get(k, {}).values()),
        )
    for way in ("transformers", *MODES):
        add(
            f"of the reading limit, {way}",
            lambda r, w=way: describe_ratio(r["of_the_reading_limit"].get(w)),
        )
    add("memory read, GB/s", lambda r: f"{r['read_gb_per_s']:.1f}")
    add("generate, tokens/s", lambda r: f"{r['tokens_per_s']['transformers']:.1f}")
    for way in ways:
        add(f"generate's texts, {way}", lambda r, w=way: _of_prompts(r["equal_texts"].get(w), r))
    for mode in DESIGN_MODES:
        key = f"equal_to_vanilla_{mode}"
        add(f"vanilla's texts, adadecode {mode}", lambda r, k=key: _of_prompts(r.get(k), r))
    add("compiled", lambda r: _describe_compilation(r["compiled"]))
    return table


def _of_prompts(count: int | None, result: Mapping[str, Any]) -> str:
    return "" if count is None else f"{count} of {result['prompts']}"


def _describe_compilation(compiled: Mapping[str, Any] | None) -> str:
    return "" if compiled is None else f"{compiled['variants']} in {compiled['seconds']:.0f} s"


def compare_demo(dtype: str, n_prompts: int, tokens: int, repeats: int) -> dict[str, Any]:
    """Compare all ways on the demo model, with designs chosen for latencies recorded here."""
    profile = read_profile(PROFILE)
    recorded = Predictor.of(profile).prompts(["arithmetic"])
    latencies = {mode: record_latency(profile, dtype, mode) for mode in DESIGN_MODES}
    predictors = {
        mode: Predictor(trace=Trace.from_profile(profile), latency=latency)
        for mode, latency in latencies.items()
    }
    designs = {
        mode: best_design(predictor, recorded).design for mode, predictor in predictors.items()
    }
    torch.set_num_threads(1)
    demo = load_demo(dtype)
    held_out = demo.of("arithmetic")[len(recorded) :][:n_prompts]
    prompts = [encode(demo.tokenizer, prompt) for prompt in held_out]
    result = compare("demo", demo.model, demo.heads, prompts, tokens, repeats, designs)
    return result | {
        f"rows_over_one_{mode}": rows_over_one(latency) for mode, latency in latencies.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Print and keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--prompts",
        type=int,
        default=5,
        help="held-out prompts of the demo model; a third of them for the random one",
    )
    parser.add_argument("--tokens", type=int, default=96, help="new tokens")
    parser.add_argument("--models", default="demo,random")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dtypes = options.dtypes.split(",")
    results = []
    if "demo" in options.models:
        results += [
            compare_demo(dtype, options.prompts, options.tokens, options.repeats)
            for dtype in dtypes
        ]
    if "random" in options.models:
        generator = torch.Generator().manual_seed(0)
        prompts = [
            torch.randint(RANDOM_VOCABULARY, (1, RANDOM_PROMPT), generator=generator)
            for _ in range(max(1, options.prompts // 3))
        ]
        for dtype in dtypes:
            model = random_llama(DTYPES[dtype])
            heads = ExitHeads.identity(model, ())
            results.append(
                compare("random", model, heads, prompts, options.tokens, options.repeats, {})
            )
    write_result("vanilla", {"results": results})
    Console(width=130).print(table_of(results))


if __name__ == "__main__":
    main()
