"""A griffe extension that turns the little reStructuredText of docstrings into Markdown.

Docstrings are read in a terminal as often as on the site, so they mark blocks of code by ``::`` and
draw simple tables. Markdown knows neither.
"""

from __future__ import annotations

import re

import griffe

COLONS = re.compile(r"(?P<before>\S?)::$", re.MULTILINE)
TABLE = re.compile(
    r"^(?P<indent> *)(?P<rule>=+(?: +=+)+)\n(?P<rows>(?:.*\n)+?)(?P=indent)(?P=rule)$"
    r"(?=\s*\n\s*\n|\s*\Z)",  # the rule below the heads is followed by a row
    re.MULTILINE,
)
HEAD = re.compile(r"^ *=+(?: +=+)+\n", re.MULTILINE)


class PlainMarkdown(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of one object (called by griffe)."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(docstring: str) -> str:
    """Return a docstring with its ``::`` and its simple tables made to fit Markdown."""
    docstring = TABLE.sub(pipe_table, docstring)
    return COLONS.sub(lambda match: f"{match['before']}:" if match["before"] else "", docstring)


def pipe_table(table: re.Match[str]) -> str:
    """Return a simple table of reStructuredText as a Markdown table."""
    starts = [match.start() for match in re.finditer(r"=+", table["rule"])]
    rows: list[list[str]] = []
    for line in HEAD.sub("", table["rows"]).splitlines():
        text = line[len(table["indent"]) :]
        ends = [*starts[1:], None]
        cells = [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if rows and not cells[0]:  # the row goes on
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
        elif any(cells):
            rows.append(cells)
    rule = ["---"] * len(starts)
    lines = [f"{table['indent']}| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:])]
    return "\n".join(["", *lines, ""])
