"""Results of the engine's commands, for a terminal of any width."""

from __future__ import annotations

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from adadecode.engine.profiling.summary import summarize
from adadecode.engine.training.gates import ASKED
from adadecode.profiles.store import Profile
from adadecode.sim.cli.tables import layout
from adadecode.sim.cli.tables.heads import coverage_table, coverage_tables
from adadecode.sim.core.number_format import percent, times
from adadecode.sim.core.shown_text import shown
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.measurements.baselines import same_text, standings
from adadecode.sim.measurements.telemetry import conditions_of
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.trust import assess


def flip_tables(report: dict[str, Any]) -> list[Table]:
    """Return the tables of a flip report.

    Args:
        report: As `adadecode.engine.evaluation.token_flips.flip_report` returns it.

    Returns:
        A table of the designs, and one of the margins at which tokens flip, which has a column for
        each row of the first.
    """
    title = shown(
        f"{report['model']}, {report['dtype']}, {report['numerics']}: {report['prompts']} prompts"
    )
    columns = ("", "design", "same texts", "from", "flips", "widest", "beyond")
    designs = layout.table(*columns, texts=("design",))
    designs.title, designs.box = f"flips: {title}", box.SIMPLE
    designs.caption = (
        "from: the first token that differs; widest gap in nats; "
        f"beyond {report['tolerance_nats']:g}"
    )
    rows = report["designs"] + [
        {"design": f"{row['rows']} rows a pass", **row} for row in report["batches"]
    ]
    numbers = (str(number) for number in range(1, len(rows) + 1))
    margins = layout.table("nats", "tokens", *numbers, names=True)
    margins.title, margins.box = "flips, by the nats that the model's token leads by", box.SIMPLE
    margins.caption = "columns: the rows above; tokens: of row 1"
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
    for at, part in enumerate(rows[0]["by_margin"]):
        flips = [row["by_margin"][at]["flips"] for row in rows]
        name = f"{part['from']:g} .." + ("" if part["to"] is None else f" {part['to']:g}")
        margins.add_row(name, str(part["tokens"]), *(str(n) if n else "-" for n in flips))
    margins.add_section()
    margins.add_row("all", str(rows[0]["tokens"]), *(str(row["flips"]) for row in rows))
    return [designs, margins]


def summary_table(profile: Profile) -> Table:
    """Return a table of what a recording measured, a row for each design."""
    script = Provenance.of(profile).script
    subtitle = "" if script is None else f"\n{shown(script)}"
    name, count = profile.manifest["model"]["name"], profile.manifest["prompts"]["count"]
    title = ", ".join([f"measured: {name}", f"{count} prompts", *_peculiarities(profile)])
    table = layout.table("design", "ms/tok", "tok/s", "speedup", "tok/round", "rejected")
    table.title = shown(title) + subtitle
    for row in summarize(profile).to_dict("records"):
        table.add_row(
            row["design"],
            f"{row['tpot_s'] * 1e3:.2f}",
            f"{row['tokens_per_s']:.1f}",
            times(row["speedup"]),
            f"{row['tokens_per_round']:.2f}",
            percent(row["rejected"] if row["drafts"] else None, 1),
        )
    return table


def _peculiarities(profile: Profile) -> list[str]:
    """Return in what a recording differs from a plain one, in a few words each."""
    found = []
    if sampling := Provenance.of(profile).sampling:
        found.append(sampling)
    if (numerics := profile.manifest.get("numerics", "native")) != "native":
        found.append(f"{numerics} numerics")
    if (graphs := profile.manifest["graphs"]) != "eager":
        found.append(f"graphs {graphs}")
    if not (form := Provenance.of(profile).timed_form).is_full:
        found.append(f"heads {form.label}")
    return found


def print_recording(console: Console, profile: Profile, out: Path, *, seconds: float) -> None:
    """Print what a finished recording measured, whether to trust it, and what to do next.

    Args:
        console: Where to print.
        profile: The recording.
        out: Its directory, as the user named it.
        seconds: How long the recording took.
    """
    console.print(summary_table(profile), *coverage_tables(profile), *baseline_tables(profile))
    machine = (line for line in conditions_of(profile) if not line.startswith("warning:"))
    for sentence in (*trust_lines(profile), *machine):
        console.print(shown(sentence), highlight=False, soft_wrap=True)
    console.print(
        shown(f"{out} recorded in {seconds:.0f} s. Next: adadecode-sim validate {out}"),
        highlight=False,
        soft_wrap=True,
    )


