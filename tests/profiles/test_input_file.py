"""Tests of reading files that a user names."""

import os
import tracemalloc
from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError, ProfileError
from adadecode.profiles.input_file import (
    is_folder,
    is_there,
    read_bytes,
    read_json,
    read_text,
    read_toml,
)

READERS = (read_bytes, read_text, read_json, read_toml)


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_is_refused_at_once(tmp_path: Path, read) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ProfileError, match="the pipe"):
        read(pipe, error=ProfileError)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["missing", "", "a\0b", "/dev/zero", "x" * 5000])
def test_what_is_no_file_is_refused(tmp_path: Path, read, name: str) -> None:
    with pytest.raises(InputError):
        read(tmp_path / name)


def test_a_file_over_the_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 101)
    assert len(read_bytes(path, at_most=101)) == 101
    with pytest.raises(InputError, match="at most 100 bytes, got 101"):
        read_bytes(path, at_most=100)


def test_text_that_is_not_utf_8_is_refused_by_its_first_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"ab\xff")
    with pytest.raises(InputError, match="0xff at 2"):
        read_text(path)


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeff{}".encode())
    assert read_text(path) == "{}"
    assert read_json(path) == {}


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_json, "[" * 100_000),
        (read_json, "{"),
        (read_json, "1" * 5000),
        (read_toml, "a = " + "[" * 100_000),
        (read_toml, "a = "),
        (read_toml, "a = " + "1" * 5000),
        (read_toml, "a = 2024-13-45"),
        (read_json, "[" * 65 + "]" * 65),
        (read_toml, ".".join("a" * 65) + " = 1"),
        (read_json, '{"a": 1, "b": 2, "a": 3}'),
        (read_json, '["\\ud800"]'),
        (read_json, '{"\\udc00": 1}'),
    ],
)
def test_a_broken_document_is_refused(tmp_path: Path, read, text: str) -> None:
    path = tmp_path / "document"
    path.write_text(text)
    with pytest.raises(InputError, match=r"document|nested"):
        read(path)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_text(tmp_path / "link") == "text"


def test_what_is_nested_a_little_is_read(tmp_path: Path) -> None:
    (tmp_path / "json").write_text("[" * 64 + "]" * 64)
    assert read_json(tmp_path / "json")
    (tmp_path / "toml").write_text(".".join("a" * 63) + " = 1")
    assert read_toml(tmp_path / "toml")


def test_a_file_that_does_not_say_its_size_is_read_whole() -> None:
    assert b"processor" in read_bytes("/proc/cpuinfo") or b"CPU" in read_bytes("/proc/cpuinfo")


@pytest.mark.parametrize("name", ["missing", "a\0b", "x" * 5000])
def test_a_path_that_leads_nowhere_is_not_there(tmp_path: Path, name: str) -> None:
    """Also one that could never be."""
    assert not is_there(tmp_path / name)
    assert not is_folder(tmp_path / name)
    assert is_there(tmp_path)
    assert is_folder(tmp_path)


def test_a_file_over_the_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file of 8 GiB takes no place on the disk, and would take it all in memory."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(8 * 2**30)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"at most 4,294,967,296 bytes, got 8,589,934,592"):
        read_bytes(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
