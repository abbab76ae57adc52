"""How commands fail: one sentence on stderr and exit code 2, or 130 where they are interrupted."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import NoReturn

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.interruption import INTERRUPTED, interruption_line
from adadecode.sim.cli.say import plain_warnings, say

EXTRAS = {
    "engine": ("huggingface_hub", "psutil", "safetensors", "tokenizers", "torch", "transformers"),
    "observe": ("httpx",),
    "parallel": ("accelerate",),
    "report": ("jinja2", "plotly"),
    "sweep": ("dask", "distributed", "optuna"),
}
"""The modules that come with each extra of this package."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of the operating system that a user can put right by making room."""


@contextmanager
def exiting_on_error(process: Callable[[], str] = str, *, alone: bool = True) -> Iterator[None]:
    """Turn what a user can put right into a sentence on stderr and an exit code.

    An `InputError`, a missing extra or a full disk becomes ``error: ...`` and exit code 2. Ctrl-C
    becomes ``interrupted: ...`` and exit code 130, and so do the signals by which a system asks a
    process to end, so that what is half written is removed.

    Args:
        process: Returns which of several processes this is, like `` (process 1 of 2)``; empty by
            default.
        alone: Whether it is the only one. One of several may be waiting for the others, and hear
            no signal meanwhile: it is left to the operating system to end it.
    """
    try:
        with plain_warnings(), _ending_by_signals() if alone else nullcontext():
            yield
            _flush()
    except SystemExit:
        _flush_or_exit()
        raise
    except InputError as error:
        say(f"error{process()}: {error}", stderr=True)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        say(f"error: {error.name} is not installed: pip install 'adadecode[{extra}]'", stderr=True)
        raise SystemExit(2) from None
    except OSError as error:
        _exit_unwritten(error)
    except KeyboardInterrupt as interrupt:  # before or after a command
        say(interruption_line(interrupt), stderr=True)
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def _ending_by_signals() -> Iterator[None]:
    """Let signals that ask this process to end do within the block what Ctrl-C does."""
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _flush_or_exit() -> None:
    """Bring what was printed to its end, or exit as `_exit_unwritten` does."""
    try:
        _flush()
    except OSError as error:
        _exit_unwritten(error)


def _flush() -> None:
    """Bring what was printed to its end; a program may be started without a standard output."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _exit_unwritten(error: OSError) -> NoReturn:
    """Exit with code 2 where a disk is full, and in silence where nobody reads what is printed.

    Raises:
        OSError: It is another error.
    """
    if error.errno not in {*FULL, errno.EPIPE}:
        raise error
    with suppress(OSError, ValueError):  # what could not be printed must not fail again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        raise SystemExit(1) from None
    place = error.filename or "the output"
    say(f"error: cannot write {place} ({error.strerror}): make room", stderr=True)
    raise SystemExit(2) from None


def extra_of(module: str) -> str | None:
    """Return the extra that installs a module, None where none does."""
    package = module.partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)
