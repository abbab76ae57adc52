"""Compiled functions are kept where there is a place to keep them, and work where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adadecode.sim.replay import jit


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
