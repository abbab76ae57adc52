"""Cheaper heads on the demo model: what a check costs in place, what it loses, what a design gives, and what the simulator makes of a full head's trace."""

from __future__ import annotations

import argparse
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
from adadecode.engine.evaluation.head_coverage import coverage
from adadecode.engine.heads.int8 import PRODUCTS, quantised
from adadecode.engine.heads.token_frequency import by_frequency
from adadecode.engine.loading.prompts import encode
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.profiling.latency_walks import walk
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.schema import TABLES
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Round
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.replay.simulation import replay
from benchmarks.harness import in_turn, keep, ratio, spread

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
"""Rows and width of matrices that products are timed on: of shortlists of models of 1B and 8B parameters."""


def texts_of(
    decoder: AdaDecoder, demo: Demo, first: int, stop: int
) -> dict[str, list[Continuation]]:
    """The model's own continuations of prompts first..stop-1 of each domain."""
    made: dict[str, list[Continuation]] = {}
    for domain in DOMAINS:
        prompts = [encode(demo.tokenizer, prompt) for prompt in demo.of(domain)[first:stop]]
        made[domain] = [
            Continuation(
                prompt=ids, output=decoder.generate(ids, NEW_TOKENS, policy="vanilla").tokens
            )
            for ids in prompts
        ]
    return made


def checks(decoders: dict[str, AdaDecoder], visits: int) -> dict[str, Any]:
    """Microseconds of a check at each depth of the design, in place, and of a layer; the forms in turn. Median over visits of medians over laps."""
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


def products(device: torch.device, repeats: int) -> list[dict[str, Any]]:
    """Microseconds of one state times whole matrices, wide and in int8, by every product that the device has."""
    found = []
    for rows, width in SIZES:
        weight, state = (
            torch.randn(rows, width, device=device),
            torch.randn(1, width, device=device),
        )
        codes, scales = quantised(weight)
        jobs: dict[str, Any] = {}
        for dtype in (torch.float32, torch.bfloat16):
            wide, given = weight.to(dtype), state.to(dtype)
            jobs[f"{dtype} wide".removeprefix("torch.")] = lambda wide=wide, given=given: (
                given @ wide.T
            )
            for name, product in PRODUCTS[device.type].items():
                jobs[f"{dtype} {name}".removeprefix("torch.")] = (
                    lambda p=product, g=given, c=codes, s=scales: p(g, c, s)
                )
        for name, job in jobs.items():
            job()
            clock, spent = Clock(device), []
            for _ in range(repeats):
                clock.mark()
                job()
                clock.mark()
                spent += clock.intervals()
            found.append(
                {"rows": rows, "width": width, "product": name, "microseconds": 1e6 * median(spent)}
            )
    return found


def full_trace(decoder: AdaDecoder, texts: list[Continuation]) -> Trace:
    """What full heads say along these texts, no branches."""
    rows: list[dict[str, Any]] = []
    prompts: list[dict[str, Any]] = []
    with decoder.parts.session():
        for number, text in enumerate(texts):
            said, along = Counterfactual(decoder).trace(tuple(text.prompt[0].tolist()), NEW_TOKENS)
            rows += [{"prompt": number, **row} for row in along]
            prompts.append(
                {
                    "prompt": number, "domain": "", "n_prompt": len(said.prompt), "n_output": len(said.outputs), "ended": said.ended,
                    "first_token": said.outputs[0], "sha256": "", "max_new_tokens": NEW_TOKENS,
                }
            )  # fmt: skip
    names = {name: TABLES[name].names for name in ("prompts", "trace", "branches")}
    return Trace.from_frames(
        pd.DataFrame(prompts, columns=names["prompts"]),
        pd.DataFrame(rows, columns=names["trace"]),
        pd.DataFrame([], columns=names["branches"]),
        n_layers=decoder.parts.n_layers,
        depths=decoder.heads.depths,
        eos=decoder.eos,
    )


def counted(rounds: list[Round]) -> dict[str, float]:
    """Tokens a round, and the share of drafts that did not hold."""
    drafts = sum(len(done.exits) for done in rounds)
    wrong = drafts - sum(done.accepted for done in rounds)
    return {
        "tokens_per_round": sum(done.committed for done in rounds) / len(rounds),
        "rejected": wrong / max(1, drafts),
    }


