"""Run a command in a forked process, and see how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.crash.verdict import Verdict

ASLEEP_S = 8.0
"""Seconds without computing after which a process hangs."""

LONGEST_S = 300.0
"""Seconds after which a process hangs in any case; a busy machine is slow."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code; negative the signal that ended it; None where it hung.
        said: What it wrote on standard output and error.
    """

    code: int | None
    said: str

    @property
    def fault(self) -> Verdict | None:
        """What must not happen whatever the failure; None where it did not."""
        if self.code is None:
            return Verdict.HANG
        return Verdict.TRACEBACK if "Traceback" in self.said else None

    @property
    def refused(self) -> bool:
        """Whether it refused in one sentence."""
        lines = [line for line in self.said.strip().splitlines() if line.startswith("error")]
        return self.code == 2 and len(lines) == 1 and "Traceback" not in self.said


class Child:
    """A process that runs a function in a folder.

    Args:
        act: The function.
        folder: Where it runs.
        log: What it says is written here; outside of the folder.
    """

    def __init__(self, act: Callable[[], object], folder: Path, log: Path) -> None:
        self.log = log
        sys.stdout.flush()
        sys.stderr.flush()
        self.number = os.fork()
        if self.number == 0:
            _run(act, folder, log)

    def wait(self) -> Ended:
        """Wait until it ends, or hangs and is ended."""
        computed, since, started = "", time.monotonic(), time.monotonic()
        while True:
            done, status = os.waitpid(self.number, os.WNOHANG)
            if done:
                return Ended(code=os.waitstatus_to_exitcode(status), said=self._said())
            fields = Path(f"/proc/{self.number}/stat").read_text().rpartition(")")[2].split()
            now, moment = " ".join(fields[11:15]), time.monotonic()
            if now != computed or fields[0] not in "SD":
                computed, since = now, moment
            if moment - since > ASLEEP_S or moment - started > LONGEST_S:
                self.end()
                return Ended(code=None, said=self._said())
            time.sleep(0.01)

    def wait_until_stopped(self) -> bool:
        """Wait until it stops itself; return False where it ended before."""
        _, status = os.waitpid(self.number, os.WUNTRACED)
        return os.WIFSTOPPED(status)

    def go_on(self) -> None:
        """Let it go on after it stopped."""
        os.kill(self.number, signal.SIGCONT)

    def end(self) -> None:
        """Kill it."""
        os.kill(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)

    def _said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def run(act: Callable[[], object], folder: Path, log: Path) -> Ended:
    """Run a function in a process of its own until it ends."""
    return Child(act, folder, log).wait()


def _run(act: Callable[[], object], folder: Path, log: Path) -> None:
    """Run a function and end the process as the interpreter would; never returns."""
    code: object = 1
    try:
        os.chdir(folder)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        act()
        code = 0
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:  # noqa: BLE001 - whatever it is, the log says it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
