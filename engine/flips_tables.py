"""A flip report for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def tables(report: dict[str, Any]) -> list[Table]:
    """What `flip_report` found: a table of the designs, and one of the margins at which tokens flip."""
    title = f"{report['model']}, {report['dtype']}, {report['numerics']}: {report['prompts']} prompts"
    designs = Table(title=f"flips: {title}", caption=f"beyond: flips with a gap above {report['tolerance_nats']:g} nats")
    for heading in ("design", "equal texts", "first differs at", "tokens", "flips", "median gap", "largest gap", "beyond"):
        designs.add_column(heading, justify="left" if heading == "design" else "right", no_wrap=heading == "design")
    margins = Table(title="flips / tokens, by how many nats the model's token leads its second")
    margins.add_column("design", no_wrap=True)
    rows = report["designs"] + [{"design": f"{row['rows']} rows a pass", **row} for row in report["batches"]]
    for part in rows[0]["by_margin"]:
        margins.add_column(f"{part['from']:g} .." + ("" if part["to"] is None else f" {part['to']:g}"), justify="right")
    for row in rows:
        first, gaps = row.get("first_divergence"), row["gaps"]
        designs.add_row(
            row["design"],
            f"{row['equal_texts']} of {row['texts']}" if "texts" in row else "",
            "" if first is None else f"token {first['output']}",
            str(row["tokens"]),
            str(row["flips"]),
            *(("", "") if gaps is None else (f"{gaps['median']:.3g}", f"{gaps['max']:.3g}")),
            str(row["beyond"]),
            style="bold red" if row["beyond"] else None,
        )
        margins.add_row(row["design"], *(f"{part['flips']} / {part['tokens']}" for part in row["by_margin"]))
    return [designs, margins]
