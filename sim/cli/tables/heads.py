"""What a format of the heads loses, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group

from adadecode.profiles.store import Profile
from adadecode.sim.cli.tables.layout import table, titled
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.core.number_format import percent
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.measurements.head_coverage import coverage_of, coverage_words


def coverage_table(found: Mapping[str, Any], form: HeadForm) -> Group:
    """Return a row for each head.

    Args:
        found: The agreement of the heads in full and in this format, and how often both say the
            same, by depth, as `adadecode.engine.evaluation.head_coverage` measures it.
        form: The format.
    """
    body = table("depth", "agreement, full", f"agreement, {form.label}", "same token")
    body.columns[0].justify = "right"
    columns = (found[name] for name in ("depths", "full", "formed", "same"))
    for depth, *shares in zip(*columns, strict=True):
        body.add_row(f"{depth}", *(percent(share, 1) for share in shares))
    return titled(f"heads {form.label} on {coverage_words(found, form)}", body)


def coverage_tables(profile: Profile) -> list[Group]:
    """Return what the format of the recorded heads loses; nothing where nobody measured it."""
    found = coverage_of(profile)
    return [] if found is None else [coverage_table(found, Provenance.of(profile).timed_form)]
