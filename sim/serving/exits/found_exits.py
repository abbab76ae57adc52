"""How servers with early exits decode, and what that rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adadecode.sim.serving.exits.exit_server import ExitDecoding, ServedExits
from adadecode.sim.serving.exits.expected_rate import LoadPoint
from adadecode.sim.serving.exits.load_rule import DraftingByLoad
from adadecode.sim.serving.latency.segment_times import SegmentTimes

MOST_SEQUENCES = 256
"""Sequences up to which it is told what would be drafted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundExits:
    """How servers with early exits decode, and what that rests on.

    Attributes:
        decoding: How they decode.
        times: What their steps take.
        order: The name of the order of segments.
        context: Positions of a request half way through its answer, on average.
        notes: What was estimated or assumed, a sentence each.
    """

    decoding: ExitDecoding
    times: SegmentTimes
    order: str
    context: float
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """What decodes, in words."""
        design = self.decoding.design.label
        by_load = "" if self.decoding.rule is None else "adaptive, from "
        return f"{by_load}{design}, order {self.order}"

    @property
    def drafting(self) -> tuple[tuple[int, str | None], ...]:
        """The design that is best by how many sequences decode, None for vanilla.

        It is told for powers of two, without prompts beside them, and empty without a rule.
        """
        rule = self.decoding.rule
        if not isinstance(rule, DraftingByLoad):
            return ()
        counts = [2**power for power in range(MOST_SEQUENCES.bit_length())]
        best = [rule.best(LoadPoint(sequences=one, context=self.context)) for one in counts]
        labels = [None if one is None else one.label for one in best]
        return tuple(zip(counts, labels, strict=True))

    def without_rule(self) -> FoundExits:
        """Return the same with its own design at every load."""
        return replace(self, decoding=replace(self.decoding, rule=None))

    def notes_of(self, answered: ServedExits) -> list[str]:
        """Return what was assumed in a run, a sentence each."""
        alone = (
            "with early exits a step is formed when the one before it is done, and prompts that "
            "begin alike share nothing"
        )
        notes = [*self.notes, alone]
        if self.decoding.rule is not None:
            notes.append(
                "the rule of adaptive knows what heads say about the very requests that it serves, "
                "which a server would have to learn"
            )
        if answered.modelled:
            share = answered.modelled / len(answered.rounds)
            notes.append(
                f"{share:.1%} of the rounds rest on drafts after a wrong one that were not recorded"
            )
        return notes
