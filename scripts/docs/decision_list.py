"""The table of decision records, from the titles of their files."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"


def decision_list() -> str:
    """Return a Markdown table with the number and title of every decision record."""
    rows = []
    for path in sorted(FOLDER.glob("0*.md")):
        number, title = path.read_text(encoding="utf-8").splitlines()[0][2:].split(" ", 1)
        rows.append(f"| [{number}]({path.name}) | {title} |")
    return "\n".join(["| record | decision |", "| --- | --- |", *rows])
