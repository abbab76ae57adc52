"""The sections on where the numbers come from, and on what must not be read into them."""

from __future__ import annotations

import pandas as pd

from adadecode.sim.core.number_format import percent
from adadecode.sim.measurements.head_coverage import coverage_of, coverage_words
from adadecode.sim.measurements.telemetry import conditions_of
from adadecode.sim.report import formatting, manifest_text
from adadecode.sim.report.document import Section, Table, fact_table
from adadecode.sim.report.formatting import sentence
from adadecode.sim.report.profile.profile_data import ProfileData


def provenance_section(data: ProfileData) -> Section:
    """Return the section on what was recorded, and with what."""
    return Section(
        name="provenance",
        title="Provenance",
        lead="What was recorded, with what, and the digest that seals it.",
        items=(
            fact_table("provenance-table", "The profile", manifest_text.provenance(data.profile)),
            *_coverage_tables(data),
        ),
        notes=tuple(sentence(line) for line in conditions_of(data.profile)),
    )


def _coverage_tables(data: ProfileData) -> list[Table]:
    """Return how often each head agrees with the last layer, as a full one and in its form.

    Empty if it was not measured.
    """
    coverage = coverage_of(data.profile)
    if coverage is None:
        return []
    form = data.provenance.timed_form
    names = {"depths": "depth", "full": "full", "formed": "formed", "same": "same"}
    frame = pd.DataFrame({column: coverage[name] for name, column in names.items()})
    return [
        Table(
            name="coverage",
            title=f"What heads {form.label} lose",
            frame=frame,
            columns={
                "depth": ("depth", "count"),
                "full": ("agreement, full", "percent"),
                "formed": (f"agreement, {form.label}", "percent"),
                "same": ("same token", "percent"),
            },
            caption=(
                f"{coverage_words(coverage, form)}. How often a head's token is the last layer's. "
                "No form changes the text: what it loses is drafts that hold."
            ),
        )
    ]


def limits_section(data: ProfileData) -> Section:
    """Return the section on the limits of what was recorded and predicted."""
    notes = manifest_text.limitations(data.profile)
    if data.predictor is not None:
        notes.append(
            "Predictions hold for this text, these heads and this machine, decoding one sequence "
            "at a time as it was recorded. Text that is easier or harder moves them: compare the "
            "domains."
        )
        errors = data.predictor.branch_errors
        if len(errors.cells):
            median = percent(errors.to_dict()["seconds_error"]["median"])
            notes.append(
                "What heads output after a wrong draft is recorded only where it was likely. "
                "Elsewhere it is modelled, and every prediction states for what share of its "
                "time. With recorded branches withheld, the time of a run moved by "
                f"{median} in the median "
                f"over {formatting.plural(len(errors.cells), 'run')}."
            )
        else:
            notes.append(
                "What heads output after a wrong draft is modelled where it was not recorded. How "
                "far that errs could not be measured on this profile."
            )
    return Section(name="limits", title="Limits", notes=tuple(notes))
