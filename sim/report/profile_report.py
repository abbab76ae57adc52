"""The report on a profile alone: what the recording itself says."""

from __future__ import annotations

from typing import Any

from adadecode.profiles.store import Profile
from adadecode.sim.hardware.provenance import script_of
from adadecode.sim.report import formatting, manifest_text
from adadecode.sim.report.baseline_section import beside_section
from adadecode.sim.report.document import Fact, Report, Section
from adadecode.sim.report.formatting import design_words
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
from adadecode.sim.report.profile_tables import ALL


def profile_report(profile: Profile, *, created: str) -> Report:
    """Everything that the profile says. created: when, in words. Raises what reading its runs raises (ProfileError)."""
    recording = Recording(profile=profile)
    headline, lead = answer(recording)
    parts = (
        speed_section,
        beside_section,
        time_section,
        heads_section,
        latency_section,
        truth_section,
    )
    sections: list[Section] = [
        section for part in parts if (section := part(recording)) is not None
    ]
    return Report(
        title=f"{profile.name}: what early exits give",
        kicker=f"Profile of {manifest_text.model(profile.manifest)}"
        + (f"; {said}" if (said := script_of(profile)) else ""),
        headline=headline,
        lead=lead,
        facts=tuple(facts(recording)),
        sections=(*sections, provenance_section(profile), limits_section(recording)),
        created=created,
    )


def answer(recording: Recording) -> tuple[str, str]:
    """The headline and the sentences below it."""
    machine = manifest_text.machine(recording.profile.manifest)
    best = recording.best()
    if best is None or best["policy"] == "vanilla":
        return _without_runs(recording, machine)
    headline = f"On {machine}, {design_words(best)} {_verb(best)} {formatting.gain(best['speedup'], best['low'], best['high'])}."
    if script_of(recording.profile):
        headline = f"With scripted decisions, on{headline[2:]}"
    vanilla = _vanilla_seconds(recording)
    lead = [
        f"Measured over {formatting.plural(int(best['prompts']), 'prompt')}, each in {formatting.plural(int(best['repeats']), 'repeat')} against vanilla in turn"
    ]
    lead[0] += (
        f"; vanilla takes {formatting.milliseconds(vanilla)} for a token."
        if vanilla is not None
        else "."
    )
    by_text = {
        text: found
        for text in recording.texts
        if text != ALL and (found := recording.best(text)) is not None
    }
    if len(by_text) > 1:
        ranked = sorted(by_text.items(), key=lambda pair: -pair[1]["speedup"])
        (most, first), (least, last) = ranked[0], ranked[-1]
        lead.append(
            f"It depends on the text: the best measured design gives {formatting.times(first['speedup'])} on {most} ({first['design']})"
        )
        lead.append(f"and {formatting.times(last['speedup'])} on {least} ({last['design']}).")
    return headline, " ".join(lead)


def _verb(best: dict[str, Any]) -> str:
    return "give" if best["policy"] == "adadecode" and len(best["placement"]) > 1 else "gives"


def _without_runs(recording: Recording, machine: str) -> tuple[str, str]:
    """The headline where no design was run beside vanilla."""
    seconds = _layer_seconds(recording)
    layer = (
        f"one layer takes {formatting.milliseconds(seconds)} for one token"
        if seconds
        else "no layer was timed for one token"
    )
    if recording.predictor is None:
        return (
            f"On {machine}, {layer}.",
            "This profile holds latencies alone: no text, no heads, no runs. Carry them to other devices with `adadecode-sim transfer`.",
        )
    return (
        f"On {machine}, no design was run against vanilla; {layer}.",
        "What designs would give is a prediction: run `adadecode-sim predict` or `adadecode-sim sweep` on this profile.",
    )


def _layer_seconds(recording: Recording) -> float | None:
    points = recording.latency.points
    ones = points[(points["kind"] == "layer") & (points["n_tokens"] == 1)]
    return float(ones["seconds"].mean()) if len(ones) else None


def _vanilla_seconds(recording: Recording) -> float | None:
    speeds = recording.speeds
    rows = speeds[(speeds["policy"] == "vanilla") & (speeds["domain"] == ALL)]
    return float(rows["tpot_s"].iloc[0]) if len(rows) else None


def facts(recording: Recording) -> list[Fact]:
    """The numbers to read first."""
    found = []
    best, vanilla = recording.best(), _vanilla_seconds(recording)
    if best is not None and best["policy"] != "vanilla":
        found.append(
            Fact(
                label="best measured",
                value=formatting.times(best["speedup"]),
                note=f"{best['design']} {formatting.span(best['low'], best['high'])}".rstrip(),
            )
        )
    if vanilla is not None:
        found.append(
            Fact(
                label="vanilla",
                value=formatting.milliseconds(vanilla),
                note=f"a token, {1 / vanilla:.1f} tokens a second",
            )
        )
    if recording.comparison is not None:
        told = recording.comparison.to_dict()
        structure, speedup = told["structure"], told["speedup_error"]
        if structure["runs"]:
            found.append(
                Fact(
                    label="same rounds (T0)",
                    value=f"{structure['exact']} of {structure['runs']}",
                    note="runs replayed exactly",
                )
            )
        if speedup["median"] is not None:
            found.append(
                Fact(
                    label="speedup error (T2)",
                    value=formatting.percent(speedup["median"]),
                    note=f"in the median, {formatting.percent(speedup['p90'])} at the 90th percentile",
                )
            )
    if recording.predictor is not None:
        trace = recording.predictor.trace
        tokens = sum(trace.n_output(prompt) for prompt in trace.prompts)
        found.append(
            Fact(
                label="text",
                value=formatting.plural(tokens, "token"),
                note=f"{formatting.plural(len(trace.prompts), 'prompt')} of {formatting.plural(max(1, len(recording.texts) - 1), 'domain')}",
            )
        )
    seconds = _layer_seconds(recording)
    if seconds is not None and len(found) < 4:
        found.append(
            Fact(label="one layer", value=formatting.milliseconds(seconds), note="for one token")
        )
    return found
