"""``adadecode-sim validate``: compare the simulator with a profile's own measured runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.inspection import FailOver
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.scenario import ProfileDirectory
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.say import say
from adadecode.sim.core.shown_text import shown
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.measurements.head_coverage import coverage_of
from adadecode.sim.measurements.outliers import outliers
from adadecode.sim.measurements.telemetry import conditions_of
from adadecode.sim.prediction.branch_error import BranchErrors
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.validation.evidence import missing_promises
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate as validate_profile

if TYPE_CHECKING:
    from adadecode.sim.serving.load_validation.held import HeldLoad

FAILED = 1
"""The exit code where ``--fail-over`` fails."""


@takes_option_sets
def validate(path: ProfileDirectory, *, fail_over: FailOver = None, as_json: Json = False) -> None:
    """Compare the simulator with the runs that a profile measured.

    Says first whether to trust the recording. Then, in three tiers: whether the simulated rounds
    are the measured ones (T0), and how far off run times are from measured durations (T1) and from
    the latency table (T2). Where adadecode-load has added loads that a batched engine served, the
    same of these: the batches of every step, and the times of requests.
    """
    profile = read_profile(path)
    validation = validate_profile(profile)
    errors = Predictor.of(profile).branch_errors
    loads = _held_loads(profile)
    document = _document(profile, validation, errors, loads)
    if as_json:
        print_json(document)
    else:
        _print(profile, validation, errors, document)
        _print_loads(loads)
    if fail_over is None:
        return
    failures = [*_failures(document, fail_over), *_failing_loads(loads, fail_over)]
    if failures := [*failures, *missing_promises(profile)]:
        for failure in failures:
            say(f"failed: {failure}", stderr=True)
        raise typer.Exit(FAILED)


def _document(
    profile: Profile, validation: Validation, errors: BranchErrors, loads: Sequence[HeldLoad]
) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        **validation.to_dict(),
        "branch_model": errors.to_dict(),
        "outliers": outliers(profile.latency),
        "conditions": conditions_of(profile),
        "scripted": profile.manifest.get("scripted"),
        "sampling": profile.manifest.get("sampling"),
        "heads": {
            "form": Provenance.of(profile).timed_form.to_dict(),
            "coverage": coverage_of(profile),
        },
        "trust": asdict(validation.trust),
        **({"loads": [one.to_json() for one in loads]} if loads else {}),
    }


def _print(
    profile: Profile, validation: Validation, errors: BranchErrors, document: Mapping[str, Any]
) -> None:
    from adadecode.sim.cli.tables.heads import coverage_tables
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.outliers import outlier_table
    from adadecode.sim.cli.tables.validation import branch_table, validation_tables

    provenance = Provenance.of(profile)
    for line in filter(None, (provenance.script, provenance.sampling)):
        console().print(shown(line))
    for line in validation.trust.describe():
        console().print(shown(line))
    for part in (
        *validation_tables(validation),
        branch_table(errors),
        outlier_table(document["outliers"]),
        *coverage_tables(profile),
        *map(shown, document["conditions"]),
    ):
        console().print(part)


def _held_loads(profile: Profile) -> Sequence[HeldLoad]:
    """Return the loads of a profile beside their simulation."""
    if "load" not in profile.manifest:
        return ()
    from adadecode.sim.serving.load_validation.held import hold_loads

    return hold_loads(profile)


def _print_loads(loads: Sequence[HeldLoad]) -> None:
    if loads:
        from adadecode.sim.cli.tables.layout import console
        from adadecode.sim.cli.tables.loads import held_tables

        console().print(*held_tables(loads))


def _failing_loads(loads: Sequence[HeldLoad], limit: float) -> Iterator[str]:
    """Yield a sentence for each tier that a load fails.

    Args:
        loads: The loads beside their simulations.
        limit: Largest error that is accepted, a share.
    """
    for held in loads:
        of_load = f"of the load under {held.run.settings.design.label}"
        if wrong := [one.why for one in held.replays if one.why]:
            yield (
                f"T0 batches {of_load}, {len(wrong)} of {len(held.replays)} runs differ from their "
                f"replay: {wrong[0]}"
            )
        if held.time_error is not None and not held.time_error <= limit:
            yield (
                f"T1 times {of_load}, the largest error of {held.time_error:.2%} is "
                f"{_over(held.time_error, limit)}"
            )
        if not held.median_error <= limit:
            noise = held.median_noise
            floor = "" if noise is None else f"; its runs differ by {noise:.2%}"
            yield (
                f"T2 predicted times {of_load}, the median error of {held.median_error:.2%} is "
                f"{_over(held.median_error, limit)}{floor}"
            )


def _failures(document: Mapping[str, Any], limit: float) -> Iterator[str]:
    """Yield which tier failed and by how much, and what evidence is missing, a sentence each.

    Args:
        document: What ``--json`` prints.
        limit: Largest median error of the predicted time that is accepted, a share.
    """
    if failing := document["failing"]:
        runs = document["structure"]["runs"]
        yield (
            f"T0 structure, {len(failing)} of {runs} runs differ from their replay, and no "
            f"near-tie explains it; the first is {failing[0]['design']} on prompt "
            f"{failing[0]['prompt']}"
        )
    if not document["structure"]["runs"]:
        yield "T0 structure, as the rounds of no run were recorded to compare with their replay"
    yield from document["missing"]
    error = document["prediction_error"]["median"]
    noise = document["repeats"]["time_difference"]["median"]
    if error is None:
        yield "T2 predicted time, as no run was timed to compare it with"
    elif not error <= limit:
        floor = "" if noise is None else f"; even and odd repeats differ by {noise:.2%}"
        yield (
            f"T2 predicted time, the median error of {error:.2%} is {_over(error, limit)}{floor}"
        )


def _over(error: float, limit: float) -> str:
    """Say by how much an error is over a limit."""
    return f"{100 * (error - limit):.2f} percentage points over {limit:.2%}"
