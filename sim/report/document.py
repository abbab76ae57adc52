"""What a report holds, whatever it is written as: sections of text, tables and figures with choices. All text is plain, none is markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.sim.report import formatting

if TYPE_CHECKING:
    import plotly.graph_objects as go

FORMATS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "count": formatting.count,
    "times": formatting.times,
    "ms": formatting.milliseconds,
    "percent": formatting.percent,
    "plain": formatting.significant,
    "bytes": lambda number: formatting.scaled(number, "B"),
    "flops": lambda number: formatting.scaled(number, "FLOP"),
    "joules": lambda number: (
        f"{formatting.significant(number)} J" if formatting.known(number) else formatting.NOTHING
    ),
}
"""How a column is written for people."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A drop-down. dimension: what it chooses; drop-downs of one dimension move together on the whole page. options: the first is chosen."""

    dimension: str
    label: str
    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure for one choice. says: what it shows, in a sentence."""

    figure: go.Figure
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure. name: unique, of letters and hyphens. caption: how to read it, and how sure it is. drawings: one for each combination of options.

    Combinations without a drawing are said to have nothing to show. half: narrow enough to stand beside another.
    """

    name: str
    title: str
    caption: str
    drawings: Mapping[tuple[str, ...], Drawing]
    choices: tuple[Choice, ...] = ()
    half: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table. frame: plain numbers, for CSV. columns: those shown, each with its heading and its format (see FORMATS). folded: shown on demand."""

    name: str
    title: str
    frame: pd.DataFrame
    columns: Mapping[str, tuple[str, str]]
    caption: str = ""
    folded: bool = False

    def cells(self) -> list[list[str]]:
        """The rows for people."""
        shown = [
            map(FORMATS[kind], self.frame[name].tolist())
            for name, (_, kind) in self.columns.items()
        ]
        return [list(row) for row in zip(*shown, strict=True)]

    @property
    def headings(self) -> list[tuple[str, bool]]:
        """Each heading, and whether the column holds numbers."""
        return [(heading, kind != "text") for heading, kind in self.columns.values()]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report. notes: said one by one, below."""

    name: str
    title: str
    lead: str = ""
    items: tuple[Figure | Table, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def blocks(self) -> list[list[Figure | Table]]:
        """The items, two narrow figures side by side."""
        rows: list[list[Figure | Table]] = []
        for item in self.items:
            narrow = isinstance(item, Figure) and item.half
            if (
                narrow
                and rows
                and len(rows[-1]) == 1
                and isinstance(rows[-1][0], Figure)
                and rows[-1][0].half
            ):
                rows[-1].append(item)
            else:
                rows.append([item])
        return rows


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number to read first. note: how sure it is, or of what."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report. kicker: what was looked at. headline: the answer. frames: tables for CSV that are too long to show."""

    title: str
    kicker: str
    headline: str
    lead: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    created: str
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def figures(self) -> list[Figure]:
        """Every figure, in order."""
        return [
            item for section in self.sections for item in section.items if isinstance(item, Figure)
        ]

    @property
    def tables(self) -> list[Table]:
        """Every table, in order."""
        return [
            item for section in self.sections for item in section.items if isinstance(item, Table)
        ]


def listing(
    name: str, title: str, facts: Mapping[str, Any], *, caption: str = "", folded: bool = False
) -> Table:
    """A table of two columns: what, and what it is."""
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
    """A package that is not installed, a sweep and a profile that do not belong together, or a file that cannot be written."""
