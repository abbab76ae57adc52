"""Compare cheaper heads on the demo model with full ones.

Measured are the cost of a check in place, what the form loses, the speedup of a design, and what
the simulator predicts from a full head's trace.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adadecode.engine import AdaDecoder, Demo, ExitHeads, load_demo
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.evaluation.head_coverage import measure_coverage
from adadecode.engine.heads.int8 import PRODUCTS, quantised
from adadecode.engine.heads.token_frequency import by_frequency
from adadecode.engine.loading.prompts import encode
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.profiling.latency_walks import walk
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.schema import REQUIRED_COLUMNS, TABLES
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Round
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.replay.simulation import replay
from benchmarks.harness import describe_ratio, in_turn, make_table, ratio, write_result

FORMS: dict[str, dict[str, Any]] = {
    "full": {},
    "shortlist:256": {"shortlist": 256},
    "shortlist:128": {"shortlist": 128},
    "int8": {"dtype": "int8"},
    "shortlist:256 int8": {"shortlist": 256, "dtype": "int8"},
}
DOMAINS = ("arithmetic", "code", "prose")
DESIGN = Design.of("adadecode", gamma=0.75, placement=(3, 7))
NEW_TOKENS, CONTEXT, LAPS = 96, 64, 20
SIZES = ((8192, 2048), (8192, 4096))
"""Rows and width of the timed matrices: shortlists of models of 1B and 8B parameters."""
PRODUCT_REPEATS = 15


def continue_prompts(
    decoder: AdaDecoder, demo: Demo, first: int, stop: int
) -> dict[str, list[Continuation]]:
    """Return the model's own continuations of prompts ``first`` to ``stop - 1`` of each domain."""
    texts: dict[str, list[Continuation]] = {}
    for domain in DOMAINS:
        prompts = [encode(demo.tokenizer, prompt) for prompt in demo.of(domain)[first:stop]]
        texts[domain] = [
            Continuation(
                prompt=ids, output=decoder.generate(ids, NEW_TOKENS, policy="vanilla").tokens
            )
            for ids in prompts
        ]
    return texts


def time_checks(decoders: Mapping[str, AdaDecoder], visits: int) -> dict[str, float]:
    """Time a check at each depth of the design, and a layer, in place; the forms in turn.

    Returns:
        Microseconds: the median over visits of medians over laps.
    """
    seconds: dict[tuple[str, int], list[float]] = {}
    for visit in track(range(visits), "checks"):
        for name, decoder in decoders.items():
            with torch.inference_mode():
                decoder.parts.allocate(CONTEXT + NEW_TOKENS)
            for depth in DESIGN.placement:
                with decoder.parts.session():
                    rows = list(walk(decoder, depth, [5], CONTEXT, LAPS, visit))
                for kind in ("head", "layer"):
                    seconds.setdefault((f"{name}/{kind}", depth), []).append(
                        median(row["seconds"] for row in rows if row["kind"] == kind)
                    )
    return {f"{name} at {depth}": 1e6 * median(found) for (name, depth), found in seconds.items()}


def time_products(device: torch.device, repeats: int) -> list[dict[str, Any]]:
    """Time one state times whole matrices, wide and in int8, by every product of the device.

    Returns:
        A row for each size and product, with the median microseconds.
    """
    found = []
    for rows, width in SIZES:
        for name, product in _products(device, rows, width).items():
            product()
            clock, seconds = Clock(device), []
            for _ in range(repeats):
                clock.mark()
                product()
                clock.mark()
                seconds += clock.intervals()
            microseconds = 1e6 * median(seconds)
            found.append(
                {"rows": rows, "width": width, "product": name, "microseconds": microseconds}
            )
    return found


