"""``adadecode-sim validate``: hold the simulator against a profile's own measured runs."""

from __future__ import annotations

import math
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options import (
    JsonOption,
    ProfileArgument,
    print_json,
)
from adadecode.sim.cli.tables import coverage_tables, outlier_table
from adadecode.sim.hardware.provenance import form_of, sampling_of, script_of
from adadecode.sim.measurements.head_coverage import coverage_of
from adadecode.sim.measurements.outliers import outliers
from adadecode.sim.measurements.telemetry import conditions_of
from adadecode.sim.prediction.branch_error import BranchErrors
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.validation.tiers import Validation, by_design, validate


def validate_command(
    path: ProfileArgument,
    *,
    as_json: JsonOption = False,
    fail_over: Annotated[
        float | None,
        typer.Option(
            "--fail-over",
            help="Exit with code 1 where a structure differs or the median prediction error exceeds this.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Hold the simulator against the profile's own measured runs."""
    profile = read_profile(path)
    comparison, errors = validate(profile), Predictor.of(profile).branch_errors
    summary = {
        **comparison.to_dict(),
        "branch_model": errors.to_dict(),
        "outliers": (strays := outliers(profile.latency)),
        "conditions": (conditions := conditions_of(profile)),
        "scripted": profile.manifest.get("scripted"),
        "sampling": profile.manifest.get("sampling"),
        "heads": {"form": form_of(profile).to_dict(), "coverage": coverage_of(profile)},
    }
    if as_json:
        print_json(summary)
    else:
        for said in filter(None, (script_of(profile), sampling_of(profile))):
            Console().print(said, highlight=False)
        for table in (
            *comparison_tables(comparison),
            branch_table(errors),
            outlier_table(strays),
            *coverage_tables(profile),
        ):
            Console().print(table, highlight=False)
        for line in conditions:
            Console().print(line, highlight=False, soft_wrap=True)
    if fail_over is not None:
        error = summary["prediction_error"]["median"]
        if not comparison.holds or error is None or not error <= fail_over:
            raise typer.Exit(1)


def comparison_tables(comparison: Validation) -> list[Table]:
    """A comparison for people: the tiers, then the designs."""
    summary = comparison.to_dict()
    structure = summary["structure"]
    tiers = Table(
        "tier",
        "median",
        "90th percentile",
        title="simulated against measured",
        title_justify="left",
    )
    tiers.caption_justify = "left"
    tiers.add_row("T0 structure", f"{structure['exact']} of {structure['runs']} exact", "")
    for name, key in (
        ("T1 replayed time", "replay_error"),
        ("T2 predicted time", "prediction_error"),
        ("T2 predicted speedup", "speedup_error"),
    ):
        tiers.add_row(name, *(_percent(summary[key][which]) for which in ("median", "p90")))
    for name, key in (
        ("even / odd repeats, time", "time_difference"),
        ("even / odd repeats, speedup", "speedup_difference"),
    ):
        tiers.add_row(
            name, *(_percent(summary["repeats"][key][which]) for which in ("median", "p90"))
        )
    said = (
        [f"T0: {structure['explained']} of the others explained by a near-tie"]
        if structure["exact"] < structure["runs"]
        else []
    )
    if summary["repeats"]["time_difference"]["median"] is None:
        said.append("-: even against odd repeats needs 2 repeats or more")
    tiers.caption = "\n".join(said) or None
    names = ("exact", "T1", "T2 time", "T2 speedup", "measured", "predicted")
    designs = Table(
        title="by design: median errors, speedups", title_justify="left", padding=(0, 0)
    )
    designs.add_column(
        "design",
        overflow="fold",
        min_width=len(max(comparison.cells["design"], key=len, default="")),
    )
    for name in names:
        designs.add_column(name, justify="right")
    for row in by_design(comparison.cells).to_dict("records"):
        errors = (
            _percent(row[name]) for name in ("replay_error", "prediction_error", "speedup_error")
        )
        speedups = (_times(row[name]) for name in ("measured_speedup", "predicted_speedup"))
        designs.add_row(str(row["design"]), f"{row['exact']}/{row['runs']}", *errors, *speedups)
    if comparison.left_out:
        designs.caption = (
            f"{comparison.left_out} unverified runs left out: their text is not the trace's"
        )
    return [tiers, designs, *([acceptance_table(comparison)] if comparison.acceptances else [])]


def acceptance_table(comparison: Validation) -> Table:
    """Of a sampled profile: how often drafts hold, for people."""
    table = Table(
        title="drafts that hold, and tokens of a round", title_justify="left", padding=(0, 0)
    )
    table.add_column("design", overflow="fold")
    for name in ("drafts", "held", "+-", "held*", "tokens", "tokens*"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in comparison.acceptances:
        shares = (f"{share:.0%}" for share in (one.measured, one.error, one.predicted))
        table.add_row(
            one.design,
            str(one.drafts),
            *shares,
            f"{one.measured_tokens:.2f}",
            f"{one.predicted_tokens:.2f}",
        )
    table.caption = (
        "*: predicted, without what was drawn; the others measured, +- with their standard error"
    )
    table.caption_justify = "left"
    return table


def branch_table(errors: BranchErrors) -> Table | str:
    """The error of the branch model for people; where it was not measured, why not."""
    if not len(errors.cells):
        return "error of drawn branches: not measured, as no rejection in a measured run rests on recorded branches, or only one prompt has any"
    table = Table(
        title="recorded branches withheld: drawn against recorded, error of the time",
        title_justify="left",
    )
    for name in ("policy", "cells", "time modelled", "median", "90th percentile", "error / share"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for policy, told in errors.to_dict()["policies"].items():
        error = told["seconds_error"]
        table.add_row(
            policy,
            str(told["cells"]),
            *map(_percent, (told["share"], error["median"], error["p90"])),
            f"{told['error_per_share']:.3f}",
        )
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None or math.isnan(share) else f"{share:.2%}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None or math.isnan(ratio) else f"{ratio:.2f} x"
