"""Model what heads do after a wrong draft where nothing was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from adadecode.profiles.hashing import dice, pick
from adadecode.profiles.trace import HeadOutput, Trace


class Row(NamedTuple):
    """What heads and gates say at one place, by depth.

    Attributes:
        heads: The outputs of the heads; the last layer's at L, where it is known.
        gates: The scores of the gates; empty where heads have none.
    """

    heads: Mapping[int, HeadOutput]
    gates: Mapping[int, float]


class BranchModel:
    """Draws head outputs where none were recorded.

    A branch gets the row of a recorded branch with as many drafts since the wrong one; of any
    branch where none is that long; or of the committed text where no branch was recorded. The draw
    is a hash of where the sequence is, so that the same place always gets the same row.

    Attributes:
        trace: The recorded outputs.
        n_layers: L, the layers of the model.
        by_steps: Recorded rows, each with its prompt, by drafts since the wrong one, itself
            included.
        any: All of these rows.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.n_layers = trace.n_layers
        self.by_steps: dict[int, list[tuple[int, Row]]] = {}
        gates = trace.branch_gates()
        for place, heads in sorted(trace.branches().items()):
            prompt, _, path = place
            if all(depth in heads for depth in trace.depths):
                row = Row(heads, gates.get(place, {}))
                self.by_steps.setdefault(len(path), []).append((prompt, row))
        self.any = [row for rows in self.by_steps.values() for row in rows]

    def recorded(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> HeadOutput | None:
        """Return the recorded output of a head on a branch; None where it was not recorded.

        Raises:
            DesignError: If no head was trained at this depth.
        """
        return self.trace.branch(prompt, output, path, depth)

    def recorded_gate(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> float | None:
        """Return the recorded score of a gate on a branch; None where it was not recorded.

        Raises:
            DesignError: If the heads have no gates.
        """
        return self.trace.branch_gate(prompt, output, path, depth)

    def branch(self, prompt: int, output: int, path: tuple[int, ...]) -> Row:
        """Draw a row for the branch that left a text at ``output`` with the drafts ``path``."""
        return self._draw(self.by_steps.get(len(path), self.any), prompt, output, path)

    def _draw(
        self, pool: Sequence[tuple[int, Row]], prompt: int, output: int, path: tuple[int, ...]
    ) -> Row:
        number = dice(prompt, output, *path)
        return pool[pick(number, len(pool))][1] if pool else self._committed(number)

    def committed(self, prompt: int, output: int, steps: int) -> Row:
        """Draw a row of committed text for a sequence that left its own ``steps`` tokens ago.

        It is never the end of a text.
        """
        return self._committed(dice(prompt, output, steps))

    def _committed(self, number: int) -> Row:
        return text_row(self.trace, *self.outputs[pick(number, len(self.outputs))])

    @cached_property
    def outputs(self) -> list[tuple[int, int]]:
        """Places of the committed text before which heads were evaluated, as (prompt, output).

        End tokens are left out unless there is nothing else.
        """
        trace = self.trace
        heard = [
            (prompt, output)
            for prompt in trace.prompts
            for output in range(1, trace.n_output(prompt))
        ]
        return [
            (prompt, output)
            for prompt, output in heard
            if trace.final(prompt, output) not in trace.eos
        ] or heard


def text_row(trace: Trace, prompt: int, output: int) -> Row:
    """Return what heads and gates say before an output of the committed text."""
    heads = {depth: trace.head(prompt, output, depth) for depth in (*trace.depths, trace.n_layers)}
    depths = trace.depths if trace.has_gates else ()
    return Row(heads, {depth: trace.gate(prompt, output, depth) for depth in depths})
