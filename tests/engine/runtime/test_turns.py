"""Turns: one thread at a time, in the order in which they came."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import pytest

from adadecode.engine.runtime.turns import Turns
from tests.support.threads import together


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for(queued: int, turns: Turns) -> None:
    """Wait until so many threads wait."""
    while len(turns._waiting) < queued:
        time.sleep(1e-3)


def test_threads_go_in_the_order_in_which_they_came() -> None:
    """Also where the one that leaves asks again at once."""
    turns, order = Turns(), []

    def work(name: int) -> None:
        with turns:
            order.append(name)

    with turns:
        threads = []
        for name in range(4):
            threads.append(started(lambda name=name: work(name)))
            wait_for(name + 1, turns)
    work(4)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_only_one_is_within() -> None:
    turns, within, most = Turns(), [], []

    def work() -> int:
        for _ in range(200):
            with turns, turns:
                within.append(1)
                most.append(len(within))
                within.pop()
        return 1

    assert together([work] * 4) == [[1, 1, 1, 1]]
    assert max(most) == 1


def test_a_turn_is_entered_again_within_it() -> None:
    """And others wait until it is left as often."""
    turns, order = Turns(), []
    with turns:
        with turns:
            thread = started(lambda: turns.__enter__() or order.append("other"))
            wait_for(1, turns)
        order.append("outer")
    thread.join()
    assert order == ["outer", "other"]


def test_an_error_within_ends_the_turn() -> None:
    turns = Turns()
    with pytest.raises(KeyError), turns:
        raise KeyError
    assert together([turns.__enter__]) == [[None]]


@pytest.mark.parametrize("late", [False, True])
def test_one_that_is_interrupted_while_it_waits_keeps_nobody_waiting(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its turn, or when the turn has just been passed on to it."""
    waited, done = Turns(), []

    class Interrupted:
        """A lock whose second taking is interrupted."""

        def __init__(self) -> None:
            self.lock, self.taken = threading.Lock(), False

        def acquire(self) -> None:
            if not self.taken:
                self.taken = True
                self.lock.acquire()
                return
            if late:
                self.lock.acquire()
            raise KeyboardInterrupt

        def release(self) -> None:
            self.lock.release()

    def waiting() -> None:
        with pytest.raises(KeyboardInterrupt), waited:
            pass
        done.append("interrupted")

    waited.__enter__()
    monkeypatch.setattr("adadecode.engine.runtime.turns.Lock", Interrupted)
    thread = started(waiting)
    if late:
        wait_for(1, waited)
        monkeypatch.undo()
    else:
        thread.join()
        monkeypatch.undo()
    other = started(lambda: waited.__enter__() or done.append("other"))
    wait_for(1 + late, waited)
    waited.__exit__(None, None, None)
    other.join()
    thread.join()
    assert sorted(done) == ["interrupted", "other"]


@pytest.mark.parametrize("queued", [False, True])
def test_one_that_is_interrupted_as_it_queues_is_not_waited_for(queued: bool) -> None:
    turns, done = Turns(), []

    class Interrupting(deque):  # type: ignore[type-arg]
        def append(self, one: object) -> None:
            if queued:
                super().append(one)
            raise KeyboardInterrupt

    def waiting() -> None:
        with pytest.raises(KeyboardInterrupt):
            turns.__enter__()
        done.append("interrupted")

    with turns:
        turns._waiting = Interrupting()
        started(waiting).join()
        assert not turns._waiting
        turns._waiting = deque()
        other = started(lambda: turns.__enter__() or done.append("other"))
        wait_for(1, turns)
        assert done == ["interrupted"]  # the turn is still this thread's
    other.join(10)
    assert done == ["interrupted", "other"]


@pytest.mark.parametrize("before", [0, 1])
def test_one_that_is_interrupted_as_it_enters_leaves_again(before: int) -> None:
    """As often as it entered."""
    turns, done = Turns(), []

    class Interrupting:
        """A lock that is left with an interrupt, once."""

        def __init__(self) -> None:
            self.lock, self.left = threading.Lock(), False

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()
            if not self.left:
                self.left = True
                raise KeyboardInterrupt

    for _ in range(before):
        turns.__enter__()
    turns._guard = Interrupting()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        turns.__enter__()
    other = started(lambda: turns.__enter__() or done.append("other"))
    for _ in range(before):
        wait_for(1, turns)
        turns.__exit__(None, None, None)
    other.join(10)
    assert done == ["other"]
