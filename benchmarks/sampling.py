"""Sampled runs on the demo model: replayed with what they drew, and how often drafts hold against what one sampled text a prompt predicts.

Every run draws a text of its own; what is predicted comes from the heads along vanilla's text by another seed. A run is replayed by the simulator, as
`adadecode-sim validate` does: on vanilla's text by the run's own seed, which shares its first token, with what the run drew. Nothing is timed.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adadecode.engine import AdaDecoder, load_demo
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.profiles.schema import TABLES
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Draft, Round, Verdict, Work
from adadecode.sim.replay.simulation import Replay
from adadecode.sim.validation.acceptance_rate import judged
from benchmarks.harness import keep

SETTINGS = (Sampling(temperature=0.7, top_p=0.95), Sampling(temperature=1.0))
DESIGNS = (
    Design.of(gamma=0.5, placement=(4,)),
    Design.of(gamma=0.8, placement=(4,)),
    Design.of(gamma=0.7, placement=(3, 6, 10)),
    Design.of("fixed", placement=(8,), cap=3),
)
DOMAINS = ("arithmetic", "code")


@dataclass
class Tally:
    """One design on all prompts of a domain, by one way of sampling. exact: runs whose replayed rounds are the measured ones. measured, predicted: by prompt."""

    exact: int = 0
    measured: list[Sequence[Round]] = field(default_factory=list)
    predicted: list[Sequence[Round]] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Shares of the judged drafts that held; error: the standard error of their difference, were both the same, drafts taken as independent."""
        ours, theirs = list(chain(*self.predicted)), list(chain(*self.measured))
        (held, total), (would, of) = judged(theirs), judged(ours)
        both = (held + would) / (total + of)
        return {
            "runs": len(self.measured),
            "exact": self.exact,
            "drafts": total,
            "measured": held / total,
            "predicted": would / of,
            "error": math.sqrt(both * (1 - both) * (1 / total + 1 / of)),
            "measured_tokens_a_round": sum(done.committed for done in theirs) / len(theirs),
            "predicted_tokens_a_round": sum(done.committed for done in ours) / len(ours),
        }


def free(_: Work) -> float:
    """Nothing is timed."""
    return 0.0


def traced(
    decoder: AdaDecoder, ids: torch.Tensor, sampling: Sampling, n_tokens: int, number: int
) -> Trace:
    """One prompt's sampled text and what every head says along it. number: the prompt's in the trace, from which its drafts' luck comes."""
    with torch.inference_mode():
        decoder.parts.allocate(ids.shape[1] + n_tokens)
    with decoder.parts.session():
        text, rows = Counterfactual(decoder, sampling).trace(tuple(ids[0].tolist()), n_tokens)
    about = (number, "", ids.shape[1], len(text.outputs), text.ended, text.outputs[0], "", n_tokens)
    return Trace.from_frames(
        pd.DataFrame([about], columns=TABLES["prompts"].names),
        pd.DataFrame([{"prompt": number, **row} for row in rows], columns=TABLES["trace"].names),
        pd.DataFrame([], columns=TABLES["branches"].names),
        n_layers=decoder.parts.n_layers,
        depths=decoder.heads.depths,
        eos=decoder.eos,
        sampled=True,
    )


def measure(
    decoder: AdaDecoder, ids: torch.Tensor, design: Design, sampling: Sampling, n_tokens: int
) -> tuple[list[Round], list[Draft | Verdict]]:
    """One run: its rounds, and what it drew."""
    drawn: list[Draft | Verdict] = []
    decoding = decoder.start(ids, design, max_new_tokens=n_tokens, sampling=sampling)
    with decoder.parts.session():
        for _ in decoding.steps(
            lambda _, outcome: drawn.append(outcome) if outcome is not None else None
        ):
            pass
    return decoding.schedule.rounds, drawn


def share(prompts: Sequence[Sequence[Round]]) -> tuple[float, float]:
    """Share of the judged drafts that held, and its standard error: of a ratio, prompts taken as independent, the drafts of one not."""
    held, total = np.array([judged(rounds) for rounds in prompts], dtype=np.float64).T
    rate = held.sum() / total.sum()
    spread = ((held - rate * total) ** 2).sum() * len(prompts) / (len(prompts) - 1)
    return float(rate), math.sqrt(spread) / float(total.sum())


def summed(
    tallies: dict[tuple[str, str, str], Tally], rows: list[dict[str, Any]]
) -> dict[str, float]:
    """Over all rows: runs and drafts, how many were exact, shares that held and their errors, and how far rows are off in the median."""
    away = [abs(row["measured"] - row["predicted"]) for row in rows]
    total: dict[str, float] = {
        name: sum(row[name] for row in rows) for name in ("runs", "exact", "drafts")
    }
    for name in ("measured", "predicted"):
        # all designs and settings of one prompt: they share its text, and seeds
        by_prompt: dict[tuple[str, int], list[Round]] = defaultdict(list)
        for (domain, _, _), tally in tallies.items():
            for number, rounds in enumerate(getattr(tally, name)):
                by_prompt[domain, number] += rounds
        total[name], total[f"{name}_error"] = share(list(by_prompt.values()))
    total["median_distance"] = statistics.median(away)
    total["within_two_errors"] = sum(
        distance <= 2 * row["error"] for distance, row in zip(away, rows, strict=True)
    ) / len(rows)
    return total


def main(arguments: list[str] | None = None) -> None:
    """Print the rates and keep them; fail where a replay differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=12, help="of each domain")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--quick", action="store_true", help="2 prompts a domain; keeps nothing")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    tallies: dict[tuple[str, str, str], Tally] = defaultdict(Tally)
    jobs = [
        (domain, number)
        for domain in DOMAINS
        for number in range(2 if args.quick else args.prompts)
    ]
    numbers = count()
    for domain, prompt in track(jobs, "prompts", transient=True):
        ids = encode(demo.tokenizer, Prompt(text=demo.prompts[domain][prompt]))
        for plain in SETTINGS:
            number = next(numbers)
            own, other = (replace(plain, seed=2 * number + k) for k in (0, 1))
            of_the_run, of_another = (
                traced(decoder, ids, sampling, args.tokens, number) for sampling in (own, other)
            )
            for design in DESIGNS:
                tally = tallies[
                    domain,
                    f"temperature {plain.temperature:g}, top-p {plain.top_p or 1:g}",
                    design.label,
                ]
                rounds, drawn = measure(decoder, ids, design, own, args.tokens)
                tally.exact += Replay(of_the_run, design, free).run(
                    number, drawn=drawn
                ).rounds == tuple(rounds)
                tally.measured.append(rounds)
                tally.predicted.append(Replay(of_another, design, free).run(number).rounds)
    rows = [
        {"domain": domain, "sampling": words, "design": design, **tally.row()}
        for (domain, words, design), tally in tallies.items()
    ]
    table = Table(title="drafts that hold: measured, and predicted from another text")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(
            *(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values())
        )
    Console().print(table)
    total = summed(tallies, rows)
    Console().print(total)
    if not args.quick:
        keep(
            "sampling",
            {
                "prompts_per_domain": args.prompts,
                "tokens": args.tokens,
                "total": total,
                "designs": rows,
            },
        )
    if total["exact"] < total["runs"]:
        raise SystemExit(
            f"{total['runs'] - total['exact']} of {total['runs']} runs went other rounds than their draws give"
        )


if __name__ == "__main__":
    main()
