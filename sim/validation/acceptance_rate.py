"""Sampled designs without their draws: what the trace predicts beside what runs drew.

A trace knows how likely a draft of each head is to be accepted, sum(min(p, q)), along one sampled text; every run drew another text. So single
runs cannot be predicted, but how often drafts hold can, up to the spread between texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Round, Work
from adadecode.sim.measurements.runs import Cell
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import Replay


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """One verified design on all its prompts. drafts: measured drafts that were judged, those after a rejected one left out.

    measured, predicted: share of the judged drafts that held, 0..1. error: standard error of the measured one, drafts taken as independent.
    measured_tokens, predicted_tokens: tokens per round.
    """

    design: str
    drafts: int
    measured: float
    predicted: float
    error: float
    measured_tokens: float
    predicted_tokens: float


def judged(rounds: Iterable[Round]) -> tuple[int, int]:
    """Drafts that held, and drafts that were judged: up to the first of each round that did not hold."""
    held = total = 0
    for done in rounds:
        held += done.accepted
        total += done.accepted + (done.accepted < len(done.exits))
    return held, total


def acceptances(
    predictor: Predictor, measured: Mapping[Cell, Sequence[Round]]
) -> tuple[Acceptance, ...]:
    """How often drafts hold, of every verified design that drafted, in measured rounds and in replays of the trace."""
    cells: dict[Design, dict[int, Sequence[Round]]] = {}
    for (design, prompt), rounds in measured.items():
        if design.verify:
            cells.setdefault(design, {})[prompt] = rounds
    found = []
    for design, by_prompt in cells.items():
        replays = Replay(predictor.trace, design, _free, model=predictor.model)
        ours = [done for prompt in by_prompt for done in replays.run(prompt).rounds]
        theirs = [done for rounds in by_prompt.values() for done in rounds]
        (held, total), (would_hold, would_total) = judged(theirs), judged(ours)
        if not (total and would_total):
            continue
        share = held / total
        found.append(
            Acceptance(
                design=design.label,
                drafts=total,
                measured=share,
                predicted=would_hold / would_total,
                error=math.sqrt(share * (1 - share) / total),
                measured_tokens=sum(done.committed for done in theirs) / len(theirs),
                predicted_tokens=sum(done.committed for done in ours) / len(ours),
            )
        )
    return tuple(found)


def _free(_: Work) -> float:
    """Only the structure is asked for."""
    return 0.0
