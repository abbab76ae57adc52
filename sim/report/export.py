"""A report without a browser: Markdown for reading, CSV for computing."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from adadecode.sim.report.document import Figure, Report, Table
from adadecode.sim.report.formatting import in_markdown, safe_csv

MOST_ROWS = 60
"""Rows of a folded table that Markdown still shows; the whole is in the CSV."""


def markdown(report: Report) -> str:
    """The text and the tables; of figures, what they show in a sentence for the first choice. No line of it is anything but what it says."""
    parts = [f"# {in_markdown(report.headline)}", in_markdown(report.lead)]
    parts.append(
        "\n".join(
            f"- {in_markdown(fact.label)}: **{in_markdown(fact.value)}** {in_markdown(fact.note)}".rstrip()
            for fact in report.facts
        )
    )
    for section in report.sections:
        parts += [f"## {in_markdown(section.title)}", in_markdown(section.lead)]
        for item in section.items:
            parts += _figure(item) if isinstance(item, Figure) else _table(item)
        parts.append("\n".join(f"- {in_markdown(note)}" for note in section.notes))
    parts.append(
        f"{in_markdown(report.kicker)}. Written by adadecode, {in_markdown(report.created)}."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _figure(figure: Figure) -> list[str]:
    says = next(iter(figure.drawings.values())).says if figure.drawings else ""
    return [f"**{in_markdown(figure.title)}.** {in_markdown(says)}".strip()] if says else []


def _table(table: Table) -> list[str]:
    rows = [[in_markdown(cell) for cell in row] for row in table.cells()]
    shown = rows[:MOST_ROWS] if table.folded else rows
    headings = [in_markdown(heading) for heading, _ in table.headings]
    rule = ["---:" if number else "---" for _, number in table.headings]
    lines = [f"| {' | '.join(row)} |" for row in (headings, rule, *shown)]
    more = [f"{len(rows) - len(shown)} more rows are in the CSV."] if len(rows) > len(shown) else []
    caption = [in_markdown(table.caption)] if table.caption else []
    return [f"### {in_markdown(table.title)}", "\n".join(lines), *more, *caption]


def csv_files(report: Report) -> Mapping[str, str]:
    """Every table with plain numbers (seconds, bytes, shares), by file name. No cell of it is taken for a formula."""
    frames: dict[str, pd.DataFrame] = {
        table.name.removesuffix("-table"): table.frame for table in report.tables
    }
    return {
        f"{name}.csv": safe_csv(frame).to_csv(index=False)
        for name, frame in {**frames, **report.frames}.items()
    }
