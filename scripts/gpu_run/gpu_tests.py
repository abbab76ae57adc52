"""The stage ``tests``: the project's tests that need a GPU, before anything is measured there."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from scripts.gpu_run.setup import TESTING, absent
from scripts.gpu_run.state import ROOT, GpuRun, StageFailure

LIMIT_S = 90.0
"""No longer than this: the rest of the call is worth more."""
FILES = ("tests/engine/model/test_cuda_graphs.py", "tests/engine/heads/test_head_forms.py")
"""Graphs, and each int8 product: what no other stage shows."""


def tests(visit: GpuRun) -> dict[str, Any]:
    """How many of them passed, failed and were skipped, and the end of what pytest said; why none were run where it is missing. Raises StageFailure where one fails.

    Warnings are no errors there: the versions are others than those that the project is tested with.
    """
    if missing := absent(TESTING):
        return {"ran": False, "why": f"{', '.join(missing)} are missing: bring their wheels"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-rfEs",
        "-W",
        "default",
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
        *FILES,
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")  # bytes, whatever was asked for
        print(said, flush=True)
        raise StageFailure(
            f"the tests took more than {LIMIT_S:.0f} s",
            {"ran": True, "said": said.splitlines()[-30:]},
        ) from late
    print(done.stdout + done.stderr, flush=True)
    told = {"ran": True, **counts(done.stdout), "said": done.stdout.splitlines()[-30:]}
    if done.returncode != 0:
        raise StageFailure(
            f"{told['failed']} tests failed and {told['errors']} broke off (pytest ended with {done.returncode})",
            told,
        )
    if visit.device == "cuda" and not told["passed"]:
        raise StageFailure(
            f"none of the tests ran on the GPU, {told['skipped']} were skipped", told
        )
    return told


def counts(said: str) -> dict[str, int]:
    """Passed, failed, errors and skipped, by the last line of what pytest said."""
    last = said.splitlines()[-1] if said.splitlines() else ""
    found = {
        word.rstrip("s"): int(number)
        for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last)
    }
    return {
        "passed": found.get("passed", 0),
        "failed": found.get("failed", 0),
        "errors": found.get("error", 0),
        "skipped": found.get("skipped", 0),
    }
