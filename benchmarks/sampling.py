"""Sampled runs on the demo model: replayed with what they drew, and how often drafts hold against what one sampled text a prompt predicts.

Every run draws a text of its own; what is predicted comes from the heads along vanilla's text by another seed. Nothing is timed.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.harness import keep
from engine import AdaDecoder, load_demo
from engine.counterfactual import Counterfactual
from engine.prompts import Prompt, encode
from engine.sampling import Sampling
from profiles.schema import TABLES
from profiles.trace import Trace
from sim.design import Design
from sim.outcomes import Drawn, schedule_of
from sim.replay import Replay
from sim.sampled import judged
from sim.scheduler import Draft, Outcome, Round, Verdict, Work

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
    """One design on all prompts of a domain, by one way of sampling. exact: runs whose replayed rounds are the measured ones."""

    runs: int = 0
    exact: int = 0
    measured: list[Round] = field(default_factory=list)
    predicted: list[Round] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Shares of the judged drafts that held; error: the standard error of their difference, drafts taken as independent."""
        (held, total), (would, of) = judged(self.measured), judged(self.predicted)
        measured, predicted = held / total, would / of
        return {
            "runs": self.runs,
            "exact": self.exact,
            "drafts": total,
            "measured": measured,
            "predicted": predicted,
            "error": math.sqrt(measured * (1 - measured) / total + predicted * (1 - predicted) / of),
            "measured_tokens_a_round": sum(r.committed for r in self.measured) / len(self.measured),
            "predicted_tokens_a_round": sum(r.committed for r in self.predicted) / len(self.predicted),
        }


def free(_: Work) -> float:
    """Nothing is timed."""
    return 0.0


def traced(decoder: AdaDecoder, ids: torch.Tensor, sampling: Sampling, n_tokens: int) -> Trace:
    """One prompt's sampled text and what every head says along it."""
    with torch.inference_mode():
        decoder.parts.allocate(ids.shape[1] + n_tokens)
    with decoder.parts.session():
        text, rows = Counterfactual(decoder, sampling).trace(tuple(ids[0].tolist()), n_tokens)
    about = (0, "", ids.shape[1], len(text.outputs), text.ended, text.outputs[0], "", n_tokens)
    return Trace.from_frames(
        pd.DataFrame([about], columns=TABLES["prompts"].names),
        pd.DataFrame([{"prompt": 0, **row} for row in rows], columns=TABLES["trace"].names),
        pd.DataFrame([], columns=TABLES["branches"].names),
        n_layers=decoder.parts.n_layers,
        depths=decoder.heads.depths,
        eos=decoder.eos,
        sampled=True,
    )


def measure(
    decoder: AdaDecoder, ids: torch.Tensor, design: Design, sampling: Sampling, n_tokens: int
) -> tuple[list[Round], list[Outcome], int]:
    """One run: its rounds, what it drew, and its first token."""
    drawn: list[Outcome] = []
    decoding = decoder.start(ids, design, max_new_tokens=n_tokens, sampling=sampling)
    first = decoding.schedule.first_token
    with decoder.parts.session():
        for _ in decoding.steps(lambda _, outcome: drawn.append(outcome) if outcome is not None else None):
            pass
    return decoding.schedule.rounds, drawn, first


def replayed(trace: Trace, design: Design, drawn: Iterable[Draft | Verdict], first: int) -> list[Round]:
    """The rounds that the scheduler goes with these draws."""
    schedule, answers = schedule_of(trace, 0, design, own_text=True), Drawn(tuple(drawn))
    schedule.tokens[0] = schedule.newest = first
    steps, outcome = schedule.steps(), None
    while True:
        try:
            work = steps.send(outcome)
        except StopIteration:
            answers.close()
            return schedule.rounds
        outcome = answers(work)


def summed(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Over all rows: runs and drafts, how many were exact, shares that held weighted by measured drafts, and how far rows are off in the median."""
    drafts = sum(row["drafts"] for row in rows)
    away = [abs(row["measured"] - row["predicted"]) for row in rows]
    return {
        "runs": sum(row["runs"] for row in rows),
        "exact": sum(row["exact"] for row in rows),
        "drafts": drafts,
        **{name: sum(row[name] * row["drafts"] for row in rows) / drafts for name in ("measured", "predicted")},
        "median_distance": statistics.median(away),
        "within_two_errors": sum(distance <= 2 * row["error"] for distance, row in zip(away, rows, strict=True)) / len(rows),
    }


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
    jobs = [(domain, number) for domain in DOMAINS for number in range(2 if args.quick else args.prompts)]
    for domain, number in track(jobs, "prompts", transient=True):
        ids = encode(demo.tokenizer, Prompt(text=demo.prompts[domain][number]))
        for plain in SETTINGS:
            own, others = (Sampling(**{**asdict(plain), "seed": 2 * number + k}) for k in (0, 1))
            trace = traced(decoder, ids, others, args.tokens)
            for design in DESIGNS:
                tally = tallies[domain, f"temperature {plain.temperature:g}, top-p {plain.top_p or 1:g}", design.label]
                rounds, drawn, first = measure(decoder, ids, design, own, args.tokens)
                tally.runs += 1
                tally.exact += replayed(trace, design, drawn, first) == rounds  # type: ignore[arg-type]
                tally.measured += rounds
                tally.predicted += Replay(trace, design, free).run(0).rounds
    rows = [{"domain": domain, "sampling": words, "design": design, **tally.row()} for (domain, words, design), tally in tallies.items()]
    table = Table(title="drafts that hold: measured, and predicted from another text")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    total = summed(rows)
    Console().print(total)
    if not args.quick:
        keep("sampling", {"prompts_per_domain": args.prompts, "tokens": args.tokens, "total": total, "designs": rows})
    if total["exact"] < total["runs"]:
        raise SystemExit(f"{total['runs'] - total['exact']} of {total['runs']} runs went other rounds than their draws give")


if __name__ == "__main__":
    main()
