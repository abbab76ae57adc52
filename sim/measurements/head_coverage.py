"""What a form of the heads loses, as it was measured on the texts that were recorded, or trained on (`adadecode.engine.evaluation.head_coverage`), for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import form_of


def coverage_of(profile: Profile) -> Mapping[str, Any] | None:
    """As the manifest holds it; None where heads were full ones, or decided nothing, or there was nothing to measure it on."""
    found: Mapping[str, Any] | None = profile.manifest["heads"].get("coverage")
    return found


def coverage_words(found: Mapping[str, Any], form: HeadForm) -> str:
    """On how many outputs it was measured, and how many of them a shortlist leaves out."""
    outside = (
        "" if form.shortlist is None else f", {found['outside']:.1%} of them outside the shortlist"
    )
    return f"{found['outputs']:,} outputs{outside}"


def coverage_table(found: Mapping[str, Any], form: HeadForm) -> Table:
    """A coverage, one row a head."""
    table = Table(title=f"heads {form.label} on {coverage_words(found, form)}")
    for column in ("depth", "agreement, full", f"agreement, {form.label}", "same token"):
        table.add_column(column, justify="right")
    for depth, *shares in zip(
        *(found[name] for name in ("depths", "full", "formed", "same")), strict=True
    ):
        table.add_row(str(depth), *(f"{share:.1%}" for share in shares))
    return table


def coverage_tables(profile: Profile) -> list[Table]:
    """What the recorded heads' form loses; nothing where nobody measured it."""
    found = coverage_of(profile)
    return [] if found is None else [coverage_table(found, form_of(profile))]
