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
    """Print the warnings of the block as text, too."""
    usual = warnings.formatwarning

    def formatted(*about: Any, **options: Any) -> str:  # noqa: ANN401 - as warnings calls it
        return shown(usual(*about, **options), lines=True)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual
