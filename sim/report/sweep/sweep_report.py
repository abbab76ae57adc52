"""The report on a sweep: which heads, which gamma, which device, and how certain that is."""

from __future__ import annotations

from dataclasses import replace

from adadecode.profiles.store import Profile
from adadecode.sim.report import formatting
from adadecode.sim.report.document import Report, Section
from adadecode.sim.report.manifest_text import machine
from adadecode.sim.report.profile.headline import verdict
from adadecode.sim.report.profile.heads_section import heads_section
from adadecode.sim.report.profile.latency_section import latency_section
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.speed_section import speed_section
from adadecode.sim.report.profile.time_section import time_section
from adadecode.sim.report.profile.validation_section import validation_section
from adadecode.sim.report.sweep.budget_section import budget_section
from adadecode.sim.report.sweep.costs_section import costs_section
from adadecode.sim.report.sweep.designs_section import designs_section
from adadecode.sim.report.sweep.devices_section import devices_section
from adadecode.sim.report.sweep.headline import facts, headline
from adadecode.sim.report.sweep.provenance_section import limits_section, provenance_section
from adadecode.sim.report.sweep.sweep_data import SweepData
from adadecode.sim.sweep.store import Sweep


def sweep_report(sweep: Sweep, profile: Profile | None, missing: str, *, created: str) -> Report:
    """Return the report on a sweep and its profile.

    Args:
        sweep: The sweep.
        profile: The profile that its text comes from, where that is at hand.
        missing: Why there is no profile; empty if there is one.
        created: When the report is made, in words.

    Raises:
        ProfileError: If the profile's runs contradict its text.
    """
    recording = None if profile is None else ProfileData(profile=profile)
    data = SweepData(sweep=sweep, recording=recording)
    answer, lead = headline(data)
    model = data.about.get("model", "a model")
    designs = formatting.plural(int(data.about["designs"]), "design")
    devices = formatting.plural(len(data.devices), "device")
    return Report(
        title=f"{data.about.get('model', 'sweep')}: which heads, which gamma",
        kicker=f"Sweep of {designs} on {devices} for {model}",
        headline=answer,
        lead=lead,
        verdict=None if recording is None else verdict(recording),
        facts=tuple(facts(data)),
        sections=(
            *(section for section in _sections(data) if section is not None),
            provenance_section(data),
            limits_section(data, missing),
        ),
        created=created,
        frames={"designs": sweep.designs},
    )


def _sections(data: SweepData) -> list[Section | None]:
    """Return the sections of the sweep, then those of its profile; None for what neither holds."""
    recording = data.recording
    time = budget_section(data)
    if time is None and recording is not None and data.is_own:
        time = time_section(recording)
    sections = [designs_section(data), devices_section(data), costs_section(data), time]
    if recording is None:
        return sections
    return [
        *sections,
        _recorded_elsewhere(data, speed_section(recording)),
        heads_section(recording),
        latency_section(recording) if data.is_own else None,
        _recorded_elsewhere(data, validation_section(recording)),
    ]


def _recorded_elsewhere(data: SweepData, section: Section | None) -> Section | None:
    """Add to a section on measured runs where these were, if the sweep is of other latencies."""
    if section is None or data.is_own or data.recording is None:
        return section
    place = machine(data.recording.profile.manifest)
    return replace(
        section,
        lead=f"{section.lead} Recorded with the text, on {place}, not on the devices above.",
    )
