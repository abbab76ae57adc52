"""Compiled functions are kept where there is a place to keep them, and work where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adadecode.sim.replay import jit
from tests.support.failing_disk import small_disk


def add(a, b):
    return a + b


def test_a_compiled_function_computes_what_it_did() -> None:
    assert jit.compiled(add)(2, 3) == 5


def test_without_a_place_to_keep_it_a_function_is_compiled_for_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container whose file system is read-only."""
    plain = jit.njit

    def njit(**options: bool):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function 'add': no locator available")
        return plain(**options)

    monkeypatch.setattr(jit, "njit", njit)
    assert jit.compiled(add)(2, 3) == 5


@pytest.mark.parametrize(
    "module", ["compiled", "price_list", "work_histogram", "branch_tree", "outcomes"]
)
def test_numba_is_loaded_with_the_first_count_alone(module: str) -> None:
    program = f"import sys, adadecode.sim.replay.{module}; print('numba' in sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert loaded.stdout == "False\n"


CODE = """
def double(x):
    return 2 * x

from adadecode.sim.replay.jit import compiled
print(compiled(double)(21))
"""


def test_no_room_for_what_was_compiled_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "cache").mkdir()
    with small_disk(tmp_path / "cache", "16k") as cache:
        (cache / "fill").write_bytes(bytes(12_000))
        done = subprocess.run(
            [sys.executable, str(tmp_path / "code.py")],
            env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
