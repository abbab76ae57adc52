"""Lines that are kept one by one: whole and of this file, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adadecode.engine.runtime.sealed_lines import SealedLines
from adadecode.profiles.digest import sealed
from adadecode.profiles.errors import InputError


def filled(path: Path, owner: str = "me", count: int = 3) -> SealedLines:
    lines = SealedLines(path, owner)
    for number in range(count):
        lines.add({"number": number, "text": "é"})
    return lines


def numbers(path: Path, owner: str = "me") -> list[int]:
    return [line["number"] for line in SealedLines(path, owner).documents]


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    assert filled(tmp_path / "f").documents == SealedLines(tmp_path / "f", "me").documents
    assert numbers(tmp_path / "f") == [0, 1, 2]
    assert numbers(tmp_path / "none") == []


@pytest.mark.parametrize(
    "torn",
    [
        '{"number": 3, "te',
        '{"number": 3}\n',
        "[" * 100_000 + "\n",
        "3\n",
        '{"number": NaN}\n',
        "\n",
    ],
)
def test_nothing_follows_a_line_that_does_not_count(tmp_path: Path, torn: str) -> None:
    """What is added after a torn one would else be a part of it."""
    path = tmp_path / "f"
    filled(path)
    with path.open("a") as file:
        file.write(torn)
    lines = SealedLines(path, "me")
    assert [line["number"] for line in lines.documents] == [0, 1, 2]
    lines.add({"number": 4})
    assert numbers(path) == [0, 1, 2, 4]
    assert len(path.read_text().splitlines()) == 4


def test_every_changed_byte_costs_its_line(tmp_path: Path) -> None:
    path = tmp_path / "f"
    filled(path, count=2)
    whole = path.read_bytes()
    first = whole.index(b"\n")
    for place in range(first):
        changed = bytearray(whole)
        changed[place] ^= 2
        path.write_bytes(changed)
        try:
            same = json.loads(changed[:first]) == json.loads(whole[:first])
        except ValueError:
            same = False
        assert numbers(path) == ([0, 1] if same else [1])


def test_lines_of_another_file_do_not_count(tmp_path: Path) -> None:
    filled(tmp_path / "f", owner="another")
    assert numbers(tmp_path / "f") == []


def test_a_line_under_a_seal_without_its_owner_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(json.dumps(sealed({"number": 1}, "a line")) + "\n")
    assert numbers(tmp_path / "f") == []


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(InputError, match="pipe"):
        SealedLines(tmp_path / "f", "me")
