"""Whatever stops a command that writes, its output is the old one, the new one, or refused."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.crash.commands import COMMANDS
from tests.crash.failures import FAILURES
from tests.crash.verdict import BAD
from tests.support.paths import ROOT

QUICK = {
    "sim timeline": ("kill 4", "kill 9", "second"),
    "sim synthesize": ("kill 7", "full at 40%", "link"),
    "adadecode-train": ("kill 6", "pipe", "read-only"),
}
"""A few cells of the table, for `make test`."""


def tried(*arguments: str) -> str:
    """Return the table, made in a process without threads; nothing in it may be bad."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("command", QUICK)
def test_a_few_failures_leave_nothing_half(command: str) -> None:
    """The rest of the table is in `test_no_failure_leaves_anything_half`."""
    failures = [word for name in QUICK[command] for word in ("--failure", name)]
    table = tried("--command", command, *failures)
    assert sum(name in table for name in QUICK[command]) == len(QUICK[command])


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_failure_leaves_anything_half(command: str) -> None:
    """Killed at ten moments, a full disk, a second process, a pipe or a link in the place."""
    table = tried("--command", command)
    assert sum(failure in table for failure in FAILURES) == len(FAILURES)
    assert not any(f" {verdict}" in table for verdict in BAD)