def _products(device: torch.device, rows: int, width: int) -> dict[str, Callable[[], object]]:
    """Return the products of a state and a matrix of this size, by dtype and name."""
    weight = torch.randn(rows, width, device=device)
    state = torch.randn(1, width, device=device)
    codes, scales = quantised(weight)
    jobs: dict[str, Callable[[], object]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        typed_weight, typed_state = weight.to(dtype), state.to(dtype)
        prefix = f"{dtype}".removeprefix("torch.")
        jobs[f"{prefix} wide"] = partial(torch.matmul, typed_state, typed_weight.T)
        for name, product in PRODUCTS[device.type].items():
            jobs[f"{prefix} {name}"] = partial(product, typed_state, codes, scales)
    return jobs


def full_trace(decoder: AdaDecoder, texts: list[Continuation]) -> Trace:
    """Return the trace of full heads along these texts, without branches."""
    rows: list[dict[str, Any]] = []
    prompts: list[dict[str, Any]] = []
    with decoder.parts.session():
        for number, text in enumerate(texts):
            ids = tuple(text.prompt[0].tolist())
            continuation, outputs = Counterfactual(decoder).trace(ids, NEW_TOKENS)
            rows += [{"prompt": number, **row} for row in outputs]
            prompt = {
                "prompt": number,
                "domain": "",
                "n_prompt": len(continuation.prompt),
                "n_output": len(continuation.outputs),
                "ended": continuation.ended,
                "first_token": continuation.outputs[0],
                "sha256": "",
                "max_new_tokens": NEW_TOKENS,
            }
            prompts.append(prompt)
    return Trace.from_frames(
        pd.DataFrame(prompts, columns=list(REQUIRED_COLUMNS["prompts"])),
        pd.DataFrame(rows, columns=TABLES["trace"].names),
        pd.DataFrame([], columns=TABLES["branches"].names),
        n_layers=decoder.parts.n_layers,
        depths=decoder.heads.depths,
        eos=decoder.eos,
    )


def count_rounds(rounds: Sequence[Round]) -> dict[str, float]:
    """Return tokens per round, and the share of drafts that were rejected."""
    drafts = sum(len(done.exits) for done in rounds)
    rejected = drafts - sum(done.accepted for done in rounds)
    return {
        "tokens_per_round": sum(done.committed for done in rounds) / len(rounds),
        "rejected": rejected / max(1, drafts),
    }


def confidence_outside(
    decoder: AdaDecoder, full: ExitHeads, texts: list[Continuation]
) -> dict[str, float]:
    """Return how often heads are sure where the full head's token is outside the shortlist.

    A head is sure when its confidence is above the design's gamma.

    Args:
        decoder: With a shortlist.
        full: The full heads of the same model.
        texts: Along which they are compared.

    Returns:
        The number of ``places``, and the shares at which the full head and the shortlist are sure.
    """
    parts, short, gamma = decoder.parts, decoder.heads, DESIGN.gammas[0]
    places = sure_full = sure_short = 0
    shortlist = torch.tensor(short.tokens)
    for text in texts:
        ids = torch.cat([text.prompt, torch.tensor([text.output[:-1]], dtype=torch.long)], 1)
        for depth in DESIGN.placement:
            with parts.session():
                hidden = parts.run(0, depth, parts.embed(ids, 0), 0)
                normed = parts.normed(hidden[:, text.prompt.shape[1] :])
                (full_confidence, full_token), (short_confidence, _) = (
                    heads.logits(parts, depth, normed)[0].softmax(-1).max(-1)
                    for heads in (full, short)
                )
            outside = ~torch.isin(full_token, shortlist)
            places += int(outside.sum())
            sure_full += int((full_confidence[outside] > gamma).sum())
            sure_short += int((short_confidence[outside] > gamma).sum())
    return {
        "places": places,
        "full_sure": sure_full / max(1, places),
        "shortlist_sure": sure_short / max(1, places),
    }


def measure_domain(
    domain: str,
    demo: Demo,
    full: AdaDecoder,
    decoders: Mapping[str, AdaDecoder],
    texts: list[Continuation],
    repeats: int,
) -> dict[str, dict[str, Any]]:
    """Return what each form of heads gives and loses on one domain.

    Args:
        domain: Its name.
        demo: The demo model.
        full: With full heads.
        decoders: By form.
        texts: Of the domain.
        repeats: Of the timed runs.

    Raises:
        SystemExit: If a form changed a text.
    """
    trace = full_trace(full, texts)
    latency = uniform_latencies(
        trace.n_layers,
        trace.depths,
        head=0.1,
        max_tokens=DESIGN.cap + 1,
        max_context=max(text.prompt.shape[1] for text in texts) + NEW_TOKENS,
    )
    found: dict[str, dict[str, Any]] = {}
    options = {"gamma": DESIGN.gammas, "placement": DESIGN.placement}
    jobs = {
        "vanilla": [
            partial(full.generate, text.prompt, NEW_TOKENS, policy="vanilla") for text in texts
        ]
    }
    for name, decoder in decoders.items():
        jobs[name] = [
            partial(decoder.generate, text.prompt, NEW_TOKENS, **options) for text in texts
        ]
        runs = [job() for job in jobs[name]]
        if [run.tokens for run in runs] != [text.output for text in texts]:
            raise SystemExit(f"heads {name} changed a text of {domain}: this must not happen")
        row: dict[str, Any] = {
            "measured": count_rounds([done for run in runs for done in run.rounds])
        }
        if decoder.heads.tokens is not None:
            shortlists = dict.fromkeys(trace.prompts, decoder.heads.tokens)
            replays = replay(trace.shortlisted(shortlists), latency, DESIGN)
            row["predicted_from_full"] = count_rounds(
                [done for replayed in replays for done in replayed.rounds]
            )
            row["outside"] = confidence_outside(decoder, full.heads, texts)
        coverage = measure_coverage(decoder.parts, demo.model, decoder.heads, texts)
        row["coverage"] = None if coverage is None else coverage.to_dict()
        found[name] = row
    seconds = in_turn(jobs, repeats)
    for name in decoders:
        found[name]["speedup"] = ratio(seconds["vanilla"], seconds[name])
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print and keep all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--visits", type=int, default=15)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument(
        "--counted",
        type=int,
        default=24,
        help="other prompts of each domain, on which the shortlists are counted [%(default)s]",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    full = AdaDecoder(demo.model, demo.heads)
    counted = continue_prompts(full, demo, options.prompts, options.prompts + options.counted)
    outputs = [text.output for texts in counted.values() for text in texts]
    frequent = by_frequency(outputs, full.eos)
    decoders = {
        name: AdaDecoder(demo.model, demo.heads.shaped(demo.model, frequent=frequent, **form))
        for name, form in FORMS.items()
    }
    results: dict[str, Any] = {
        "design": DESIGN.label,
        "prompts": options.prompts,
        "repeats": options.repeats,
        "visits": options.visits,
        "counted": {
            "texts": len(outputs),
            "tokens": sum(map(len, outputs)),
            "different": len(frequent),
        },
        "forms": {name: decoder.heads.form.label for name, decoder in decoders.items()},
        "products": {name: decoder.heads.product for name, decoder in decoders.items()},
        "check_microseconds": time_checks(decoders, options.visits),
        "product_microseconds": time_products(full.parts.device, PRODUCT_REPEATS),
        "domains": {
            domain: measure_domain(domain, demo, full, decoders, texts, options.repeats)
            for domain, texts in continue_prompts(full, demo, 0, options.prompts).items()
        },
    }
    write_result("head_forms", results)
    _print(results)


def tables_of(results: Mapping[str, Any]) -> list[Table]:
    """Return two tables a domain, each of which fits a terminal.

    The first says what a form costs and gives, the second how its heads agree.
    """
    costs = results["check_microseconds"]
    tables = []
    for domain, forms in results["domains"].items():
        title = f"{domain}, {results['design']}"
        gains = make_table(title, "heads", "check, us", "speedup", "outside", words=("heads",))
        agreement = make_table(
            None,
            "heads",
            *(f"agree {depth}" for depth in DESIGN.placement),
            *("tokens a round", "from full", "wrong", "from full"),
            words=("heads",),
        )
        for table in (gains, agreement):
            table.columns[0].no_wrap = True
        for name, row in forms.items():
            check = " / ".join(
                f"{costs[f'{name}/head at {depth}']:.0f}" for depth in DESIGN.placement
            )
            outside = f"{row['coverage']['outside']:.1%}"
            gains.add_row(name, check, describe_ratio(row["speedup"]), outside)
            agreement.add_row(name, *_agreement_cells(row))
        tables += [gains, agreement]
    return tables


def _agreement_cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of one form in the second table."""
    agreement = dict(zip(row["coverage"]["depths"], row["coverage"]["formed"], strict=True))
    measured, predicted = row["measured"], row.get("predicted_from_full")
    return [
        *(f"{agreement[depth]:.1%}" for depth in DESIGN.placement),
        f"{measured['tokens_per_round']:.2f}",
        "" if predicted is None else f"{predicted['tokens_per_round']:.2f}",
        f"{measured['rejected']:.1%}",
        "" if predicted is None else f"{predicted['rejected']:.1%}",
    ]


def _print(results: Mapping[str, Any]) -> None:
    console, costs = Console(), results["check_microseconds"]
    console.print(*tables_of(results))
    layer = median(value for name, value in costs.items() if "/layer" in name)
    console.print(f"a layer takes {layer:.0f} us; products: {results['products']}", highlight=False)
    for row in results["product_microseconds"]:
        console.print(
            f"{row['rows']} x {row['width']}, {row['product']}: {row['microseconds']:.0f} us",
            highlight=False,
        )


if __name__ == "__main__":
    main()
