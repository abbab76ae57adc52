"""Our vanilla, eager, in static shapes and compiled, beside ``transformers`` generate in turn in one run; and AdaDecode beside our compiled vanilla.

On one CPU thread at batch 1: the demo model on held-out prompts, and a Llama of 150M random parameters, each in FP32 and BF16. A text must be the model's own
in FP32; in BF16, where the order of sums may flip a near-tie, those that are its own are counted, and AdaDecode's that are vanilla's in the same mode. All
texts have the same length, whatever their ends, so that seconds compare. The limit beside them is a token as fast as this core reads as many bytes as the
weights have, in the same turns. AdaDecode's designs are the best by simulation, on other prompts than those that are measured, with latencies recorded here
in each dtype and mode.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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
from benchmarks.harness import PROFILE, in_turn, keep, ratio, spread

MODES = ("eager", "static", "compile")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def random_llama(dtype: torch.dtype) -> PreTrainedModel:
    """152M parameters: 12 layers of width 1024, a vocabulary of 16384, random weights of seed 0."""
    config = LlamaConfig(
        hidden_size=1024, intermediate_size=2816, num_hidden_layers=12, num_attention_heads=16, num_key_value_heads=4, vocab_size=16384,
        max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).to(dtype).eval()


SHORT = {
    "limit": 4, "domains": "arithmetic", "max-new-tokens": 8, "repeats": 1, "placements": 4, "gammas": 0.5, "fixed-drafts": 0, "samples": 2,
    "walks": "1,2,3,4,6,8,12", "branch-floor": 1,
}  # fmt: skip
"""What is recorded where only latencies are wanted."""

READS = 4
"""Times that as many bytes as the weights have are read, for the ceiling."""

Way = Callable[[torch.Tensor, int], list[int]]
"""Decodes so many tokens after a prompt (1, n)."""


def compare(
    name: str,
    model: PreTrainedModel,
    heads: ExitHeads,
    prompts: Sequence[torch.Tensor],
    tokens: int,
    repeats: int,
    designs: Mapping[str, Design],
) -> dict[str, Any]:
    """All ways to decode the same prompts, in turn, prompt by prompt; designs: AdaDecode's too, by mode, each the best of many by simulation.

    A text's first token is timed by itself as well, in the same turns: what is left of the whole is the time of a token without the prompt.
    """

    def generate(prompt: torch.Tensor, tokens: int) -> list[int]:
        made = model.generate(prompt, max_new_tokens=tokens, do_sample=False, pad_token_id=0)
        text: list[int] = made[0, prompt.shape[1] :].tolist()
        return text

    model.generation_config.eos_token_id = None
    decoders = {mode: AdaDecoder(model, heads, graphs=mode) for mode in MODES}
    ways: dict[str, Way] = {"transformers": generate}
    for mode, decoder in decoders.items():
        ways[mode] = lambda x, n, d=decoder: (
            d.generate(x, n, policy="vanilla", eos_token_id=()).tokens
        )
    for mode, design in designs.items():
        options: dict[str, Any] = {
            "gamma": design.gammas,
            "placement": design.placement,
            "cap": design.cap,
        }
        ways[f"adadecode {mode}"] = lambda x, n, d=decoders[mode], o=options: (
            d.generate(x, n, eos_token_id=(), **o).tokens
        )
    begun = time.perf_counter()
    texts = {
        way: [decode(x, tokens) for x in prompts] for way, decode in ways.items()
    }  # compiles what is compiled
    first = time.perf_counter() - begun
    weights = sum(weight.nbytes for weight in model.parameters())
    memory = torch.ones(weights // 4)
    jobs: dict[str, list[Callable[[], Any]]] = {
        "read": [lambda: [memory.sum() for _ in range(READS)]] * len(prompts)
    }
    for way, decode in ways.items():
        jobs[way] = [lambda x=x, f=decode: f(x, tokens) for x in prompts]
        jobs[f"{way}, first token"] = [lambda x=x, f=decode: f(x, 1) for x in prompts]
    whole = in_turn(jobs, repeats)
    each = {
        way: _later_tokens(whole[way], whole[f"{way}, first token"], len(prompts) * (tokens - 1))
        for way in ways
    }
    read = [seconds / (READS * len(prompts)) for seconds in whole["read"]]
    compiled = decoders["compile"].parts
    assert isinstance(compiled, CompiledModel)
    result: dict[str, Any] = {
        "model": name,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "prompts": len(prompts),
        "new_tokens": tokens,
        "repeats": repeats,
        "tokens_per_s": {way: 1 / median(seconds) for way, seconds in each.items()},
        "over_transformers": {
            way: ratio(each["transformers"], seconds)
            for way, seconds in each.items()
            if way != "transformers"
        },
        "over_transformers_with_prompt": {
            way: ratio(whole["transformers"], whole[way]) for way in ways if way != "transformers"
        },
        "read_gb_per_s": weights / median(read) / 1e9,
        "of_the_reading_limit": {way: ratio(read, each[way]) for way in ("transformers", *MODES)},
        "equal_texts": {
            way: sum(a == b for a, b in zip(found, texts["transformers"], strict=True))
            for way, found in texts.items()
        },
        "compiled": None
        if compiled.compiler is None
        else {"variants": compiled.compiler.variants, "seconds": compiled.compiler.seconds},
        "first_run_s": first,
        "fallbacks": [
            why
            for decoder in decoders.values()
            if isinstance(decoder.parts, StaticModel)
            for why in decoder.parts.fallbacks
        ],
    }
    for mode, design in designs.items():
        result[f"design_{mode}"] = design.label
        result[f"equal_to_vanilla_{mode}"] = sum(
            a == b for a, b in zip(texts[f"adadecode {mode}"], texts[mode], strict=True)
        )
        result[f"adadecode_over_vanilla_{mode}"] = ratio(each[mode], each[f"adadecode {mode}"])
    if model.dtype == torch.float32 and any(
        n < len(prompts) for n in result["equal_texts"].values()
    ):
        raise SystemExit(
            f"{name} in FP32: not all texts are the model's own: {result['equal_texts']}"
        )
    return result


def recorded_latency(trace: Profile, dtype: str, graphs: str) -> LatencyTable:
    """Of the demo model, recorded here in this dtype and mode at the contexts of ``trace``."""
    contexts = sorted(set(trace.latency.loc[trace.latency["context"] > 0, "context"]))
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "out": f"{folder}/p",
            "dtype": dtype,
            "graphs": graphs,
            "contexts": ",".join(map(str, contexts)),
            **SHORT,
        }
        record_profile(
            ["--demo", *(f"--{name}={value}" for name, value in options.items())],
            standalone_mode=False,
        )
        return LatencyTable.from_samples(read_profile(f"{folder}/p").latency, trace.n_layers)


def rows_over_one(latency: LatencyTable) -> dict[str, float]:
    """What a walk of all layers over 2 and over 4 tokens costs, of a walk over one."""
    walks = {
        n: latency.layers(0, latency.n_layers, n, latency.contexts[0], latency.n_layers)
        for n in (1, 2, 4)
    }
    return {str(n): seconds / walks[1] for n, seconds in walks.items() if n > 1}


def _later_tokens(whole: Sequence[float], first: Sequence[float], tokens: int) -> list[float]:
    """Seconds of one token after the first, in each repeat."""
    return [(all_of_it - prompt) / tokens for all_of_it, prompt in zip(whole, first, strict=True)]


def table_of(results: Sequence[dict[str, Any]]) -> Table:
    """Each way against generate, AdaDecode against our vanilla, and vanilla against what reading its weights alone would allow."""
    title = "tokens after the first, over transformers generate: median (lowest .. highest)"
    table = Table("", *(f"{r['model']} {r['dtype']}" for r in results), title=title)

    def row(name: str, key: str, way: str | None = None) -> None:
        cells = [r.get(key) if way is None else r[key].get(way) for r in results]
        table.add_row(name, *(spread(c) for c in cells))

    ways = list(dict.fromkeys(way for r in results for way in r["over_transformers"]))
    for way in ways:
        row(way, "over_transformers", way)
    for way in ways:
        row(f"{way}, prompt included", "over_transformers_with_prompt", way)
    for mode in ("eager", "compile"):
        row(f"adadecode / vanilla, {mode}", f"adadecode_over_vanilla_{mode}")
    for mode in ("eager", "compile"):
        rows = [r.get(f"rows_over_one_{mode}", {}) for r in results]
        table.add_row(
            f"2 and 4 tokens over one, {mode}",
            *(", ".join(f"{cost:.2f}" for cost in found.values()) for found in rows),
        )
    for way in ("transformers", *MODES):
        row(f"of the reading limit, {way}", "of_the_reading_limit", way)
    table.add_row("memory read, GB/s", *(f"{r['read_gb_per_s']:.1f}" for r in results))
    table.add_row(
        "generate, tokens/s", *(f"{r['tokens_per_s']['transformers']:.1f}" for r in results)
    )
    for way in ways:
        table.add_row(
            f"generate's texts, {way}", *(_of(r["equal_texts"].get(way), r) for r in results)
        )
    for mode in ("eager", "compile"):
        table.add_row(
            f"vanilla's texts, adadecode {mode}",
            *(_of(r.get(f"equal_to_vanilla_{mode}"), r) for r in results),
        )
    table.add_row(
        "compiled",
        *(
            ""
            if r["compiled"] is None
            else f"{r['compiled']['variants']} in {r['compiled']['seconds']:.0f} s"
            for r in results
        ),
    )
    return table


def _of(count: int | None, result: dict[str, Any]) -> str:
    return "" if count is None else f"{count} of {result['prompts']}"


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
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = []
    if "demo" in args.models:
        trace = read_profile(PROFILE)
        recorded = Predictor.of(trace).prompts(["arithmetic"])
        for dtype in args.dtypes.split(","):
            latencies = {
                mode: recorded_latency(trace, dtype, mode) for mode in ("eager", "compile")
            }
            by_latency = {
                mode: Predictor(trace=Trace.from_profile(trace), latency=latency)
                for mode, latency in latencies.items()
            }
            designs = {
                mode: best_design(predictor, recorded).design
                for mode, predictor in by_latency.items()
            }
            torch.set_num_threads(1)
            demo = load_demo(dtype)
            fresh = demo.of("arithmetic")[len(recorded) :][: args.prompts]
            prompts = [encode(demo.tokenizer, prompt) for prompt in fresh]
            told = compare(
                "demo", demo.model, demo.heads, prompts, args.tokens, args.repeats, designs
            )
            results.append(
                {
                    **told,
                    **{
                        f"rows_over_one_{mode}": rows_over_one(latency)
                        for mode, latency in latencies.items()
                    },
                }
            )
    if "random" in args.models:
        generator = torch.Generator().manual_seed(0)
        prompts = [
            torch.randint(16384, (1, 32), generator=generator)
            for _ in range(max(1, args.prompts // 3))
        ]
        for dtype in args.dtypes.split(","):
            model = random_llama(DTYPES[dtype])
            results.append(
                compare(
                    "random",
                    model,
                    ExitHeads.identity(model, ()),
                    prompts,
                    args.tokens,
                    args.repeats,
                    {},
                )
            )
    keep("vanilla", {"results": results})
    Console(width=130).print(table_of(results))


if __name__ == "__main__":
    main()
