"""Tell the user where two processes time things on one machine: each disturbs the other's times.

A lock of an output folder cannot see that, as the two write into different folders. So whoever
times also holds a file of this user and machine. It is advice: nobody is refused, because the two
may use different processors or GPUs. A process that began earlier sees it in its telemetry.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adadecode.profiles.folder_lock import lock_descriptor

BESIDE = (
    "another recording or benchmark of yours runs on this machine, and each disturbs the times of "
    "the other: wait for it and begin again, unless they share no processor and no GPU"
)

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def timing_alone(notice: Callable[[str], None]) -> Iterator[None]:
    """Hold this machine for timing, and say where another process of this user holds it.

    Args:
        notice: Called with a sentence for the user.
    """
    descriptor = -1
    try:
        descriptor = os.open(lock_path(), _FLAGS, 0o600)
        lock_descriptor(descriptor)
    except BlockingIOError:
        notice(BESIDE)
    except OSError:
        pass  # no such file can be had here, and without it there is no advice
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def lock_path() -> Path:
    """Return the file that is held; it stays, and is empty."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"adadecode-timing-{user}.lock"
