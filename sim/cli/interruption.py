"""Ctrl-C in a command: what is kept, and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from adadecode.sim.cli.say import say

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""

NOTHING_WRITTEN = "nothing was written; run the same command again"
"""The message where no block gave one of its own."""


def interruption_line(interrupt: KeyboardInterrupt) -> str:
    """Return the line that tells the user what became of an interrupted command."""
    message = str(interrupt).removeprefix("interrupted: ") or NOTHING_WRITTEN
    return f"interrupted: {message}"


@contextmanager
def on_interrupt(message: str | Callable[[], str]) -> Iterator[None]:
    """Give the message to print where the user presses Ctrl-C within the block.

    `exiting_on_interrupt` prints the message as one line and exits with code 130.

    Args:
        message: What is kept and how to go on, or a function that returns it.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if interrupt.args:  # an inner block gave the message
            raise
        raise KeyboardInterrupt(message if isinstance(message, str) else message()) from None


@contextmanager
def exiting_on_interrupt() -> Iterator[None]:
    """Print in one line what became of an interrupted command, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        say(interruption_line(interrupt), stderr=True)
        raise typer.Exit(INTERRUPTED) from None


class InterruptibleCommand(TyperCommand):
    """A command that prints in one line what became of it where the user interrupts it."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  an object of click, whose class varies
        """Run the command."""
        with exiting_on_interrupt():
            return super().invoke(ctx)


def left_in(directory: Path) -> Callable[[], str]:
    """Return a function that describes what an interrupted command left in its new directory."""

    def message() -> str:
        from adadecode.profiles.schema import MANIFEST

        if (directory / MANIFEST).is_file():
            return f"the profile in {directory} is complete"
        return NOTHING_WRITTEN

    return message
