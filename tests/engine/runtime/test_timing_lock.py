"""Two processes that time things on one machine are told of each other."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from adadecode.engine.runtime.timing_lock import BESIDE, lock_path, timing_alone


@pytest.fixture(autouse=True)
def _own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_second_is_told_and_not_refused() -> None:
    told: list[str] = []
    with timing_alone(told.append):
        assert told == []
        with timing_alone(told.append):
            assert told == [BESIDE]
    with timing_alone(told.append):
        assert told == [BESIDE]


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_stands_in_the_way_of_advice_hinders_nobody(kind: str, tmp_path: Path) -> None:
    """Such as a file of another user, or one that somebody put there."""
    kept = tmp_path / "kept"
    kept.write_text("kept")
    {
        "folder": lock_path().mkdir,
        "link": lambda: lock_path().symlink_to(kept),
        "pipe": lambda: os.mkfifo(lock_path()),
    }[kind]()
    told: list[str] = []
    with timing_alone(told.append):
        assert told == []
    assert kept.read_text() == "kept"
