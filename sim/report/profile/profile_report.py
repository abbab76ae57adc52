"""The report on a profile alone: what the recording itself shows."""

from __future__ import annotations

from adadecode.profiles.store import Profile
from adadecode.sim.report import manifest_text
from adadecode.sim.report.document import Report
from adadecode.sim.report.profile.baseline_section import baseline_section
from adadecode.sim.report.profile.headline import facts, headline, verdict
from adadecode.sim.report.profile.heads_section import heads_section
from adadecode.sim.report.profile.latency_section import latency_section
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.provenance_section import limits_section, provenance_section
from adadecode.sim.report.profile.speed_section import speed_section
from adadecode.sim.report.profile.time_section import time_section
from adadecode.sim.report.profile.validation_section import validation_section

SECTIONS = (
    speed_section,
    baseline_section,
    time_section,
    heads_section,
    latency_section,
    validation_section,
)
"""What makes the sections, in their order; each returns None if the profile does not hold it."""


def profile_report(profile: Profile, *, created: str) -> Report:
    """Return the report on a profile.

    Args:
        profile: The recording.
        created: When the report is made, in words.

    Raises:
        ProfileError: If the profile's runs contradict its text.
    """
    data = ProfileData(profile=profile)
    answer, lead = headline(data)
    made = [make(data) for make in SECTIONS]
    script = data.provenance.script
    return Report(
        title=f"{profile.name}: what early exits give",
        kicker=f"Profile of {manifest_text.model(profile.manifest)}"
        + (f"; {script}" if script else ""),
        headline=answer,
        lead=lead,
        verdict=verdict(data),
        facts=tuple(facts(data)),
        sections=(
            *(section for section in made if section is not None),
            provenance_section(data),
            limits_section(data),
        ),
        created=created,
    )
