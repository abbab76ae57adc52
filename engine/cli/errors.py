"""How the engine's commands fail: one sentence on stderr, and exit code 2."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from adadecode.engine.runtime.torchrun import launched, rank
from adadecode.profiles.errors import InputError

_EXTRA = {"huggingface_hub", "psutil", "safetensors", "tokenizers", "torch", "transformers"}
"""What the extra ``engine`` installs."""

LAST_WORD_S = 3.0
"""Seconds that a process which is not the first waits before it prints its error.

Where the first one failed alike, ``torchrun`` has ended the others by then, and the error is
printed once."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can put right into a sentence and an exit code.

    An `InputError` or a missing extra becomes ``error: ...`` on stderr and exit code 2, Ctrl-C
    exit code 130.
    """
    try:
        yield
    except InputError as error:
        print(f"error{_process()}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before a command has begun anything that it could go on with
        print("stopped; nothing had begun", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(
            f"error: {error.name} is not installed: pip install 'adadecode[engine]'",
            file=sys.stderr,
        )
        sys.exit(2)


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
