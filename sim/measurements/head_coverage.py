"""What a form of the heads loses, as it was measured on the texts that were recorded, or trained on (`adadecode.engine.evaluation.head_coverage`), for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm


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