def outside_but_sure(
    decoder: AdaDecoder, full: ExitHeads, texts: list[Continuation]
) -> dict[str, float]:
    """Of places where a full head would say a token outside the shortlist: how often each of the two is sure (above the design's gamma)."""
    parts, short, gamma = decoder.parts, decoder.heads, DESIGN.gammas[0]
    places = sure_full = sure_short = 0
    held = torch.tensor(short.tokens)
    for text in texts:
        whole = torch.cat([text.prompt, torch.tensor([text.output[:-1]], dtype=torch.long)], 1)
        for depth in DESIGN.placement:
            with parts.session():
                normed = parts.normed(
                    parts.run(0, depth, parts.embed(whole, 0), 0)[:, text.prompt.shape[1] :]
                )
                (wide, top), (narrow, _) = (
                    heads.logits(parts, depth, normed)[0].softmax(-1).max(-1)
                    for heads in (full, short)
                )
            left = ~torch.isin(top, held)
            places += int(left.sum())
            sure_full += int((wide[left] > gamma).sum())
            sure_short += int((narrow[left] > gamma).sum())
    return {
        "places": places,
        "full_sure": sure_full / max(1, places),
        "shortlist_sure": sure_short / max(1, places),
    }


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
        help="prompts of each domain that the shortlists are counted on, others than those",
    )
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    plain = AdaDecoder(demo.model, demo.heads)
    others = texts_of(plain, demo, args.prompts, args.prompts + args.counted)
    frequent = by_frequency((text.output for texts in others.values() for text in texts), plain.eos)
    texts = texts_of(plain, demo, 0, args.prompts)
    decoders = {
        name: AdaDecoder(demo.model, demo.heads.shaped(demo.model, frequent=frequent, **form))
        for name, form in FORMS.items()
    }
    results: dict[str, Any] = {
        "design": DESIGN.label,
        "prompts": args.prompts,
        "repeats": args.repeats,
        "visits": args.visits,
        "counted": {
            "texts": sum(map(len, others.values())),
            "tokens": sum(len(t.output) for ts in others.values() for t in ts),
            "different": len(frequent),
        },
        "forms": {name: decoder.heads.form.label for name, decoder in decoders.items()},
        "products": {name: decoder.heads.product for name, decoder in decoders.items()},
        "check_microseconds": checks(decoders, args.visits),
        "product_microseconds": products(plain.parts.device, 15),
        "domains": {},
    }
    for domain, mine in texts.items():
        trace = full_trace(plain, mine)
        longest = max(text.prompt.shape[1] for text in mine) + NEW_TOKENS
        latency = uniform_latencies(
            trace.n_layers, trace.depths, head=0.1, max_tokens=DESIGN.cap + 1, max_context=longest
        )
        kept: dict[str, Any] = {}
        jobs = {
            "vanilla": [
                partial(plain.generate, text.prompt, NEW_TOKENS, policy="vanilla") for text in mine
            ]
        }
        for name, decoder in decoders.items():
            jobs[name] = [
                partial(
                    decoder.generate,
                    t.prompt,
                    NEW_TOKENS,
                    gamma=DESIGN.gammas,
                    placement=DESIGN.placement,
                )
                for t in mine
            ]
            done = [job() for job in jobs[name]]
            if [one.tokens for one in done] != [t.output for t in mine]:
                raise SystemExit(f"heads {name} changed a text of {domain}: this must not happen")
            kept[name] = {"measured": counted([r for one in done for r in one.rounds])}
            if decoder.heads.tokens is not None:
                lists = dict.fromkeys(trace.prompts, frequent[: len(decoder.heads.tokens)])
                runs = replay(trace.shortlisted(lists), latency, DESIGN)
                kept[name]["predicted_from_full"] = counted([r for run in runs for r in run.rounds])
                kept[name]["outside"] = outside_but_sure(decoder, plain.heads, mine)
            found = coverage(decoder.parts, demo.model, decoder.heads, mine)
            kept[name]["coverage"] = None if found is None else found.to_dict()
        seconds = in_turn(jobs, args.repeats)
        for name in decoders:
            kept[name]["speedup"] = ratio(seconds["vanilla"], seconds[name])
        results["domains"][domain] = kept
    keep("head_forms", results)
    _tell(results)


def tables_of(results: dict[str, Any]) -> list[Table]:
    """For each domain what a form costs and gives, then what its heads say; each fits a terminal."""
    costs, tables = results["check_microseconds"], []
    for domain, kept in results["domains"].items():
        gives, says = Table(title=f"{domain}, {results['design']}"), Table()
        for table, headings in (
            (gives, ("check, us", "speedup", "outside")),
            (
                says,
                (
                    *(f"agree {depth}" for depth in DESIGN.placement),
                    "tokens a round",
                    "from full",
                    "wrong",
                    "from full",
                ),
            ),
        ):
            table.add_column("heads", no_wrap=True)
            for heading in headings:
                table.add_column(heading, justify="right")
        for name, row in kept.items():
            agree = dict(zip(row["coverage"]["depths"], row["coverage"]["formed"], strict=True))
            told, made = row["measured"], row.get("predicted_from_full")
            check = " / ".join(
                f"{costs[f'{name}/head at {depth}']:.0f}" for depth in DESIGN.placement
            )
            gives.add_row(name, check, spread(row["speedup"]), f"{row['coverage']['outside']:.1%}")
            says.add_row(
                name,
                *(f"{agree[depth]:.1%}" for depth in DESIGN.placement),
                f"{told['tokens_per_round']:.2f}",
                "" if made is None else f"{made['tokens_per_round']:.2f}",
                f"{told['rejected']:.1%}",
                "" if made is None else f"{made['rejected']:.1%}",
            )
        tables += [gives, says]
    return tables


def _tell(results: dict[str, Any]) -> None:
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
