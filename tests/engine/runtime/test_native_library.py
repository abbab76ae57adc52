"""C++ of ours is compiled once, and again where what was kept is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.engine.model.few_rows import why_not_compiled
from adadecode.engine.runtime import native_library as module
from adadecode.engine.runtime.native_library import native_library

pytestmark = pytest.mark.skipif(
    why_not_compiled() is not None, reason=f"needs a C++ compiler: {why_not_compiled()}"
)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADADECODE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "seven.cpp"
    path.write_text('extern "C" int seven() { return 7; }\n')
    return path


def test_it_is_compiled_once(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native_library(source).seven() == 7
    monkeypatch.setattr(module, "_compile", None)
    assert native_library(source).seven() == 7


def test_other_code_is_another_library(source: Path) -> None:
    assert native_library(source).seven() == 7
    source.write_text('extern "C" int seven() { return 8; }\n')
    assert native_library(source).seven() == 8


def test_what_is_damaged_is_compiled_again(source: Path) -> None:
    native = source.parent / "cache" / "native"
    native_library(source)
    (kept,) = native.iterdir()
    kept.unlink()
    kept.write_bytes(b"no library")
    assert native_library(source).seven() == 7


def test_without_room_in_the_cache_it_is_compiled_for_this_process(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADADECODE_CACHE", str(source))  # a file, no folder
    assert native_library(source).seven() == 7


def test_what_cannot_be_compiled_is_said(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.write_text("no C++\n")
    with pytest.raises(LookupError, match=r"could not compile seven\.cpp"):
        native_library(source)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LookupError, match=r"no C\+\+ compiler was found"):
        native_library(source)
