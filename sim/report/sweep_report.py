"""The report on a sweep: which heads, which gamma, which device, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.prediction.caveats import ONE_PROMPT
from adadecode.sim.report import formatting, sweep_tables
from adadecode.sim.report.document import Fact, Report, ReportError, Section
from adadecode.sim.report.manifest_text import machine
from adadecode.sim.report.profile_data import Recording
from adadecode.sim.report.profile_sections import (
    heads_section,
    latency_section,
    limits_section,
    provenance_section,
    speed_section,
    time_section,
    truth_section,
)
from adadecode.sim.report.profile_tables import fastest
from adadecode.sim.report.sweep_data import SweepData
from adadecode.sim.report.sweep_sections import (
    budget_section,
    cost_section,
    design_section,
    devices_section,
    sweep_limits,
    sweep_provenance,
    words_of,
)
from adadecode.sim.sweep.store import Sweep

SURE = {
    "measured": "predicted from latencies measured there",
    "carried": "predicted from latencies carried there from the recording",
    "datasheet": "predicted from a datasheet alone",
}


def profile_of(sweep: Sweep, given: str | None) -> tuple[Profile | None, str]:
    """The profile that a sweep's text comes from, and in words why it is not there.

    given: where it is now; by default where the sweep says it was. Raises ReportError for one given that is another, ProfileError for one given that cannot be read.
    """
    about = sweep.about.get("trace") or sweep.about.get("profile") or {}
    path, digest = given or about.get("path"), about.get("digest")
    if not path:
        return (
            None,
            "The sweep names no profile: what was measured, and how true predictions are, cannot be shown.",
        )
    try:
        profile = read_profile(path)
    except ProfileError:
        if given:
            raise
        return (
            None,
            "The profile that was swept is not where it was: give it with --profile to see what was measured, and how true predictions are.",
        )
    if digest and profile.manifest.get("digest") != digest:
        if given:
            raise ReportError(
                f"{path} is not the profile that was swept: wanted the digest {digest}, got {profile.manifest.get('digest')}: give that profile"
            )
        return (
            None,
            "The profile that was swept has changed since: what was measured is left out. Give the original with --profile.",
        )
    return profile, ""


def sweep_report(sweep: Sweep, profile: Profile | None, missing: str, *, created: str) -> Report:
    """Everything that a sweep and its profile say. missing: why there is no profile. Raises what reading its runs raises (ProfileError)."""
    recording = None if profile is None else Recording(profile=profile)
    found = SweepData(sweep=sweep, recording=recording)
    headline, lead = answer(found)
    sections = [
        design_section(found),
        devices_section(found),
        cost_section(found),
        budget_section(found),
    ]
    if recording is not None:
        sections += [_said_where(found, speed_section(recording)), heads_section(recording)]
        sections += [
            latency_section(recording) if found.is_own else None,
            _said_where(found, truth_section(recording)),
        ]
        if sections[3] is None and found.is_own:
            sections[3] = time_section(recording)
    shown = [section for section in sections if section is not None]
    return Report(
        title=f"{found.about.get('model', 'sweep')}: which heads, which gamma",
        kicker=f"Sweep of {formatting.plural(int(found.about['designs']), 'design')} on {formatting.plural(len(found.devices), 'device')} for {found.about.get('model', 'a model')}",
        headline=headline,
        lead=lead,
        facts=tuple(facts(found)),
        sections=(*shown, _provenance(found), _limits(found, missing)),
        created=created,
        frames={"designs": sweep.designs},
    )


def _said_where(found: SweepData, section: Section | None) -> Section | None:
    """A section on measured runs, with a word on where these were, unless it was the machine whose latencies were swept."""
    if section is None or found.is_own or found.recording is None:
        return section
    where = machine(found.recording.profile.manifest)
    return replace(
        section,
        lead=f"{section.lead} Recorded with the text, on {where}, not on the devices above.",
    )


def answer(found: SweepData) -> tuple[str, str]:
    """The headline and the sentences below it."""
    table = found.table
    if table.empty:
        return "No design of this sweep could be priced.", "See the limits below."
    first = dict(table.iloc[0])
    device = str(first["device"])
    gives = "give" if len(first["placement"]) > 1 else "gives"
    gain = formatting.gain(first["speedup"], first["speedup_low"], first["speedup_high"])
    headline = f"On {device}, {words_of(first)} {gives} {gain}."
    if first["speedup"] <= 1 or not len(first["placement"]):
        headline = f"On {device}, nothing looked at is faster than vanilla."
    basis = SURE.get(str(first["basis"]), "predicted")
    if found.about.get("hypothetical"):
        headline = f"Hypothetical, with heads of another model: on{headline[2:]}"
    sentence = f"{basis}: {formatting.milliseconds(first['tpot_s'])} for a token, vanilla takes {formatting.milliseconds(first['vanilla_s'])}."
    lead = [sentence[:1].upper() + sentence[1:]]
    best = found.best(device)
    over = best.get("prompts")
    if best.get("design") == first["design"] and isinstance(over, dict):
        if over.get("count", 0) == 1:
            lead.append(f"{ONE_PROMPT.capitalize()}.")
        elif over.get("speedup_low"):
            lead.append(
                f"With {formatting.count(over['count'])} other prompts like these it would lie within {over['speedup_low']:.2f} .. {over['speedup_high']:.2f}, nine times in ten."
            )
    halves = best.get("held_out")
    if isinstance(halves, dict) and halves.get("elsewhere"):
        there, elsewhere = (
            formatting.times(float(halves["chosen"])),
            formatting.times(float(halves["elsewhere"])),
        )
        lead.append(
            f"A design chosen in the same way on half of the prompts gives {there} there and {elsewhere} on the other half."
        )
    run = _confirmed(found, first)
    if run:
        lead.append(run)
    if len(table) > 1:
        others = table.iloc[1:]
        ends = dict.fromkeys(
            [formatting.times(others["speedup"].min()), formatting.times(others["speedup"].max())]
        )
        lead.append(f"On {formatting.plural(len(others), 'other device')}: {' to '.join(ends)}.")
    return headline, " ".join(lead)


def _confirmed(found: SweepData, first: dict[str, Any]) -> str:
    """What the fastest design that was run gave, where the first device is the one it was run on."""
    if found.runs.empty or first["device"] != found.measured:
        return ""
    best = fastest(found.runs)
    same = (
        " The best design was run:"
        if best["design"] == first["design"]
        else "Of the designs that were run there, the fastest was"
    )
    return f"{same.strip()} {best['design']}, measured at {formatting.gain(best['speedup'], best['low'], best['high'])}."


def facts(found: SweepData) -> list[Fact]:
    """The numbers to read first."""
    table = found.table
    if table.empty:
        return []
    first = dict(table.iloc[0])
    told = [
        Fact(
            label="best design",
            value=formatting.times(first["speedup"]),
            note=f"{first['design']} {formatting.span(first['speedup_low'], first['speedup_high'])}".rstrip(),
        ),
        Fact(
            label="time for a token",
            value=formatting.milliseconds(first["tpot_s"]),
            note=f"{first['tokens_per_s']:,.1f} tokens a second; vanilla {formatting.milliseconds(first['vanilla_s'])}",
        ),
    ]
    oracle = found.best(str(first["device"])).get("oracle") or {}
    ceiling = sweep_tables.ceiling(found.designs)
    most = max(
        [float(one["speedup"]) for one in oracle.values()]
        + ceiling[ceiling.index == first["device"]].tolist(),
        default=float("nan"),
    )
    if formatting.known(most):
        told.append(
            Fact(
                label="oracle",
                value=formatting.times(most),
                note="leaving at the earliest right depth: room left above",
            )
        )
    compared = (
        found.recording.comparison
        if found.recording is not None and first["device"] == found.measured and found.is_own
        else None
    )
    truth = {} if compared is None else compared.to_dict()["speedup_error"]
    if truth.get("median") is not None:
        note = f"in the median over the measured runs, {formatting.percent(truth['p90'])} at the 90th percentile"
        told.append(
            Fact(label="speedup error (T2)", value=formatting.percent(truth["median"]), note=note)
        )
    return told


def _provenance(found: SweepData) -> Section:
    table = sweep_provenance(found)
    if found.recording is None:
        return Section(name="provenance", title="Provenance", items=(table,))
    section = provenance_section(found.recording.profile)
    return replace(section, items=(table, *section.items))


def _limits(found: SweepData, missing: str) -> Section:
    notes = [*sweep_limits(found), *([missing] if missing else [])]
    theirs = () if found.recording is None else limits_section(found.recording).notes
    return Section(name="limits", title="Limits", notes=(*notes, *theirs))
