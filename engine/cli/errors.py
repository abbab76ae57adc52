"""How the engine's commands fail: one sentence on stderr, and exit code 2."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from adadecode.engine.runtime.torchrun import launched, rank
from adadecode.profiles.errors import InputError
from adadecode.sim.cli.errors import exiting_on_error

LAST_WORD_S = 3.0
"""Seconds that a process which is not the first waits before it prints its error.

Where the first one failed alike, ``torchrun`` has ended the others by then, and the error is
printed once."""


def plain_errors() -> AbstractContextManager[None]:
    """Turn what a user can put right into a sentence and an exit code.

    This is `adadecode.sim.cli.errors.exiting_on_error` for one of several processes.
    """
    return exiting_on_error(_process, alone=launched() == 1)


def _process() -> str:
    """Return which of several processes this is, empty for the only or the first one.

    The others wait first, so that the first has the time to say the same and to end them.
    """
    if launched() == 1 or rank() == "0":
        return ""
    time.sleep(LAST_WORD_S)
    return f" (process {rank()} of {launched()})"


def refuse_torchrun(command: str) -> None:
    """Refuse to run in several processes, each of which would do, and write, the same.

    Args:
        command: The name of the command.

    Raises:
        InputError: Several processes were started.
    """
    if launched() > 1:
        raise InputError(
            f"{command} is one process, torchrun started {launched()}: run it without; a sharded "
            "model is recorded by adadecode-profile, or decoded from Python"
        )
