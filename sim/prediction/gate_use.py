"""What the gates of a design do: heads not asked for nothing, and good exits missed for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Gate, Run, Score, Verify
from adadecode.sim.replay.simulation import Event, ReplayedRun


@dataclass(frozen=True, kw_only=True)
class GateUse:
    """Questions to gates, counted.

    Attributes:
        asked: Questions to gates.
        saved: Those after which the head was not asked: checks saved.
        missed: Checks saved on the text whose head was right and confident enough to exit.
        found: Questions on the text after which such a head was asked.
    """

    asked: int = 0
    saved: int = 0
    missed: int = 0
    found: int = 0

    @property
    def recall(self) -> float | None:
        """The share of good exits that were found; None where there was none."""
        good = self.missed + self.found
        return self.found / good if good else None

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON holds them."""
        return {**asdict(self), "recall": self.recall}


def gate_use(trace: Trace, design: Design, runs: Iterable[ReplayedRun]) -> GateUse:
    """Count what gates did in some runs.

    A later head may still take the token that a gate kept an earlier one from. An end that is
    verified greedily is never drafted, so that no head exits there. A run without verification is
    on the text up to its first wrong draft.

    Args:
        trace: The text.
        design: The design.
        runs: Its replayed runs, with their events.
    """
    asked = saved = missed = found = 0
    for run in runs:
        rounds = iter(run.rounds)
        on_text = True
        kept = 0  # positions below it are on the text; 0: the next round has not begun
        for event in run.events:
            if not kept:
                done = next(rounds)
                kept = done.start + done.accepted + 1
            if isinstance(event.work, Gate) and isinstance(event.outcome, Score):
                depth, position = event.work
                shut = event.outcome.value <= design.gate(depth)
                asked, saved = asked + 1, saved + shut
                good = on_text and position < kept and _is_good(trace, design, run, depth, position)
                missed, found = missed + (good and shut), found + (good and not shut)
            if isinstance(event.work, Run) and not design.verify:
                on_text = on_text and _is_of_text(trace, run, event)
            if isinstance(event.work, Verify):
                kept = 0
    return GateUse(asked=asked, saved=saved, missed=missed, found=found)


def _is_of_text(trace: Trace, run: ReplayedRun, event: Event) -> bool:
    """Whether the tokens that a piece of work computed are those of the text."""
    assert isinstance(event.work, Run)
    length = trace.n_output(run.prompt)
    outputs = enumerate(event.tokens, event.work.start - run.n_prompt)
    return all(at < length and token == trace.final(run.prompt, at) for at, token in outputs)


def _is_good(trace: Trace, design: Design, run: ReplayedRun, depth: int, position: int) -> bool:
    """Whether a head on the text is right, and confident enough to exit."""
    output = position - run.n_prompt + 1
    if output >= trace.n_output(run.prompt):
        return False
    confidence, token = trace.head(run.prompt, output, depth)
    if design.verify and not trace.sampled and token in trace.eos:
        return False
    return token == trace.final(run.prompt, output) and confidence > design.threshold(depth)
