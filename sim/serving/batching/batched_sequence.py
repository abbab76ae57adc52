"""One sequence of a batch: its prefill in chunks, its schedule, and the work that it waits with."""

from __future__ import annotations

from collections.abc import Callable, Generator

from adadecode.sim.core.scheduler import Outcome, Run, Schedule, Verdict, Verify, Work


class BatchedSequence:
    """A sequence that waits with one piece of work at a time.

    The prompt passes through all segments in chunks; the last layer then gives the first token, and
    the schedule hands out the rest. A sequence that loses its keys and values computes the prompt
    and all committed tokens but the newest anew, and its schedule begins the open round again.

    Attributes:
        name: What tells it from the others.
        n_prompt: Tokens of the prompt.
        most_positions: The most positions that it computes.
        n_segments: Segments of the model.
        schedule: Its schedule, which holds the tokens; None before the first token.
        work: The work that it waits with; None while it is queued, and once it is done.
        since: The step since which it waits.
        prefill: Positions that are computed before its schedule goes on.
        blocks: The blocks that it holds, in the order of positions.
        preemptions: How often it lost its keys and values.

    Args:
        name: See above.
        n_prompt: See above.
        most_positions: See above.
        n_segments: See above.
        make_schedule: Returns the schedule, given the first token.
    """

    def __init__(
        self,
        name: str,
        *,
        n_prompt: int,
        most_positions: int,
        n_segments: int,
        make_schedule: Callable[[int], Schedule],
    ) -> None:
        self.name, self.n_prompt, self.most_positions = name, n_prompt, most_positions
        self.n_segments = n_segments
        self.schedule: Schedule | None = None
        self.work: Work | None = None
        self.since = self.prefill = self.preemptions = 0
        self.blocks: list[int] = []
        self._make_schedule = make_schedule
        self._steps: Generator[Work, Outcome, None] | None = None

    @property
    def done(self) -> bool:
        """Whether its text has ended."""
        return self.schedule is not None and self.schedule.done

    @property
    def prefilling(self) -> bool:
        """Whether it waits with a part of its prefill."""
        return self._steps is None

    @property
    def length(self) -> int:
        """Positions that it needs once the work that it waits with is done."""
        return self.work.stop if isinstance(self.work, Run) else 0

    def begin(self) -> None:
        """Begin, or begin again, with the prefill."""
        self.prefill = self.positions_to_begin()
        self.work = Run(0, 0, self.prefill)

    def positions_to_begin(self) -> int:
        """Return how many positions its prefill has."""
        return self.n_prompt + (0 if self.schedule is None else len(self.schedule.tokens) - 1)

    def cut(self, positions: int) -> None:
        """Wait with no more than the next positions of the prefill."""
        assert isinstance(self.work, Run)
        assert self.prefilling
        segment, start, stop = self.work
        self.work = Run(segment, start, min(stop, start + positions))

    def advance(self, outcome: Outcome = None) -> None:
        """Take the outcome of the work that was done, and wait with what follows it."""
        if self._steps is not None:
            self._send(outcome)
        elif isinstance(outcome, Verdict):
            self.schedule = self._make_schedule(outcome.token)
            self._start()
        else:
            self._advance_prefill()

    def preempt(self) -> None:
        """Forget all that was computed, and the open round; committed tokens stay."""
        self.preemptions += 1
        self.leave()
        if self.schedule is not None:
            computed = self.positions_to_begin()
            self.schedule.lengths[:] = [computed] * len(self.schedule.lengths)
            self.schedule.newest = self.schedule.tokens[-1]

    def leave(self) -> None:
        """Wait with nothing any more."""
        if self._steps is not None:
            self._steps.close()
        self._steps = self.work = None

    def _advance_prefill(self) -> None:
        """Pass a chunk on to the next segment, or go on after the last one."""
        assert isinstance(self.work, Run)
        segment, start, stop = self.work
        if segment + 1 < self.n_segments:
            self.work = Run(segment + 1, start, stop)
        elif stop < self.prefill:
            self.work = Run(0, stop, self.prefill)
        elif self.schedule is None:
            self.work = Verify(stop - 1, stop, ())
        else:
            self._start()

    def _start(self) -> None:
        """Let the schedule hand out the work of its next round."""
        assert self.schedule is not None
        self._steps = self.schedule.steps()
        self._send(None)

    def _send(self, outcome: Outcome) -> None:
        assert self._steps is not None
        try:
            self.work = self._steps.send(outcome)
        except StopIteration:
            self.work = None
