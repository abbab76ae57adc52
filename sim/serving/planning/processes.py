"""Processes that plan several candidates at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context

from adadecode.profiles.errors import InputError


@contextmanager
def planning_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes, and end them with the block, whatever they do then.

    Args:
        count: How many.

    Raises:
        InputError: If a process ends by itself.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_others
    )
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                "a process ended while it planned a device, as it does where memory is short: plan "
                "one device after the other, or fewer requests (--first)"
            ) from error
        raise
    finally:
        pool.shutdown()


def _leave_interrupts_to_others() -> None:
    """Let Ctrl-C reach the first process alone, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
