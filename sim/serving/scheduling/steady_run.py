"""Several steps that are alike: everybody who runs computes the next token of its text.

Between two requests that join or leave, a server does the same step again and again. What such a
run of steps does to sequences and blocks follows at once, and comes to the same as each by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Row

from adadecode.sim.serving.scheduling.scheduler import Scheduler, Step
from adadecode.sim.serving.scheduling.step import StepWork

MOST_STEPS = 4096
"""Steps of the longest run."""


class SteadyRun:
    """A run of steps of one server. Find it with `of`.

    Attributes:
        contexts: For each sequence that runs, the positions before its next token.
        most: Steps of the run, at most. Any smaller number may be made.
        used: Blocks in use in each step that was formed.
    """

    def __init__(self, scheduler: Scheduler, most: int, offsets: list[int]) -> None:
        self._scheduler = scheduler
        self.contexts = [one.computed for one in scheduler.running]
        self.most = most
        self.used: list[int] = []
        # Each sequence needs a block once in so many steps, so that all need theirs in turn.
        places = sorted(range(len(offsets)), key=offsets.__getitem__)
        self._order = [scheduler.running[place] for place in places]
        self._at = [offsets[place] for place in places]
        self._turn, self._lap = 0, 0

    @classmethod
    def of(cls, scheduler: Scheduler, on_their_way: Row[Step]) -> SteadyRun | None:
        """Return the run that begins now; None where the next two steps are not alike.

        A request that comes ends it. Until then nobody is admitted, ends, or loses its blocks, and
        no block gets content that others could find.

        Args:
            scheduler: The state of the server.
            on_their_way: Steps that are formed and not done.
        """
        running = scheduler.running
        count, pending = len(running), len(on_their_way)
        if not 0 < count <= scheduler.settings.max_batched_tokens:
            return None
        if any(len(step.emitting) != count for step in on_their_way):
            return None
        most, offsets = MOST_STEPS, []
        for one in running:
            left = one.last - one.known - 1
            if left < 2 or one.pending != pending or one.shares:
                return None
            if one.computed + 1 != one.known + pending:
                return None
            most = min(most, left)
            offsets.append(one.room - one.computed)
        if scheduler.admits():
            return None
        run = cls(scheduler, most, offsets)
        # The first one that finds no free block ends the run.
        laps, place = divmod(scheduler.cache.n_free, count)
        run.most = min(most, run._at[place] + laps * scheduler.settings.block_size)
        return run if run.most > 1 else None

    def form(self, turns: int) -> None:
        """Take the blocks of the first so many steps, as far as that is still to be done."""
        cache, size = self._scheduler.cache, self._scheduler.settings.block_size
        order, at = self._order, self._at
        for turn in range(len(self.used), turns):
            while at[self._turn] + self._lap == turn:
                one = order[self._turn]
                one.blocks += cache.take(1)
                one.room += size
                self._turn += 1
                if self._turn == len(order):
                    self._turn, self._lap = 0, self._lap + size
            self.used.append(cache.n_used)

    def finish(self, ends: array[float]) -> Step:
        """Form so many steps, finish as many, and return the one that is formed last.

        Args:
            ends: When a step is done, for each: first for those that were on their way.
        """
        turns, scheduler = len(ends), self._scheduler
        self.form(turns)
        place = len(scheduler.clock)
        scheduler.clock.extend(ends)
        for one in scheduler.running:
            one.known += turns
            one.computed += turns
            one.noted = one.known - 1
            if one.stop != place:
                one.begin_stretch(place)
            one.stop = place + turns
        return Step(StepWork(), list(scheduler.running))
