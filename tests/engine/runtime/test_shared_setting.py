"""A setting of the process that overlapping users leave as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adadecode.engine.runtime.shared_setting import SharedSetting
from tests.support.threads import together


class Process:
    """Has one setting, and counts how often it is made."""

    def __init__(self) -> None:
        self.value, self.made = "own", 0

    @contextmanager
    def changed(self) -> Iterator[None]:
        before, self.value = self.value, "ours"
        self.made += 1
        try:
            yield
        finally:
            self.value = before


def test_the_first_user_makes_it_and_the_last_one_undoes_it() -> None:
    """Whoever came first may leave first: each by itself would have left it changed for good."""
    process = Process()
    setting = SharedSetting(process.changed)
    first, second = setting.needed(), setting.needed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert process.value == "ours"
    second.__exit__(None, None, None)
    assert (process.value, process.made) == ("own", 1)
    with setting.needed():
        assert process.value == "ours"
    assert (process.value, process.made) == ("own", 2)


def test_an_error_undoes_it() -> None:
    process = Process()
    with pytest.raises(KeyError), SharedSetting(process.changed).needed():
        raise KeyError
    assert process.value == "own"


def test_a_setting_that_cannot_be_made_is_tried_again() -> None:
    process, tries = Process(), []

    @contextmanager
    def failing() -> Iterator[None]:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError
        with process.changed():
            yield

    setting = SharedSetting(failing)
    with pytest.raises(KeyError), setting.needed():
        pass
    with setting.needed():
        assert process.value == "ours"
    assert process.value == "own"


def test_threads_leave_it_as_it_was() -> None:
    process = Process()
    setting = SharedSetting(process.changed)

    def work() -> bool:
        kept = []
        for _ in range(200):
            with setting.needed():
                kept.append(process.value == "ours")
        return all(kept)

    assert together([work] * 3) == [[True] * 3]
    assert process.value == "own"
