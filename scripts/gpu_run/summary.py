"""The figures of a visit, for a terminal and for the README: printed from what its stages told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.gpu_run.stages import STAGES
from scripts.gpu_run.state import GpuRun, result

PAPERS = (
    "the paper's, figure 5 at gamma 0.6 and 0.8: early predicted 93 and 76 %, rejected 24 and 9 %"
)


def show(visit: GpuRun) -> None:
    """Print what is known of every stage, the tests, the modes of vanilla, and every recording that was validated."""
    console = Console()
    console.print(_states(visit))
    if tested := result(visit.work, "tests").get("result"):
        console.print(_tested(tested), highlight=False)
    told = result(visit.work, "graphs").get("result")
    if told:
        console.print(_modes(told))
    recordings = result(visit.work, "validate").get("result") or {}
    for name, one in recordings.items():
        if "error" in one:
            console.print(f"{name}: {one['error']}", highlight=False)
            continue
        console.print(_designs(name, one))
        if one["baselines"]:
            console.print(_beside(name, one["baselines"]))


def _tested(told: Mapping[str, Any]) -> str:
    if "passed" not in told:
        return f"tests that need a GPU: not run to their end, {told.get('why', 'too slow')}"
    return "tests that need a GPU: " + ", ".join(
        f"{told[key]} {key}" for key in ("passed", "failed", "errors", "skipped")
    )


def _states(visit: GpuRun) -> Table:
    table = _table("stages", "stage", "state", "seconds", "estimated", "most memory, GiB")
    for name, stage in STAGES.items():
        known = result(visit.work, name)
        if known:
            held = (known.get("memory") or {}).get("reserved_bytes")
            table.add_row(
                name,
                known.get("state"),
                f"{known.get('seconds', math.nan):.0f}",
                f"{stage.seconds:.0f}",
                f"{held / 2**30:.1f}" if held else "",
            )
    return table


def _modes(told: Mapping[str, Any]) -> Table:
    title = f"vanilla of {told['shape']}, {told['tokens']} tokens after {told['context']}; fastest: {told['best']}"
    table = _table(
        title,
        "graphs",
        "tokens/s",
        "of the ceiling",
        "ready, s",
        "in graphs, MiB",
        "fell back",
        "with events / without",
    )
    for mode, one in told["modes"].items():
        graphs = f"{one['graphs_bytes'] / 2**20:.0f}"
        table.add_row(
            mode,
            f"{one['tokens_per_s']:.1f}",
            _share(one.get("share_of_ceiling")),
            f"{one['ready_s']:.0f}",
            graphs,
            str(len(one["fallbacks"])),
            _with_events(one.get("events")),
        )
    return table


def _with_events(told: Mapping[str, Any] | None) -> str:
    """The whole stack with events in its graph over the plain one: the median of laps in turn, and its quartiles."""
    if told is None:
        return "-"
    low, high = told["quartiles"]
    return f"{told['ratio']:.3f} ({low:.3f} to {high:.3f})"


def _designs(name: str, one: Mapping[str, Any]) -> Table:
    exact, runs = one["structure"]["exact"], one["structure"]["runs"]
    form = one["heads"].get("form") or {}
    heads = (
        " ".join(f"{key} {form[key]}" for key in ("shortlist", "dtype") if form.get(key)) or "full"
    )
    vanilla = one["speeds"][0]["tokens_per_s"]
    whose = (
        f"; scripted: decisions of {one['scripted']['profile']}; {PAPERS}"
        if one["scripted"]
        else ""
    )
    share = one.get("share_of_ceiling")
    ceiling = "" if share is None else f", {share:.1%} of the ceiling"
    title = (
        f"{name}: {one['model']}, {one['dtype']}, {one['graphs']}, heads {heads}; vanilla {vanilla:.1f} tokens/s{ceiling}; "
        f"T0 {exact} of {runs}, T1 {_share(one['replay_error']['median'])}, T2 time {_share(one['prediction_error']['median'])}, "
        f"speedup {_share(one['speedup_error']['median'])}{whose}"
    )
    table = _table(title, "text", "design", "speedup", "predicted", "early", "rejected")
    for domain, rows in one["domains"].items():
        for row in rows:
            cells = [f"{row[key]:.2f}" for key in ("measured_speedup", "predicted_speedup")]
            table.add_row(
                domain,
                row["design"],
                *cells,
                *(_share(row[key]) for key in ("early_rate", "reject_rate")),
            )
    return table


def _beside(name: str, rows: list[dict[str, Any]]) -> Table:
    table = _table(
        f"{name}: in turn with the designs", "", "ms/token", "/ vanilla", "/ generate", "error"
    )
    for row in rows:
        times = "" if row["tpot_s"] is None else f"{row['tpot_s'] * 1e3:.2f}"
        ratios = (
            "" if row[key] is None else f"{row[key]:.2f}"
            for key in ("over_vanilla", "over_generate")
        )
        table.add_row(row["name"], times, *ratios, row["error"])
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(
            heading,
            justify="left"
            if heading in {"stage", "state", "graphs", "text", "design", "", "error"}
            else "right",
        )
    return table
