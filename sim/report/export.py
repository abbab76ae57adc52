"""A report without a browser: Markdown for reading, CSV for computing."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from adadecode.sim.report.document import Fact, Figure, Report, Table
from adadecode.sim.report.formatting import in_markdown, safe_csv, sentence

MOST_ROWS = 60
"""Rows of a folded table that Markdown still shows; the whole table is in the CSV."""


def markdown(report: Report) -> str:
    """Return the text and the tables of a report as Markdown.

    Of a figure it holds the sentence that describes its first choice. Foreign text is escaped, so
    that no line of it becomes markup.
    """
    parts = [f"# {in_markdown(report.headline)}", in_markdown(report.lead)]
    if report.verdict is not None:
        parts.append(f"**{in_markdown(report.verdict.answer)}**")
        parts.append("\n".join(f"- {in_markdown(reason)}" for reason in report.verdict.reasons))
    parts.append("\n".join(map(_fact_line, report.facts)))
    for section in report.sections:
        parts += [f"## {in_markdown(section.title)}", in_markdown(section.lead)]
        for item in section.items:
            parts += _figure_lines(item) if isinstance(item, Figure) else _table_lines(item)
        parts.append("\n".join(f"- {in_markdown(note)}" for note in section.notes))
    parts.append(
        f"{in_markdown(report.kicker)}. Written by adadecode, {in_markdown(report.created)}."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _fact_line(fact: Fact) -> str:
    label, value, note = map(in_markdown, (fact.label, fact.value, fact.note))
    return f"- {label}: **{value}** {note}".rstrip()


def _figure_lines(figure: Figure) -> list[str]:
    summary = next(iter(figure.drawings.values())).summary if figure.drawings else ""
    if not summary:
        return []
    return [f"**{in_markdown(sentence(figure.title))}** {in_markdown(summary)}"]


def _table_lines(table: Table) -> list[str]:
    rows = [[in_markdown(cell) for cell in row] for row in table.cells()]
    shown = rows[:MOST_ROWS] if table.folded else rows
    headings = [in_markdown(heading) for heading, _ in table.headings]
    rule = ["---:" if number else "---" for _, number in table.headings]
    lines = [f"| {' | '.join(row)} |" for row in (headings, rule, *shown)]
    more = [f"{len(rows) - len(shown)} more rows are in the CSV."] if len(rows) > len(shown) else []
    caption = [in_markdown(table.caption)] if table.caption else []
    return [f"### {in_markdown(table.title)}", "\n".join(lines), *more, *caption]


def csv_files(report: Report) -> Mapping[str, str]:
    """Return every table with plain numbers (seconds, bytes, shares), by file name.

    No spreadsheet takes a cell of it for a formula.
    """
    frames: dict[str, pd.DataFrame] = {
        table.name.removesuffix("-table"): table.frame for table in report.tables
    }
    return {
        f"{name}.csv": safe_csv(frame).to_csv(index=False)
        for name, frame in {**frames, **report.frames}.items()
    }
