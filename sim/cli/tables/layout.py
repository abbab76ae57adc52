"""How tables and notes are laid out for people: at any width, nothing is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import fill

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from adadecode.sim.cli.plain_console import PlainConsole, PlainTable
from adadecode.sim.core.shown_text import shown

BASIS_WORDS = {
    "measured": "",
    "carried": ", carried there",
    "datasheet": ", from its datasheet",
}
"""What follows a device's name to say where its latencies are from."""


HEADING_WIDTH = 12
"""Characters in a line of a heading that had to be broken, where its words allow it."""

LEAST_WIDTH = 2
"""Characters in a line of a cell on a terminal that is too narrow for the table."""

COLUMN_BORDER, BORDER = 3, 1
"""Characters beside the text of each column, and once a table."""

UNLIMITED_WIDTH = 10_000
"""Columns of a terminal on which every table fits."""


def console() -> Console:
    """Return a console on stdout, which colours nothing but what is styled."""
    return PlainConsole()


class _FittingTable(PlainTable):
    """A table that fits any terminal.

    Where it is too wide, its headings over numbers are broken, and where it still is, every cell.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(max_width=UNLIMITED_WIDTH)
        if Measurement.get(console, unlimited, self).maximum > options.max_width:
            for column in self.columns:
                if column.no_wrap and isinstance(column.header, str):
                    column.header = fill(column.header, HEADING_WIDTH, break_long_words=False)
        if sum(map(_least_width, self.columns)) + BORDER > options.max_width:
            for column in self.columns:
                column.no_wrap, column.min_width = False, LEAST_WIDTH
        yield from super().__rich_console__(console, options)


def _least_width(column: Column) -> int:
    """Return the characters that a column takes at least where it may not be broken."""
    cells = [str(cell) for cell in (column.header, *column.cells)]
    if not column.no_wrap:
        return LEAST_WIDTH + COLUMN_BORDER
    return max(cell_len(line) for cell in cells for line in cell.split("\n")) + COLUMN_BORDER


def table(*columns: str, texts: Sequence[str] = (), names: bool = False) -> Table:
    """Return an empty table whose cells wrap rather than lose a digit.

    Args:
        columns: The names of the columns: the first holds text, the others numbers.
        texts: The columns besides the first that hold text too.
        names: Whether the first column holds names, which are kept in one piece.
    """
    made = _FittingTable()
    for place, name in enumerate(columns):
        if place == 0:
            made.add_column(name, overflow="fold", no_wrap=names)
        elif name in texts:
            made.add_column(name, overflow="fold")
        else:
            made.add_column(name, justify="right", overflow="fold", no_wrap=True)
    return made


def titled(
    title: str, body: Table, captions: Iterable[str] = (), *, hypothetical: bool = False
) -> Group:
    """Put a title above a table and captions below it, as wide as the terminal.

    Args:
        title: The title.
        body: The table.
        captions: What explains its figures, a line each.
        hypothetical: Whether the title says that what stands below it is hypothetical.
    """
    words = f"{title} (hypothetical)" if hypothetical else title
    lines = [Text(shown(caption), style="dim") for caption in captions]
    return Group(Text(shown(words), style="italic"), body, *lines)


def notes(lines: Iterable[str], *, indent: int = 1) -> Iterator[RenderableType]:
    """Yield notes as a list to stand below a table."""
    for line in lines:
        item = Table.grid(padding=(0, 1, 0, 0))
        item.add_row("-", Text(shown(line)))
        yield Padding(item, (0, 0, 0, indent))
