"""Print a line of text from anywhere as text: no character of it is obeyed by the terminal."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adadecode.sim.core.shown_text import shown


def say(line: object, *, stderr: bool = False) -> None:
    """Print one line, which may hold names from files.

    Args:
        line: The line.
        stderr: Whether it goes to stderr.
    """
    print(shown(line), file=sys.stderr if stderr else sys.stdout, flush=stderr)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print the warnings of the block as text, too, and those of this project in one line."""
    usual = warnings.formatwarning

    def formatted(
        message: Warning | str,
        category: type[Warning],
        *place: Any,  # noqa: ANN401 - as warnings calls it
        **options: Any,  # noqa: ANN401 - as warnings calls it
    ) -> str:
        if category is UserWarning:  # where in the code it comes from tells a user nothing
            return f"warning: {shown(message)}\n"
        return shown(usual(message, category, *place, **options), lines=True)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual
