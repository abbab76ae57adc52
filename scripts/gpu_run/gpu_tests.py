"""The stage ``tests``: run the project's tests that need a GPU."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from scripts.gpu_run.setup import PACKAGES_OF_TESTS, missing_packages
from scripts.gpu_run.state import ROOT, GpuRun, StageFailure

LIMIT_S = 90.0
"""Seconds after which the tests are stopped: the rest of the call is worth more."""
FILES = ("tests/engine/model/test_cuda_graphs.py", "tests/engine/heads/test_head_forms.py")
"""CUDA graphs, and each int8 product: what no other stage shows."""
PYTEST = ("-v", "-rfEs", "-W", "default", "-m", "gpu", "-p", "no:cacheprovider")
"""Options of pytest. Warnings are no errors there: its versions differ from those the project is
tested with."""
KEPT_LINES = 30
"""Lines of pytest's output that the result keeps."""


def tests(run: GpuRun) -> dict[str, Any]:
    """Run the tests marked ``gpu``.

    Returns:
        ``ran``; the counts of `count_outcomes` and the end of pytest's output, ``said``; or ``why``
        they did not run, where pytest is missing.

    Raises:
        StageFailure: If a test fails, none runs on the GPU, or they take longer than `LIMIT_S`.
    """
    if missing := missing_packages(PACKAGES_OF_TESTS):
        return {"ran": False, "why": f"{', '.join(missing)} are missing: bring their wheels"}
    command = [sys.executable, "-m", "pytest", *PYTEST, *FILES]
    try:
        done = subprocess.run(  # noqa: S603 - the project's own tests
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as timeout:
        output = (timeout.stdout or b"").decode(errors="replace")  # bytes even with text=True
        print(output, flush=True)
        raise StageFailure(
            f"the tests took more than {LIMIT_S:.0f} s",
            {"ran": True, "said": output.splitlines()[-KEPT_LINES:]},
        ) from timeout
    print(done.stdout + done.stderr, flush=True)
    counts = count_outcomes(done.stdout)
    found = {"ran": True, **counts, "said": done.stdout.splitlines()[-KEPT_LINES:]}
    if done.returncode != 0:
        raise StageFailure(
            f"{counts['failed']} tests failed and {counts['errors']} broke off "
            f"(pytest ended with {done.returncode})",
            found,
        )
    if run.device == "cuda" and not counts["passed"]:
        raise StageFailure(
            f"none of the tests ran on the GPU, {counts['skipped']} were skipped", found
        )
    return found


def count_outcomes(output: str) -> dict[str, int]:
    """Return how many tests passed, failed, broke off and were skipped, by pytest's last line."""
    last_line = output.splitlines()[-1] if output.splitlines() else ""
    numbers = {
        word.rstrip("s"): int(number)
        for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last_line)
    }
    words = {"passed": "passed", "failed": "failed", "errors": "error", "skipped": "skipped"}
    return {key: numbers.get(word, 0) for key, word in words.items()}
