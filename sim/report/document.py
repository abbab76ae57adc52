"""The contents of a report, whatever it is written as: sections of text, tables and figures.

All text is plain. None of it is markup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.sim.core.number_format import UNKNOWN, known, percent, significant
from adadecode.sim.report import formatting

if TYPE_CHECKING:
    import plotly.graph_objects as go

FORMATS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "count": formatting.count,
    "times": formatting.times,
    "ms": formatting.milliseconds,
    "percent": percent,
    "plain": significant,
    "bytes": lambda number: formatting.scaled(number, "B"),
    "flops": lambda number: formatting.scaled(number, "FLOP"),
    "joules": lambda number: f"{significant(number)} J" if known(number) else UNKNOWN,
}
"""How the cells of a column are written for people, by the name of the format."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A drop-down above a figure.

    Attributes:
        dimension: What it chooses. Drop-downs of one dimension move together on the whole page.
        label: Its label.
        options: What can be chosen; the first option is chosen at first.
    """

    dimension: str
    label: str
    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure as it is drawn for one combination of options.

    Attributes:
        figure: The plot.
        summary: One sentence on what it shows.
    """

    figure: go.Figure
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with its drop-downs.

    Attributes:
        name: A unique name of letters and hyphens.
        title: The title.
        caption: How to read it, and how certain it is.
        drawings: A drawing for each combination of options. For a combination without one, the
            page states that there is nothing to show.
        choices: The drop-downs, in the order of the options of a combination.
        half: Whether it is narrow enough to share a row with another figure.
    """

    name: str
    title: str
    caption: str
    drawings: Mapping[tuple[str, ...], Drawing]
    choices: tuple[Choice, ...] = ()
    half: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        name: A unique name of letters and hyphens.
        title: The title.
        frame: Plain numbers (seconds, bytes, shares), as they are written to CSV.
        columns: The columns to show: the heading and the format (see `FORMATS`) of each.
        caption: How to read it.
        folded: Whether the page shows it on demand only.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: Mapping[str, tuple[str, str]]
    caption: str = ""
    folded: bool = False

    def cells(self) -> list[list[str]]:
        """Return the rows as text for people."""
        columns = [
            map(FORMATS[kind], self.frame[name].tolist())
            for name, (_, kind) in self.columns.items()
        ]
        return [list(row) for row in zip(*columns, strict=True)]

    @property
    def headings(self) -> list[tuple[str, bool]]:
        """Each heading, and whether its column holds numbers."""
        return [(heading, kind != "text") for heading, kind in self.columns.values()]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report.

    Attributes:
        name: A unique name of letters and hyphens.
        title: The title.
        lead: A sentence or two below the title.
        items: The figures and tables, in order.
        notes: A list below them.
    """

    name: str
    title: str
    lead: str = ""
    items: tuple[Figure | Table, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def blocks(self) -> list[list[Figure | Table]]:
        """The items by row: two narrow figures that follow each other share a row."""
        rows: list[list[Figure | Table]] = []
        room = False  # for a second narrow figure in the last row
        for item in self.items:
            narrow = isinstance(item, Figure) and item.half
            if narrow and room:
                rows[-1].append(item)
            else:
                rows.append([item])
            room = narrow and not room
        return rows


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number to read first.

    Attributes:
        label: What it is.
        value: The number, written for people.
        note: What it is of, or how certain it is.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the numbers of a report can be relied on.

    Attributes:
        trusted: The verdict.
        answer: The verdict in words: ``Trust this recording: yes``.
        reasons: The sentences that it rests on.
    """

    trusted: bool
    answer: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report.

    Attributes:
        title: The title of the page.
        kicker: A line above the headline: what was recorded or swept.
        headline: The answer, in one sentence.
        lead: The sentences below the headline.
        facts: The numbers to read first.
        sections: The sections, in order.
        created: When it was made, in words.
        verdict: Whether to trust the recording behind it; None where there is none.
        frames: Tables that are too long to show and are written to CSV only, by name.
    """

    title: str
    kicker: str
    headline: str
    lead: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    created: str
    verdict: Verdict | None = None
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def figures(self) -> list[Figure]:
        """Every figure of the report, in order."""
        return [
            item for section in self.sections for item in section.items if isinstance(item, Figure)
        ]

    @property
    def tables(self) -> list[Table]:
        """Every table of the report, in order."""
        return [
            item for section in self.sections for item in section.items if isinstance(item, Table)
        ]


def fact_table(
    name: str, title: str, facts: Mapping[str, Any], *, caption: str = "", folded: bool = False
) -> Table:
    """Return a table of two columns, without headings: the names of the facts, and the facts."""
    frame = pd.DataFrame(
        {"what": list(facts), "value": [str(value) for value in facts.values()]}, dtype=str
    )
    return Table(
        name=name,
        title=title,
        frame=frame,
        columns={"what": ("", "text"), "value": ("", "text")},
        caption=caption,
        folded=folded,
    )


class ReportError(InputError):
    """Raised when a report cannot be made.

    A package is not installed, a sweep and a profile do not belong together, or a file cannot be
    written.
    """
