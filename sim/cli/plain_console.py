"""A rich console on which text is text: neither markup nor escapes in it are obeyed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from adadecode.sim.core.shown_text import shown


class PlainConsole(Console):
    """A console for text that holds names from files.

    Square brackets are brackets, ``:words:`` are no emoji, and a character that a terminal would
    obey is written out. Only line breaks are kept: names that may hold some belong into a
    `PlainTable`, or through `shown` before they become part of a line.

    Args:
        stderr: Whether it prints to stderr.
        quiet: Whether it prints nothing.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)

    def render_str(
        self,
        text: str,
        **options: Any,  # noqa: ANN401 - those of rich
    ) -> Text:
        """Return a string as text, in which every character is seen."""
        return super().render_str(shown(text, lines=True), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render anything, and write out what a terminal would obey."""
        if isinstance(renderable, Text) and shown(renderable.plain, lines=True) != renderable.plain:
            renderable = Text(shown(renderable.plain, lines=True), style=renderable.style)
        for segment in super().render(renderable, options):
            if segment.control is None:
                yield Segment(shown(segment.text, lines=True), segment.style)
            else:
                yield segment


class PlainTable(Table):
    """A table in whose cells a line break is written out too."""

    def add_row(
        self,
        *cells: RenderableType | None,
        **options: Any,  # noqa: ANN401 - those of rich
    ) -> None:
        """Add a row; text in it is shown, never obeyed."""
        super().add_row(*(shown(one) if isinstance(one, str) else one for one in cells), **options)
