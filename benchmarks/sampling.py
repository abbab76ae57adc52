"""Replay sampled runs of the demo model, and compare acceptance with what one text predicts.

Every run draws a text of its own. What is predicted comes from the heads along vanilla's text by
another seed. A run is replayed by the simulator, as `adadecode-sim validate` does: on vanilla's
text by the run's own seed, which shares its first token, with what the run drew. Nothing is timed.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from adadecode.profiles.schema import REQUIRED_COLUMNS, TABLES
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Draft, Round, Verdict, Work
from adadecode.sim.replay.simulation import Replay
from adadecode.sim.validation.acceptance_rate import judged
from benchmarks.harness import write_result

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
    """One design on all prompts of a domain, with one way of sampling.

    Attributes:
        exact: Runs whose replayed rounds are the measured ones.
        measured: The rounds of each run.
        predicted: The rounds that another text predicts, by run.
    """

    exact: int = 0
    measured: list[Sequence[Round]] = field(default_factory=list)
    predicted: list[Sequence[Round]] = field(default_factory=list)

    def to_row(self) -> dict[str, Any]:
        """Return the shares of verified drafts that were accepted, and tokens per round.

        ``error`` is the standard error of the shares' difference if both were the same and drafts
        were independent.
        """
        measured, predicted = list(chain(*self.measured)), list(chain(*self.predicted))
        accepted, drafts = judged(measured)
        predicted_accepted, predicted_drafts = judged(predicted)
        pooled = (accepted + predicted_accepted) / (drafts + predicted_drafts)
        variance = pooled * (1 - pooled) * (1 / drafts + 1 / predicted_drafts)
        return {
            "runs": len(self.measured),
            "exact": self.exact,
            "drafts": drafts,
            "measured": accepted / drafts,
            "predicted": predicted_accepted / predicted_drafts,
            "error": math.sqrt(variance),
            "measured_tokens_a_round": _tokens_per_round(measured),
            "predicted_tokens_a_round": _tokens_per_round(predicted),
        }


def _tokens_per_round(rounds: Sequence[Round]) -> float:
    return sum(done.committed for done in rounds) / len(rounds)


def untimed(_: Work) -> float:
    """Return 0 seconds for any work: nothing is timed."""
    return 0.0


def sampled_trace(
    decoder: AdaDecoder, ids: torch.Tensor, sampling: Sampling, n_tokens: int, number: int
) -> Trace:
    """Return one prompt's sampled text, with the outputs of every head along it.

    Args:
        decoder: Of the demo model.
        ids: Of the prompt, shape (1, n).
        sampling: How the text is drawn.
        n_tokens: New tokens.
        number: Of the prompt in the trace, which its drafts' random numbers depend on.
    """
    with torch.inference_mode():
        decoder.parts.allocate(ids.shape[1] + n_tokens)
    with decoder.parts.session():
        text, rows = Counterfactual(decoder, sampling).trace(tuple(ids[0].tolist()), n_tokens)
    prompt = (
        number,
        "",
        ids.shape[1],
        len(text.outputs),
        text.ended,
        text.outputs[0],
        "",
        n_tokens,
    )
    return Trace.from_frames(
        pd.DataFrame([prompt], columns=list(REQUIRED_COLUMNS["prompts"])),
        pd.DataFrame([{"prompt": number, **row} for row in rows]),
        pd.DataFrame([], columns=TABLES["branches"].names),
        n_layers=decoder.parts.n_layers,
        depths=decoder.heads.depths,
        eos=decoder.eos,
        sampled=True,
    )


def measure(
    decoder: AdaDecoder, ids: torch.Tensor, design: Design, sampling: Sampling, n_tokens: int
) -> tuple[list[Round], list[Draft | Verdict]]:
    """Decode one prompt; return the rounds, and what was drawn in them."""
    drawn: list[Draft | Verdict] = []
    decoding = decoder.start(ids, design, max_new_tokens=n_tokens, sampling=sampling)

    def note(_work: Work, outcome: Draft | Verdict | None) -> None:
        if outcome is not None:
            drawn.append(outcome)

    with decoder.parts.session():
        for _ in decoding.steps(note):
            pass
    return decoding.schedule.rounds, drawn


def acceptance(prompts: Sequence[Sequence[Round]]) -> tuple[float, float]:
    """Return the share of verified drafts that were accepted, and its standard error.

    The error is that of a ratio: prompts are taken as independent, the drafts of one are not.
    """
    accepted, drafts = np.array([judged(rounds) for rounds in prompts], dtype=np.float64).T
    rate = accepted.sum() / drafts.sum()
    spread = ((accepted - rate * drafts) ** 2).sum() * len(prompts) / (len(prompts) - 1)
    return float(rate), math.sqrt(spread) / float(drafts.sum())


Tallies = dict[tuple[str, str, str], Tally]
"""By domain, sampling and design."""


def sum_up(tallies: Tallies, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the totals of all rows, the shares with their errors, and how far rows are off."""
    distances = [abs(row["measured"] - row["predicted"]) for row in rows]
    total: dict[str, float] = {
        name: sum(row[name] for row in rows) for name in ("runs", "exact", "drafts")
    }
    for name in ("measured", "predicted"):
        # all designs and ways of sampling of one prompt: they share its text, and seeds
        by_prompt: dict[tuple[str, int], list[Round]] = defaultdict(list)
        for (domain, _, _), tally in tallies.items():
            for number, rounds in enumerate(getattr(tally, name)):
                by_prompt[domain, number] += rounds
        total[name], total[f"{name}_error"] = acceptance(list(by_prompt.values()))
    total["median_distance"] = statistics.median(distances)
    near = [distance <= 2 * row["error"] for distance, row in zip(distances, rows, strict=True)]
    total["within_two_errors"] = sum(near) / len(rows)
    return total


def tally_prompt(
    decoder: AdaDecoder,
    ids: torch.Tensor,
    domain: str,
    n_tokens: int,
    numbers: Iterator[int],
    tallies: Tallies,
) -> None:
    """Run all designs and ways of sampling on one prompt, and add them to the tallies.

    Args:
        decoder: Of the demo model.
        ids: Of the prompt, shape (1, n).
        domain: Of the prompt.
        n_tokens: New tokens.
        numbers: Gives every prompt and way of sampling a number, from which its seeds follow.
        tallies: What is added to.
    """
    for plain in SETTINGS:
        number = next(numbers)
        own, other = (replace(plain, seed=2 * number + k) for k in (0, 1))
        own_trace, other_trace = (
            sampled_trace(decoder, ids, sampling, n_tokens, number) for sampling in (own, other)
        )
        label = f"temperature {plain.temperature:g}, top-p {plain.top_p or 1:g}"
        for design in DESIGNS:
            tally = tallies[domain, label, design.label]
            rounds, drawn = measure(decoder, ids, design, own, n_tokens)
            replayed = Replay(own_trace, design, untimed).run(number, drawn=drawn)
            tally.exact += replayed.rounds == tuple(rounds)
            tally.measured.append(rounds)
            tally.predicted.append(Replay(other_trace, design, untimed).run(number).rounds)


def main(arguments: list[str] | None = None) -> None:
    """Print the rates and keep them.

    Raises:
        SystemExit: If a replay differs from its run.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=12, help="of each domain [%(default)s]")
    parser.add_argument("--tokens", type=int, default=48, help="new tokens [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="2 prompts a domain; keeps nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    tallies: Tallies = defaultdict(Tally)
    n_prompts = 2 if options.quick else options.prompts
    jobs = [(domain, prompt) for domain in DOMAINS for prompt in range(n_prompts)]
    numbers = count()
    for domain, prompt in track(jobs, "prompts", transient=True):
        ids = encode(demo.tokenizer, Prompt(text=demo.prompts[domain][prompt]))
        tally_prompt(decoder, ids, domain, options.tokens, numbers, tallies)
    rows = [
        {"domain": domain, "sampling": label, "design": design, **tally.to_row()}
        for (domain, label, design), tally in tallies.items()
    ]
    table = Table(title="accepted drafts: measured, and predicted from another text")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        cells = (
            f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()
        )
        table.add_row(*cells)
    Console().print(table)
    total = sum_up(tallies, rows)
    Console().print(total)
    if not options.quick:
        write_result(
            "sampling",
            {
                "prompts_per_domain": options.prompts,
                "tokens": options.tokens,
                "total": total,
                "designs": rows,
            },
        )
    if total["exact"] < total["runs"]:
        raise SystemExit(
            f"{total['runs'] - total['exact']} of {total['runs']} runs "
            "took other rounds than their draws give"
        )


if __name__ == "__main__":
    main()
