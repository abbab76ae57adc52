"""What was swept and from what, and what must not be read into a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adadecode.sim.core.number_format import percent
from adadecode.sim.report import formatting
from adadecode.sim.report.document import Section, Table, fact_table
from adadecode.sim.report.formatting import sentence
from adadecode.sim.report.manifest_text import UNRECORDED, moment, named_values
from adadecode.sim.report.profile import provenance_section as of_profile
from adadecode.sim.report.sweep import design_tables
from adadecode.sim.report.sweep.sweep_data import SweepData


def provenance_section(data: SweepData) -> Section:
    """Return the section on what was swept, and on the profile it was made from."""
    table = sweep_table(data)
    if data.recording is None:
        return Section(name="provenance", title="Provenance", items=(table,))
    section = of_profile.provenance_section(data.recording)
    return replace(section, items=(table, *section.items))


def sweep_table(data: SweepData) -> Table:
    """Return the table of what was swept, from what, and with what."""
    about = data.about
    optimal = ", optimal within the space" if about.get("optimal") else ""
    facts = {
        "model": str(about.get("model", UNRECORDED)),
        "latencies from": _source(about.get("profile", {})),
        "text and heads from": _source(about.get("trace", {})),
        "prompts": _prompts(about.get("prompts") or {}),
        "space": "; ".join(
            f"{name}: {formatting.listed(value, 40) if isinstance(value, list) else value}"
            for name, value in about.get("space", {}).items()
        ),
        "designs": formatting.count(int(about["designs"])),
        "method": f"{about['method']}{optimal}",
        "objectives": formatting.listed(about.get("objectives", []), 8),
        "devices": "; ".join(f"{name} ({_bases(data, name)})" for name in data.devices),
    }
    if about.get("software"):
        facts["software"] = named_values(about["software"])
    facts["swept"] = moment(about.get("created"))
    return fact_table("sweep-provenance", "The sweep", facts)


def _prompts(prompts: Mapping[str, Any]) -> str:
    """Return how many prompts were swept, and of which domain."""
    if prompts.get("count") is None:
        return UNRECORDED
    count = formatting.plural(int(prompts["count"]), "prompt")
    domain = prompts.get("domain")
    chosen = formatting.listed(prompts.get("chosen") or (), 40)
    numbers = f" (numbers {chosen})" if chosen else ""
    return f"{count} of {f'the domain {domain}' if domain else 'all domains'}{numbers}"


def _bases(data: SweepData, device: str) -> str:
    """Return the basis of a device's latencies; with heads of each form if there are several."""
    if not data.forms:
        return str(data.devices[device]["basis"])
    return ", ".join(f"heads {form} {data.device(device, form)['basis']}" for form in data.forms)


def _source(source: Mapping[str, Any]) -> str:
    if not source:
        return UNRECORDED
    name = source.get("name", "a profile without a name")
    return f"{name}, digest {source.get('digest') or UNRECORDED}"


def limits_section(data: SweepData, missing: str) -> Section:
    """Return the section on the limits of the sweep and of its profile.

    Args:
        data: The sweep.
        missing: Why there is no profile; empty if there is one.
    """
    notes = [*sweep_limits(data), *([missing] if missing else [])]
    of_recording = () if data.recording is None else of_profile.limits_section(data.recording).notes
    return Section(name="limits", title="Limits", notes=(*notes, *of_recording))


def sweep_limits(data: SweepData) -> list[str]:
    """Return what must not be read into a sweep."""
    notes = []
    if data.about.get("hypothetical"):
        notes.append(
            "Hypothetical: the text and the heads are those of another model than the latencies, "
            "put at other depths. It shows what such heads would give, not what this model's give."
        )
    assumed = [*(data.about.get("notes") or ()), *(data.about.get("rate_notes") or ())]
    notes += [sentence(str(note)) for note in assumed]
    bases = {str(device["basis"]) for device in data.about["devices"]}
    if bases & {"carried", "datasheet"}:
        notes.append(
            "On devices without a recording, latencies are carried or taken from datasheets: their "
            "intervals show how uncertain they are, and they rest on assumptions, not on a run "
            "there. Speedups are more certain than times, because much of what is uncertain slows "
            "vanilla as well."
        )
    notes.append(
        "The best of many designs on a text is a little worse on other text: it was chosen on this "
        "one. Run it, or predict it on other prompts, before relying on the last percent."
    )
    table = data.table
    modelled = table["modelled_share"].max() if "modelled_share" in table else float("nan")
    if modelled > 0:
        notes.append(
            "What heads output after a wrong draft that was not recorded is modelled: with the "
            f"best designs up to {percent(float(modelled))} of the time rests on that."
        )
    if len(design_tables.ceiling(data.designs)):
        notes.append(
            "The oracle leaves at the earliest right depth and needs to know the text in advance: "
            "it is a mark to measure against, no design that can be run."
        )
    return notes
