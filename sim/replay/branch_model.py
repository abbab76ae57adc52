"""Model what heads do after a wrong draft where nothing was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from adadecode.profiles.hashing import dice, pick
from adadecode.profiles.trace import HeadOutput, Trace

Row = Mapping[int, HeadOutput]
"""What every head says at one place, by depth; the last layer at depth L, where it is known."""


class BranchModel:
    """Stands in for answers that nobody recorded.

    trace: where the recorded ones come from. A branch gets the row of a recorded one as many drafts after its wrong draft, or of any
    where none is that long, or of the committed text where no branch was recorded.

    by_steps: what is drawn from, (prompt, row) each, by drafts since the wrong one, itself included. any: all of these.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.n_layers = trace.n_layers
        self.by_steps: dict[int, list[tuple[int, Row]]] = {}
        for (prompt, _, path), row in sorted(trace.branches().items()):
            if all(depth in row for depth in trace.depths):
                self.by_steps.setdefault(len(path), []).append((prompt, row))
        self.any = [row for rows in self.by_steps.values() for row in rows]

    def recorded(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> HeadOutput | None:
        """What the head at ``depth`` said on this branch, where it was recorded. Raises DesignError where no head was trained there."""
        return self.trace.branch(prompt, output, path, depth)

    def branch(self, prompt: int, output: int, path: tuple[int, ...]) -> Row:
        """A row for the branch that left the text of ``prompt`` at ``output`` with the drafts ``path``."""
        return self._draw(self.by_steps.get(len(path), self.any), prompt, output, path)

    def _draw(
        self, pool: Sequence[tuple[int, Row]], prompt: int, output: int, path: tuple[int, ...]
    ) -> Row:
        number = dice(prompt, output, *path)
        return pool[pick(number, len(pool))][1] if pool else self._committed(number)

    def committed(self, prompt: int, output: int, steps: int) -> Row:
        """A row of some committed text, for a sequence ``steps`` tokens after it left the text of ``prompt`` at ``output``. Never the end of one."""
        return self._committed(dice(prompt, output, steps))

    def _committed(self, number: int) -> Row:
        where = self.outputs[pick(number, len(self.outputs))]
        return {
            depth: self.trace.head(*where, depth) for depth in (*self.trace.depths, self.n_layers)
        }

    @cached_property
    def outputs(self) -> list[tuple[int, int]]:
        """(prompt, output) of everything committed and heard, end tokens left out unless there is nothing else."""
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
