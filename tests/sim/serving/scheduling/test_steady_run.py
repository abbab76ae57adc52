"""Steps that are alike, done at once, against the same steps one by one."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from adadecode.sim.serving.scheduling.scheduler import Scheduler, Step
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.scheduling.steady_run import SteadyRun
from tests.support.serving import request

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(2, 40)), min_size=1, max_size=6)
SETTINGS = st.builds(
    ServerSettings,
    kv_blocks=st.integers(20, 60),
    block_size=st.just(4),
    max_batched_tokens=st.integers(4, 64),
    max_num_seqs=st.integers(1, 5),
    prefix_caching=st.booleans(),
    async_scheduling=st.booleans(),
)


def state(found: Scheduler) -> list[object]:
    """Return all that later steps depend on."""
    each = [
        (one.known, one.pending, one.computed, one.room, tuple(one.blocks), one.noted, one.stop)
        for one in (*found.running, *found.waiting)
    ]
    return [each, found.cache.n_free, list(found.cache._free), list(found.clock)]


class Stepped:
    """A server that forms a step, and finishes the one that is due, at each moment."""

    def __init__(self, settings: ServerSettings, lengths: list[tuple[int, int]]) -> None:
        self.scheduler = Scheduler(settings)
        self.on_their_way: list[Step] = []
        self.ahead = 1 if settings.async_scheduling else 0
        for number, (n_prompt, n_output) in enumerate(lengths):
            self.scheduler.add(request(str(number), n_prompt=n_prompt, n_output=n_output))

    def turn(self, now: float) -> Step | None:
        step = self.scheduler.next_step(now)
        if step is not None:
            self.on_their_way.append(step)
        if len(self.on_their_way) > self.ahead:
            self.scheduler.finish(self.on_their_way.pop(0), now)
        return step


@given(LENGTHS, SETTINGS, st.integers(0, 60), st.floats(0, 1))
def test_steps_at_once_leave_what_they_leave_one_by_one(
    lengths: list[tuple[int, int]], settings: ServerSettings, before: int, share: float
) -> None:
    """From any state that steps lead to, for any number of steps."""
    at_once, each = Stepped(settings, lengths), Stepped(settings, lengths)
    for now in range(before):
        at_once.turn(float(now))
        each.turn(float(now))
    run = SteadyRun.of(at_once.scheduler, at_once.on_their_way)
    if run is None:
        return
    turns = 1 + round(share * (run.most - 1))
    times = [float(before + number) for number in range(turns)]
    run.form(turns // 2)  # as for whoever looks at the blocks meanwhile
    last = run.finish(array("d", times))
    used: list[int] = []
    for moment in times:
        step = each.turn(moment)
        assert step is not None
        assert (step.preempted, step.work.chunks) == (0, [])
        assert step.work.contexts == [context + len(used) for context in run.contexts]
        used.append(each.scheduler.cache.n_used)
    assert state(at_once.scheduler) == state(each.scheduler)
    assert run.used == used
    if each.ahead:
        assert len(last.emitting) == len(each.on_their_way[0].emitting)
