"""Describe what a form of the heads loses.

It was measured on the texts that were recorded, or trained on
(`adadecode.engine.evaluation.head_coverage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm


def coverage_of(profile: Profile) -> Mapping[str, Any] | None:
    """Return the coverage in a profile's manifest.

    None where heads were full ones or decided nothing, or there was nothing to measure it on.
    """
    found: Mapping[str, Any] | None = profile.manifest["heads"].get("coverage")
    return found


def coverage_words(found: Mapping[str, Any], form: HeadForm) -> str:
    """Return on how many outputs it was measured, and how many a shortlist leaves out, in words."""
    outside = (
        "" if form.shortlist is None else f", {found['outside']:.1%} of them outside the shortlist"
    )
    return f"{found['outputs']:,} outputs{outside}"
