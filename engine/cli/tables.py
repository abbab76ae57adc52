"""A flip report for a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table


def tables(report: dict[str, Any]) -> list[Table]:
    """What `flip_report` found: a table of the designs, and one of the margins at which tokens flip, a column for each row of the first."""
    title = (
        f"{report['model']}, {report['dtype']}, {report['numerics']}: {report['prompts']} prompts"
    )
    designs = Table(
        title=f"flips: {title}",
        caption=f"from: the first token that differs; widest gap in nats; beyond {report['tolerance_nats']:g}",
        box=box.SIMPLE,
    )
    for heading in ("", "design", "same texts", "from", "flips", "widest", "beyond"):
        designs.add_column(
            heading, justify="left" if heading == "design" else "right", no_wrap=True
        )
    rows = report["designs"] + [
        {"design": f"{row['rows']} rows a pass", **row} for row in report["batches"]
    ]
    margins = Table(
        title="flips, by the nats that the model's token leads by",
        caption="columns: the rows above; tokens: of row 1",
        box=box.SIMPLE,
    )
    margins.add_column("nats", no_wrap=True)
    margins.add_column("tokens", justify="right")
    for number, row in enumerate(rows, 1):
        first, gaps = row.get("first_divergence"), row["gaps"]
        designs.add_row(
            str(number),
            row["design"],
            f"{row['equal_texts']} of {row['texts']}" if "texts" in row else "",
            "" if first is None else str(first["output"]),
            str(row["flips"]),
            "" if gaps is None else f"{gaps['max']:.3g}",
            str(row["beyond"]),
            style="bold red" if row["beyond"] else None,
        )
        margins.add_column(str(number), justify="right", no_wrap=True)
    for at, part in enumerate(rows[0]["by_margin"]):
        flips = [row["by_margin"][at]["flips"] for row in rows]
        name = f"{part['from']:g} .." + ("" if part["to"] is None else f" {part['to']:g}")
        margins.add_row(name, str(part["tokens"]), *(str(n) if n else "-" for n in flips))
    margins.add_section()
    margins.add_row("all", str(rows[0]["tokens"]), *(str(row["flips"]) for row in rows))
    return [designs, margins]
