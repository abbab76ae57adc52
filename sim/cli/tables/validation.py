"""A validation for people: the tiers, the designs, and the error of drawn branches."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from adadecode.sim.cli.tables.layout import table, titled
from adadecode.sim.core.number_format import percent, times
from adadecode.sim.prediction.branch_error import BranchErrors
from adadecode.sim.validation.result import Validation


def validation_tables(validation: Validation) -> Iterator[Group]:
    """Yield the tiers, the designs and, of a sampled profile, how often drafts held."""
    yield _tiers(validation)
    yield _designs(validation)
    if validation.acceptances:
        yield _acceptances(validation)


def _tiers(validation: Validation) -> Group:
    """Return the errors of each tier, with the noise floor."""
    found = validation.to_dict()
    structure, repeats = found["structure"], found["repeats"]
    body = table("tier", "median", "90th percentile", "noise floor", "90th percentile")
    body.add_row("T0 structure", f"{structure['exact']} of {structure['runs']} exact", "", "", "")
    for label, errors, noise in (
        ("T1 replayed time", found["replay_error"], None),
        ("T2 predicted time", found["prediction_error"], repeats["time_difference"]),
        ("T2 predicted speedup", found["speedup_error"], repeats["speedup_difference"]),
    ):
        body.add_row(
            label,
            *(percent(errors[which], 2) for which in ("median", "p90")),
            *("" if noise is None else percent(noise[which], 2) for which in ("median", "p90")),
        )
    captions = ["noise floor: by how much even and odd repeats of the same runs differ"]
    if structure["exact"] < structure["runs"]:
        captions.append(f"T0: {structure['explained']} of the others explained by a near-tie")
    if repeats["time_difference"]["median"] is None:
        captions.append("-: even against odd repeats needs 2 repeats or more")
    return titled("simulated against measured", body, captions)


def _designs(validation: Validation) -> Group:
    body = table(
        "design", "exact", "T1", "T2 time", "T2 speedup", "measured", "predicted", names=True
    )
    body.padding = (0, 0)
    for row in validation.by_design().to_dict("records"):
        body.add_row(
            str(row["design"]),
            f"{row['exact']}/{row['runs']}",
            *(
                percent(row[name], 2)
                for name in ("replay_error", "prediction_error", "speedup_error")
            ),
            *(times(row[name]) for name in ("speedup", "predicted_speedup")),
        )
    captions = [
        "measured, predicted: speedup over vanilla, of all prompts together",
        "measured: the median over repeats, each against vanilla in turn",
    ]
    if validation.left_out:
        captions.append(
            f"{validation.left_out} unverified runs left out: their text is not the trace's"
        )
    return titled("by design: median errors, speedups", body, captions)


def _acceptances(validation: Validation) -> Group:
    body = table("design", "drafts", "held", "+-", "held*", "tokens", "tokens*", names=True)
    body.padding = (0, 0)
    for one in validation.acceptances:
        body.add_row(
            one.design,
            f"{one.drafts}",
            *(f"{share:.0%}" for share in (one.measured, one.error, one.predicted)),
            f"{one.measured_tokens:.2f}",
            f"{one.predicted_tokens:.2f}",
        )
    return titled(
        "drafts that hold, and tokens of a round",
        body,
        ["*: predicted, without what was drawn; the others measured, +- with their standard error"],
    )


def branch_table(errors: BranchErrors) -> Group | Text:
    """Return the error of drawn branches, or why it was not measured."""
    if not len(errors.cells):
        return Text(
            "error of drawn branches: not measured, as no rejection in a measured run rests on "
            "recorded branches, or only one prompt has any"
        )
    body = table("policy", "cells", "time modelled", "median", "90th percentile", "error / share")
    for policy, found in errors.to_dict()["policies"].items():
        error = found["seconds_error"]
        body.add_row(
            policy,
            f"{found['cells']}",
            *(percent(one, 2) for one in (found["share"], error["median"], error["p90"])),
            f"{found['error_per_share']:.3f}",
        )
    return titled("recorded branches withheld: drawn against recorded, error of the time", body)
