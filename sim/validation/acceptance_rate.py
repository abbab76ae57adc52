"""How often sampled drafts hold: as measured, and as the trace predicts without their draws.

A trace knows how likely a draft of each head is to be accepted, sum(min(p, q)), along one sampled
text; every run drew another text. So single runs cannot be predicted, but how often drafts hold
can, up to the spread between texts.
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
    """How often the drafts of one verified design held, on all its prompts.

    Attributes:
        design: Label of the design.
        drafts: Measured drafts that were judged; those after a rejected one are left out.
        measured: Share of the judged drafts that held.
        predicted: The same in replays of the trace.
        error: Standard error of ``measured``, with drafts taken as independent.
        measured_tokens: Tokens per round.
        predicted_tokens: The same in replays of the trace.
    """

    design: str
    drafts: int
    measured: float
    predicted: float
    error: float
    measured_tokens: float
    predicted_tokens: float


def judged(rounds: Iterable[Round]) -> tuple[int, int]:
    """Count the drafts that held, and those that were judged.

    Drafts of a round are judged up to the first that does not hold.
    """
    held = total = 0
    for done in rounds:
        held += done.accepted
        total += done.accepted + (done.accepted < len(done.exits))
    return held, total


def acceptances(
    predictor: Predictor, measured: Mapping[Cell, Sequence[Round]]
) -> tuple[Acceptance, ...]:
    """Compare how often drafts hold, for every verified design that drafted."""
    cells: dict[Design, dict[int, Sequence[Round]]] = {}
    for (design, prompt), rounds in measured.items():
        if design.verify:
            cells.setdefault(design, {})[prompt] = rounds
    compared = (_acceptance(predictor, design, rounds) for design, rounds in cells.items())
    return tuple(one for one in compared if one is not None)


def _acceptance(
    predictor: Predictor, design: Design, by_prompt: Mapping[int, Sequence[Round]]
) -> Acceptance | None:
    """Return the comparison of one design; None where nothing was judged."""
    replays = Replay(predictor.trace, design, _no_time, model=predictor.model)
    replayed = [done for prompt in by_prompt for done in replays.run(prompt).rounds]
    measured = [done for rounds in by_prompt.values() for done in rounds]
    (held, total), (would_hold, would_total) = judged(measured), judged(replayed)
    if not (total and would_total):
        return None
    share = held / total
    return Acceptance(
        design=design.label,
        drafts=total,
        measured=share,
        predicted=would_hold / would_total,
        error=math.sqrt(share * (1 - share) / total),
        measured_tokens=sum(done.committed for done in measured) / len(measured),
        predicted_tokens=sum(done.committed for done in replayed) / len(replayed),
    )


def _no_time(_: Work) -> float:
    """Price all work at nothing: only the structure of the rounds matters."""
    return 0.0
