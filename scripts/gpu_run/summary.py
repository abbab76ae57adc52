"""Print the figures of a GPU run as tables, from what its stages found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.gpu_run.stages import STAGES
from scripts.gpu_run.state import GpuRun, read_result

PAPER_RATES_NOTE = (
    "the paper's, figure 5 at gamma 0.6 and 0.8: early predicted 93 and 76 %, rejected 24 and 9 %"
)
LEFT_JUSTIFIED = {"stage", "state", "graphs", "text", "design", "name", "error"}
"""Headings of columns that hold words."""


def print_summary(run: GpuRun) -> None:
    """Print every stage, the tests, vanilla by mode, and every recording that was validated."""
    console = Console()
    console.print(_stage_table(run))
    if tests := read_result(run.work, "tests").get("result"):
        console.print(_describe_tests(tests), highlight=False)
    if graphs := read_result(run.work, "graphs").get("result"):
        console.print(_mode_table(graphs))
    recordings = read_result(run.work, "validate").get("result") or {}
    for name, recording in recordings.items():
        if "error" in recording:
            console.print(f"{name}: {recording['error']}", highlight=False)
            continue
        console.print(_design_table(name, recording))
        if recording["baselines"]:
            console.print(_baseline_table(name, recording["baselines"]))


def _describe_tests(tests: Mapping[str, Any]) -> str:
    if "passed" not in tests:
        return f"tests that need a GPU: not run to their end, {tests.get('why', 'too slow')}"
    counts = (f"{tests[key]} {key}" for key in ("passed", "failed", "errors", "skipped"))
    return f"tests that need a GPU: {', '.join(counts)}"


def _stage_table(run: GpuRun) -> Table:
    table = _table("stages", "stage", "state", "seconds", "estimated", "most memory, GiB")
    for name, stage in STAGES.items():
        known = read_result(run.work, name)
        if known:
            reserved = (known.get("memory") or {}).get("reserved_bytes")
            table.add_row(
                name,
                known.get("state"),
                f"{known.get('seconds', math.nan):.0f}",
                f"{stage.seconds:.0f}",
                f"{reserved / 2**30:.1f}" if reserved else "",
            )
    return table


def _mode_table(graphs: Mapping[str, Any]) -> Table:
    """Return the table of the stage ``graphs``: vanilla by mode."""
    table = _table(
        f"vanilla of {graphs['shape']}, {graphs['tokens']} tokens after {graphs['context']}; "
        f"fastest: {graphs['best']}",
        "graphs",
        "tokens/s",
        "of the ceiling",
        "ready, s",
        "in graphs, MiB",
        "fell back",
        "with events / without",
    )
    for mode, measured in graphs["modes"].items():
        table.add_row(
            mode,
            f"{measured['tokens_per_s']:.1f}",
            _percent(measured.get("share_of_ceiling")),
            f"{measured['ready_s']:.0f}",
            f"{measured['graphs_bytes'] / 2**20:.0f}",
            str(len(measured["fallbacks"])),
            _event_ratio(measured.get("events")),
        )
    return table


def _event_ratio(events: Mapping[str, Any] | None) -> str:
    """Return how much longer the stack takes with events in its graph: median and quartiles."""
    if events is None:
        return "-"
    low, high = events["quartiles"]
    return f"{events['ratio']:.3f} ({low:.3f} to {high:.3f})"


def _design_table(name: str, recording: Mapping[str, Any]) -> Table:
    """Return the speedups and rates of a recording, by text and design."""
    table = _table(
        _recording_title(name, recording),
        "text",
        "design",
        "speedup",
        "predicted",
        "early",
        "rejected",
    )
    for domain, rows in recording["domains"].items():
        for row in rows:
            table.add_row(
                domain,
                row["design"],
                f"{row.get('speedup') or row['measured_speedup']:.2f}",
                f"{row['predicted_speedup']:.2f}",
                _percent(row["early_rate"]),
                _percent(row["reject_rate"]),
            )
    return table


def _recording_title(name: str, recording: Mapping[str, Any]) -> str:
    """Return what was recorded, how fast vanilla is, and the errors of the tiers."""
    exact, runs = recording["structure"]["exact"], recording["structure"]["runs"]
    form = recording["heads"].get("form") or {}
    form_words = [f"{key} {form[key]}" for key in ("shortlist", "dtype") if form.get(key)]
    vanilla = recording["speeds"][0]["tokens_per_s"]
    share = recording.get("share_of_ceiling")
    ceiling = "" if share is None else f", {share:.1%} of the ceiling"
    scripted = recording["scripted"]
    script = (
        f"; scripted: decisions of {scripted['profile']}; {PAPER_RATES_NOTE}" if scripted else ""
    )
    errors = {
        tier: _percent(recording[key]["median"])
        for tier, key in (
            ("T1", "replay_error"),
            ("T2 time", "prediction_error"),
            ("speedup", "speedup_error"),
        )
    }
    return (
        f"{name}: {recording['model']}, {recording['dtype']}, {recording['graphs']}, "
        f"heads {' '.join(form_words) or 'full'}; vanilla {vanilla:.1f} tokens/s{ceiling}; "
        f"T0 {exact} of {runs}, {', '.join(f'{tier} {error}' for tier, error in errors.items())}"
        f"{script}"
    )


def _baseline_table(name: str, rows: list[dict[str, Any]]) -> Table:
    table = _table(
        f"{name}: in turn with the designs",
        "name",
        "ms/token",
        "/ vanilla",
        "/ generate",
        "error",
    )
    for row in rows:
        table.add_row(
            row["name"],
            _number(row["tpot_s"], 1e3),
            _number(row["over_vanilla"]),
            _number(row["over_generate"]),
            row["error"],
        )
    return table


def _number(value: float | None, factor: float = 1.0) -> str:
    return "" if value is None else f"{value * factor:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in LEFT_JUSTIFIED else "right")
    return table
