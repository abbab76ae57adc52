"""Ctrl-C in a command: what is kept, and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_interrupt(message: str | Callable[[], str]) -> Iterator[None]:
    """Say this where the user presses Ctrl-C within the block.

    `adadecode.sim.cli.lazy_group.LazyGroup` prints the message as one line and exits with code 130.

    Args:
        message: What is kept and how to go on, or a function that says it then.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if interrupt.args:  # an inner block has said it already
            raise
        raise KeyboardInterrupt(message if isinstance(message, str) else message()) from None
