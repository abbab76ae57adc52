"""Progress lines where there is no terminal, and an estimate of the time left."""

from __future__ import annotations

import pytest

from adadecode.sim.cli import progress
from adadecode.sim.cli.progress import ProgressLines, TimeLeft, duration, showing_progress


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_line_is_printed_every_tenth(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    show = ProgressLines(noun="designs")
    for done in range(0, 1001, 10):
        clock.now += 0.01
        show(done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == [f"{n:,}" for n in range(100, 1001, 100)]
    assert lines[0] == "100 of 1,000 designs (10%)"


def test_a_line_is_printed_every_half_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    show = ProgressLines(noun="designs")
    for done in range(10):
        show(done, 10_000)
        clock.now += 16
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["2", "4", "6", "8"]
    assert lines[0].endswith(", 44 h 26 min left")


def test_a_bar_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress("designs") as show:
        show(0, 4)
        show(4, 4)
    assert capsys.readouterr().err == "4 of 4 designs (100%)\n"


def test_the_time_left_does_not_rest_on_the_first_parts_alone() -> None:
    """8 of 72 designs after a tenth of a second: nobody knows; after ten seconds: 80 more."""
    left = TimeLeft(started=0.0)
    assert left.estimate(0, 72, now=0.0) is None
    assert left.estimate(8, 72, now=0.1) is None
    assert left.estimate(8, 72, now=10.0) == pytest.approx(80.0)
    assert left.estimate(72, 72, now=11.0) == 0.0


def test_what_was_done_before_does_not_count() -> None:
    """A sweep that continues at 60 of 72 has no speed yet."""
    left = TimeLeft(started=0.0)
    assert left.estimate(60, 72, now=5.0) is None
    assert left.estimate(66, 72, now=12.0) == pytest.approx(12.0)


def test_a_stage_that_was_resumed_is_not_hurried(clock: Clock) -> None:
    """40 of 100 were done before: the time left rests on the ten since then."""
    lines: list[str] = []
    show = ProgressLines(stage="recording", write=lines.append)
    show(40, 100)
    clock.now += 40
    show(50, 100)
    assert lines == ["recording: 40 of 100 (40%)", "recording: 50 of 100 (50%), 3 min 20 s left"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59, "59 s"), (61, "1 min 1 s"), (7810, "2 h 10 min")],
)
def test_times_are_given_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
