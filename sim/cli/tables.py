"""Tables and lines that several commands of ``adadecode-sim`` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import form_of
from adadecode.sim.measurements.head_coverage import coverage_of, coverage_words
from adadecode.sim.measurements.outliers import FAR


def coverage_table(found: Mapping[str, Any], form: HeadForm) -> Table:
    """A coverage, one row a head."""
    table = Table(title=f"heads {form.label} on {coverage_words(found, form)}")
    for column in ("depth", "agreement, full", f"agreement, {form.label}", "same token"):
        table.add_column(column, justify="right")
    for depth, *shares in zip(
        *(found[name] for name in ("depths", "full", "formed", "same")), strict=True
    ):
        table.add_row(str(depth), *(f"{share:.1%}" for share in shares))
    return table


def coverage_tables(profile: Profile) -> list[Table]:
    """What the recorded heads' form loses; nothing where nobody measured it."""
    found = coverage_of(profile)
    return [] if found is None else [coverage_table(found, form_of(profile))]


def marked(title: str, *, hypothetical: bool) -> str:
    """A table's title, which says where what is in it is hypothetical."""
    return f"{title} (hypothetical)" if hypothetical else title


def listed(notes: Iterable[str]) -> Iterator[Padding]:
    """Notes below a table, for people."""
    for note in notes:
        yield Padding(Text(f"- {note}"), (0, 0, 0, 1))


def outlier_table(rows: list[dict[str, Any]]) -> Table:
    """The same for people."""
    table = Table(
        title=f"latency samples beyond {FAR:g} interquartile ranges of their quartiles",
        title_justify="left",
    )
    for name in ("work", "samples", "beyond", "share", "furthest above", "furthest below"):
        table.add_column(name, justify="left" if name == "work" else "right")
    for row in rows:
        share = f"{row['beyond'] / row['judged']:.2%}" if row["judged"] else "-"
        ratios = (
            "-" if row[name] is None else f"{row[name]:.2f} x median" for name in ("above", "below")
        )
        table.add_row(
            row["kind"],
            str(row["samples"]),
            str(row["beyond"]) if row["judged"] else "-",
            share,
            *ratios,
        )
    table.caption = "all are kept in the profile; latencies are means over the middle half of the visits, each kept or dropped whole"
    return table
