"""How the engine's command-line tools fail: one sentence on stderr, and exit code 2 for what a user can put right."""

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
"""A process that fails waits so long before it says why: where the first one failed alike, ``torchrun`` has ended it by then, and it is said once."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Within: an InputError becomes ``error: ...`` on stderr and exit code 2, as does a missing extra. Ctrl-C: exit code 130."""
    try:
        yield
    except InputError as error:
        print(f"error{_whose()}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before a command has begun anything that it could go on with
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(
            f"error: {error.name} is not installed: pip install 'adadecode[engine]'",
            file=sys.stderr,
        )
        sys.exit(2)


def _whose() -> str:
    """Of several processes which one, after the first had the time to say the same and to end the others; empty of the only or the first one."""
    if launched() == 1 or rank() == "0":
        return ""
    time.sleep(LAST_WORD_S)
    return f" (process {rank()} of {launched()})"


def refuse_torchrun(command: str) -> None:
    """Raises InputError where several processes were started: every one of them would do, and write, the same."""
    if launched() > 1:
        raise InputError(
            f"{command} is one process, torchrun started {launched()}: run it without; a sharded model is recorded by adadecode-profile, or decoded from Python"
        )