def trust_lines(profile: Profile, validation: Validation | None = None) -> list[str]:
    """Return whether to trust a recording and why, with the noise floor next to the errors.

    Args:
        profile: The recording.
        validation: Its comparison with the simulator, where it is at hand.
    """
    return assess(profile, validation).describe()


def baseline_tables(profile: Profile) -> list[Table]:
    """Return a table that compares designs and baselines; none where none were recorded."""
    found = standings(profile, {"": tuple(profile.prompts["prompt"])})
    if found.empty:
        return []
    failed = [
        shown(f"{row['name']} did not run: {row['error']}")
        for row in found.to_dict("records")
        if row["error"]
    ]
    table = layout.table("", "ms/tok", "/ vanilla", "/ generate", "same text")
    table.title = "in turn with the designs: median (lowest .. highest) of the repeats"
    table.caption, table.caption_justify = "\n".join(failed) or None, "left"
    for row in found.sort_values("over_vanilla", ascending=False, kind="stable").to_dict("records"):
        if not math.isnan(row["tpot_s"]):
            ratios = (_spread(row, over) for over in ("vanilla", "generate"))
            table.add_row(
                row["name"],
                f"{row['tpot_s'] * 1e3:.2f}",
                *ratios,
                same_text(row) if row["checked"] else "-",
            )
    return [table]


def _spread(row: dict[Hashable, Any], over: str) -> str:
    middle, low, high = (row[f"over_{over}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(middle):
        return "-"
    return f"{middle:.2f} ({low:.2f}..{high:.2f})" if low < high else f"{middle:.2f}"


MEASURED = {"depth", "kl", "kl_identity", "agreement", "agreement_identity", "positions"}
"""The keys of a row that training measures."""


def metrics_table(heads: ExitHeads) -> Table:
    """Return a table of what training measured, a row for each depth of which all is known."""
    rows = [row for row in heads.metrics if row.keys() >= MEASURED]
    positions = rows[0]["positions"] if rows else 0
    columns = ("depth", "KL, T = I", "KL, trained", "agreement, T = I", "agreement, trained")
    table = layout.table(*columns)
    table.title = f"exit heads on {positions:,} positions of held-out prompts"
    table.columns[0].justify = "right"
    for row in rows:
        agreement = f"{row['agreement_identity']:.1%}", f"{row['agreement']:.1%}"
        table.add_row(
            str(row["depth"]), f"{row['kl_identity']:.4f}", f"{row['kl']:.4f}", *agreement
        )
    if worse := [str(row["depth"]) for row in rows if row["kl"] > row["kl_identity"]]:
        table.caption = (
            f"worse than T = I at depth {', '.join(worse)}: take more prompts, or fewer epochs"
        )
    return table


def gates_table(gates: Gates) -> Table:
    """Return a table of how well gates tell positions apart, a row for each depth."""
    table = layout.table("depth", "good", "AUC", *(f"found at {share:.0%}" for share in ASKED))
    table.title = f"gates before the heads: surer than {gates.confidence:g}, and right"
    table.caption = "found: the share of the good positions among those with the highest scores"
    table.columns[0].justify = "right"
    for row in gates.metrics:
        found = [row.get(f"found_{share * 100:.0f}") for share in ASKED]
        known = "-" if "auc" not in row else f"{row['auc']:.3f}"
        shares = ["-" if one is None else f"{one:.0%}" for one in found]
        table.add_row(str(row["depth"]), f"{row['good']:.1%}", known, *shares)
    return table


def print_heads(console: Console, heads: ExitHeads, out: Path) -> None:
    """Print what training measured, what the heads' form loses, and where the heads are.

    Args:
        console: Where to print.
        heads: The trained heads.
        out: Their folder, as the user named it.
    """
    console.print(metrics_table(heads))
    if heads.coverage is not None:
        console.print(coverage_table(heads.coverage, heads.form))
    if heads.gates is not None and heads.gates.metrics:
        console.print(gates_table(heads.gates))
    depths = ", ".join(map(str, heads.depths))
    console.print(shown(f"heads at depths {depths} in {out}"), highlight=False, soft_wrap=True)
