"""The parts of a report that a sweep fills: which design, what it costs, on which device, where the time goes there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.report import formatting, profile_figures, sweep_figures, sweep_tables
from adadecode.sim.report.document import Choice, Drawing, Figure, Section, Table, listing
from adadecode.sim.report.formatting import design_words
from adadecode.sim.report.manifest_text import sentence
from adadecode.sim.report.profile_tables import TIME_SHARES, fastest
from adadecode.sim.report.sweep_data import SweepData
from adadecode.sim.report.sweep_tables import OBJECTIVES
from adadecode.sim.sweep.head_forms import NO_HEADS

TOP = 10
"""Placements listed for each device."""

BASES = {
    "measured": "latencies measured on this device",
    "carried": "latencies carried there from the recorded device by bytes, FLOPs and published bandwidths",
    "datasheet": "latencies from the datasheet and public benchmarks alone, with nothing measured",
}


def design_section(found: SweepData) -> Section:
    """Which placement, which gamma."""
    figures = [
        figure for figure in (_along(found), _map(found)) if figure.drawings
    ]  # none of vanilla alone
    items: list[Figure | Table] = [*figures, *([_forms(found)] if found.forms else []), _top(found)]
    about = found.about
    count = formatting.plural(int(about["designs"]), "design")
    how = (
        f"All {count} of the space were evaluated: within it the best one is the optimum."
        if about.get("optimal")
        else f"{count} were evaluated, chosen by a search ({about['method']}): a better one may have been missed."
    )
    refined = any(found.best(device).get("refined_from") for device in found.devices)
    how += (
        " Around each device's best, one threshold per head was refined as well." if refined else ""
    )
    return Section(name="designs", title="Which heads, which gamma", lead=how, items=tuple(items))


def _choices(found: SweepData, policies: list[str]) -> tuple[Choice, ...]:
    return (
        Choice(dimension="device", label="Device", options=tuple(found.devices)),
        Choice(dimension="policy", label="Policy", options=tuple(policies)),
    )


def _form_choice(found: SweepData) -> tuple[Choice, ...]:
    return (
        (Choice(dimension="form", label="Form of heads", options=tuple(found.forms)),)
        if found.forms
        else ()
    )


def words_of(design: dict[str, Any]) -> str:
    """`design_words`, and the form of the heads where there were several to choose from."""
    form = design.get("form", NO_HEADS)
    return design_words(design) if form == NO_HEADS else f"{design_words(design)} (form {form})"


def _along(found: SweepData) -> Figure:
    """Speedup against gamma."""
    policies = sweep_tables.policies(found.designs)
    drawings: dict[tuple[str, ...], Drawing] = {}
    for chosen, part in found.fitting.groupby(
        ["device", "policy", *(["form"] if found.forms else [])], sort=False
    ):
        device, policy, *form = map(str, chosen)
        if policy not in policies:
            continue
        runs = (
            found.runs[found.runs["policy"] == policy]
            if device == found.measured
            else found.runs.iloc[:0]
        )
        runs = runs[runs["form"].isin(form)] if form else runs
        lines = sweep_tables.lines(part, policy, dict.fromkeys(runs["place"]))
        if lines.empty:
            continue
        axis = sweep_tables.along(policy)
        dots = runs[runs["place"].isin(set(lines["place"]))]
        dots = dots.assign(x=dots[axis])
        band = sweep_tables.band(part, policy)
        best = fastest(lines)
        says = (
            f"{device}: best with {words_of(best)}: {formatting.gain(best['speedup'], best['speedup_low'], best['speedup_high'])}; "
            f"{formatting.plural(int(band['placements'].max()), 'placement')} looked at."
        )
        figure = sweep_figures.lines_figure(lines, band, dots[dots["x"].notna()], axis=axis)
        drawings[device, policy, *form] = Drawing(figure=figure, says=says)
    rule = (
        f"Lines: the best placement of each number of heads, placements that were run, then the next best, {sweep_tables.MOST_LINES} at most, each at its best cap. "
        "Grey: where eight of ten of all placements lie. Diamonds: measured runs, bars their smallest and largest repeat. Intervals of predictions are in the hover text. "
    )
    rounded = (
        "Gamma is the mean over the heads, to a twentieth: the search chose one for each."
        if found.about["method"] != "exhaustive"
        else "One gamma for all heads."
    )
    return Figure(
        name="speedup-gamma",
        title="Speedup against gamma",
        caption=rule + rounded,
        choices=(*_choices(found, policies), *_form_choice(found)),
        drawings=drawings,
    )


def _map(found: SweepData) -> Figure:
    """The placement heat map."""
    policies = sweep_tables.policies(found.designs)
    counts = sweep_tables.head_counts(found.designs[found.designs["policy"].isin(policies)])
    drawings: dict[tuple[str, ...], Drawing] = {}
    for (device, policy), part in found.fitting.groupby(["device", "policy"], sort=False):
        for name, heads in counts.items() if policy in policies else ():
            cells = sweep_tables.placement_cells(part, heads)
            if cells.empty:
                continue
            best = fastest(cells)
            says = f"{device}: best with {words_of(best)}: {formatting.gain(best['speedup'], best['speedup_low'], best['speedup_high'])}."
            drawings[str(device), str(policy), name] = Drawing(
                figure=sweep_figures.map_figure(cells), says=says
            )
    return Figure(
        name="placements",
        title="Where to put the heads",
        caption=(
            "Each cell: the best speedup of all placements with this shallowest and this deepest head, at the best gamma (or one for each head), cap"
            f"{' and form of heads' if found.forms else ''}, which hovering tells; "
            "a single head "
            "lies on the diagonal. White is as fast as vanilla, red slower. The ring marks the best."
        ),
        choices=(
            *_choices(found, policies),
            Choice(dimension="heads", label="Heads", options=tuple(counts)),
        ),
        drawings=drawings,
    )


def _forms(found: SweepData) -> Table:
    """The best design of each device with heads of each form, and what it rests on there."""
    columns = {
        "device": ("device", "text"),
        "form": ("form of heads", "text"),
        "design": ("best design", "text"),
        "speedup": ("speedup", "times"),
        "speedup_low": ("from", "times"),
        "speedup_high": ("to", "times"),
        "tpot_s": ("time a token", "ms"),
        "memory_bytes": ("peak memory", "bytes"),
    }
    rows = [
        {
            "device": device,
            "basis": found.device(device, form)["basis"],
            **{name: best[name] for name in columns if name != "device"},
        }
        for device in found.devices
        for form, best in found.best(device).get("forms", {}).items()
    ]
    frame = pd.DataFrame(rows, columns=[*columns, "basis"])
    return Table(
        name="forms-table",
        title="The best with each form of heads",
        frame=frame,
        columns={**columns, "basis": ("basis", "text")},
    )


def _top(found: SweepData) -> Table:
    rows = sweep_tables.top(found.designs, TOP)
    columns = {
        "device": ("device", "text"),
        "design": ("design", "text"),
        "speedup": ("speedup", "times"),
        "speedup_low": ("from", "times"),
        "speedup_high": ("to", "times"),
        "tpot_s": ("time a token", "ms"),
        "early_rate": ("early", "percent"),
        "reject_rate": ("discarded", "percent"),
        "tokens_per_round": ("tokens a round", "plain"),
        "modelled_share": ("time modelled", "percent"),
    }
    kept = rows[[name for name in found.sweep.designs.columns if name in rows]]
    return Table(
        name="top-table",
        title=f"The {TOP} best placements of each device",
        frame=kept,
        columns=columns,
        folded=True,
    )


def cost_section(found: SweepData) -> Section | None:
    """The Pareto front."""
    runnable = found.designs[found.designs["policy"] != Policy.ORACLE]
    names = sweep_tables.objectives(runnable)
    if not names:
        return None
    order = {name: f"{OBJECTIVES[name][0]}" for name in names}
    drawings: dict[tuple[str, ...], Drawing] = {}
    fronts = []
    for device, part in runnable.groupby("device", sort=False):
        for name, label in order.items():
            on, off, count = sweep_tables.front(part, name)
            if on.empty:
                continue
            says = f"{device}: {formatting.plural(len(on), 'design')} on the front, {formatting.count(count)} others."
            drawings[str(device), label] = Drawing(
                figure=sweep_figures.front_figure(on, off, name), says=says
            )
        fronts.append(
            part[part["pareto"].astype(bool)].sort_values("tpot_s").head(sweep_tables.MOST_ON_FRONT)
        )
    objectives = formatting.listed(found.about.get("objectives", []), 8)
    columns = {
        "device": ("device", "text"),
        "design": ("design", "text"),
        "tpot_s": ("time a token", "ms"),
        "speedup": ("speedup", "times"),
        **{name: OBJECTIVES[name] for name in names},
    }
    frame = pd.concat(fronts)
    shown = frame[[name for name in found.sweep.designs.columns if name in frame]]
    return Section(
        name="costs",
        title="What speed costs",
        lead=f"On the Pareto front lie designs that no other beats in everything asked for ({objectives}).",
        items=(
            Figure(
                name="pareto",
                title="The Pareto front",
                caption=(
                    "Green line: no other design is both faster and cheaper in what is drawn. Open circles: beaten in these two, but not in all objectives of the sweep "
                    f"({objectives}). Grey: other designs, one for each of {sweep_tables.CELLS} x {sweep_tables.CELLS} cells. Lower left is better."
                ),
                choices=(
                    Choice(dimension="device", label="Device", options=tuple(found.devices)),
                    Choice(dimension="objective", label="Against", options=tuple(order.values())),
                ),
                drawings=drawings,
            ),
            Table(
                name="pareto-table",
                title="Designs on the front",
                frame=shown,
                columns=columns,
                folded=True,
            ),
        ),
    )


def devices_section(found: SweepData) -> Section | None:
    """The same question on every device."""
    table = found.table
    if table.empty:
        return None
    items: list[Figure | Table] = []
    if len(table) > 1:
        items.append(
            Figure(
                name="devices",
                title="The best speedup on each device",
                caption=(
                    "Filled: latencies measured there; open circle: carried from the recording; open diamond: from a datasheet alone. Bars: the range that uncertain "
                    "latencies leave; on a measured device, how far predictions were seen to miss. The tick is what the design that is best on the first device gives elsewhere."
                ),
                drawings={
                    (): Drawing(figure=sweep_figures.devices_figure(table), says=_spread(table))
                },
            )
        )
    columns = {
        "device": ("device", "text"),
        "basis": ("basis", "text"),
        "vanilla_s": ("vanilla", "ms"),
        "tpot_s": ("best", "ms"),
        "speedup": ("speedup", "times"),
        "speedup_low": ("from", "times"),
        "speedup_high": ("to", "times"),
        "design": ("best design", "text"),
    }
    names = [
        name for name in table.columns if name not in {"heads", "shallow", "deep", "place", "gamma"}
    ]
    items.append(
        Table(
            name="devices-table",
            title="Devices",
            frame=table[names],
            columns=columns,
            caption="Vanilla and best: time for a token.",
        )
    )
    notes = {row["device"]: row["notes"] for row in table.to_dict("records") if row["notes"]}
    if notes:
        items.append(
            listing(
                "devices-notes", "What the latencies of each device rest on", notes, folded=True
            )
        )
    bases = [
        f"{name.capitalize()}: {told}."
        for name, told in BASES.items()
        if name in set(table["basis"])
    ]
    title = "On which device" if len(table) > 1 else "On this device"
    return Section(name="devices-section", title=title, lead=" ".join(bases), items=tuple(items))


def _spread(table: pd.DataFrame) -> str:
    first, last = fastest(table), table.iloc[int(table["speedup"].argmin())]
    quickest = table.iloc[int(table["tpot_s"].argmin())]
    return (
        f"Early exits gain most on {first['device']} ({formatting.times(first['speedup'])}), least on {last['device']} ({formatting.times(last['speedup'])}); "
        f"the shortest time for a token is {quickest['device']}'s, {formatting.milliseconds(quickest['tpot_s'])}."
    )


def budget_section(found: SweepData) -> Section | None:
    """Where the time goes with the best design of each device, and where tokens leave there."""
    bests = {device: found.best(device) for device in found.devices}
    told = {
        device: best["details"]
        for device, best in bests.items()
        if best.get("details") and best.get("policy") != Policy.ORACLE
    }
    if not told:
        return None
    drawings: dict[tuple[str, ...], Drawing] = {}
    splits = []
    for device, details in told.items():
        split = _split(details)
        vanilla = {
            "design": "vanilla",
            **dict.fromkeys(TIME_SHARES, 0.0),
            "undivided": float(details["vanilla_s"]),
        }
        bars = pd.DataFrame([vanilla, split]).fillna(0.0)
        splits.append({"device": device, **split})
        share = split["layers_discarded"] / sum(split[part] for part in TIME_SHARES)
        ours, theirs = sum(split[part] for part in TIME_SHARES), float(details["vanilla_s"])
        says = f"{device}: {formatting.milliseconds(ours)} a token instead of {formatting.milliseconds(theirs)}; {formatting.percent(share)} of it in layers run for discarded drafts."
        drawings[(device,)] = Drawing(figure=profile_figures.budget_figure(bars), says=says)
    choice = Choice(dimension="device", label="Device", options=tuple(found.devices))
    budget = Figure(
        name="best-budget",
        title="Where the time of a token goes",
        caption="Vanilla, undivided, and the best design. A batch's time is shared evenly by its tokens: red is what was spent in layers on drafts that verification threw away.",
        choices=(choice,),
        drawings=drawings,
    )
    columns = {
        "device": ("device", "text"),
        "design": ("design", "text"),
        **{part: (profile_figures.PART_NAMES[part], "ms") for part in TIME_SHARES},
    }
    table = Table(
        name="best-budget-table",
        title="Time of a token by part",
        frame=pd.DataFrame(splits),
        columns=columns,
        folded=True,
    )
    tokens = {device: _exits(details) for device, details in told.items()}
    exits = Figure(
        name="best-exits",
        title="Exits by depth, accepted and discarded",
        caption="Of the best design, replayed from the recorded text. Blue and green make up the text, 100 %; red comes on top: drafts computed in vain.",
        choices=(choice,),
        drawings={
            (device,): Drawing(
                figure=profile_figures.fates_figure(rows),
                says=f"{device}: {told[device]['design']}; {_early(rows)}",
            )
            for device, rows in tokens.items()
        },
    )
    rows = pd.concat(
        [
            rows.assign(device=device, design=told[device]["design"])
            for device, rows in tokens.items()
        ]
    )
    names = {
        "accepted": ("accepted drafts", "count"),
        "rejected": ("discarded drafts", "count"),
        "last": ("last layer's own", "count"),
    }
    exits_table = Table(
        name="best-exits-table",
        title="Exits by depth",
        frame=rows[["device", "design", "depth", "accepted", "rejected", "last"]],
        columns={
            "device": ("device", "text"),
            "design": ("design", "text"),
            "depth": ("depth", "text"),
            **names,
        },
        folded=True,
    )
    lead = "With the best design of each device."
    return Section(
        name="time",
        title="Where the time goes, and where tokens leave",
        lead=lead,
        items=(budget, table, exits, exits_table),
    )


def _split(details: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds per token by PARTS, out of the finer parts of `adadecode.sim.replay.price_list`."""
    seconds = {name: float(value) for name, value in details["seconds_per_token"].items()}
    return {
        "design": str(details["design"]),
        "layers_useful": seconds["layers"],
        "layers_discarded": seconds["layers_discarded"],
        "heads": seconds["heads"] + seconds["heads_discarded"],
        "verify": seconds["verify"] + seconds["verify_discarded"],
        "host": seconds["host"],
    }


def _exits(details: Mapping[str, Any]) -> pd.DataFrame:
    """Fates of tokens by depth, the last layer last."""
    rows = [
        (f"{one['depth']}", int(one["accepted"]), int(one["drafts"]) - int(one["accepted"]), 0)
        for one in details["heads"]
    ]
    kept = sum(accepted for _, accepted, _, _ in rows)
    return pd.DataFrame(
        [*rows, ("last", 0, 0, int(details["tokens"]) - kept)],
        columns=["depth", "accepted", "rejected", "last"],
    )


def _early(rows: pd.DataFrame) -> str:
    drafts, wrong = (
        int(rows[["accepted", "rejected"]].to_numpy().sum()),
        int(rows["rejected"].sum()),
    )
    kept = int(rows["accepted"].sum()) / max(1, int(rows[["accepted", "last"]].to_numpy().sum()))
    return f"{formatting.percent(kept)} of the text leaves early; {formatting.count(wrong)} of {formatting.count(drafts)} drafts are thrown away."


def sweep_provenance(found: SweepData) -> Table:
    """What was swept, from what, with what."""
    about = found.about
    space, source, trace = about.get("space", {}), about.get("profile", {}), about.get("trace", {})
    facts = {
        "model": str(about.get("model", "not said")),
        "latencies from": _source(source),
        "text and heads from": _source(trace),
        "prompts": ", ".join(
            f"{name} {value}" for name, value in dict(about.get("prompts") or {}).items()
        )
        or "not said",
        "space": "; ".join(
            f"{name}: {formatting.listed(value, 40) if isinstance(value, list) else value}"
            for name, value in space.items()
        ),
        "designs": formatting.count(int(about["designs"])),
        "method": f"{about['method']}{', optimal within the space' if about.get('optimal') else ''}",
        "objectives": formatting.listed(about.get("objectives", []), 8),
        "devices": "; ".join(f"{name} ({_bases(found, name)})" for name in found.devices),
        "software": ", ".join(
            f"{name} {version}" for name, version in dict(about.get("software") or {}).items()
        )
        or "not said",
        "swept": str(about.get("created", "not said")),
    }
    return listing("sweep-provenance", "The sweep", facts)


def _bases(found: SweepData, device: str) -> str:
    """What the latencies of a device rest on; with heads of each form, where there are several."""
    if not found.forms:
        return str(found.devices[device]["basis"])
    return ", ".join(f"heads {form} {found.device(device, form)['basis']}" for form in found.forms)


def _source(source: Mapping[str, Any]) -> str:
    if not source:
        return "not said"
    return f"{source.get('name', 'a profile without a name')}, digest {source.get('digest', 'not said')}"


def sweep_limits(found: SweepData) -> list[str]:
    """What must not be read into a sweep."""
    notes = []
    if found.about.get("hypothetical"):
        notes.append(
            "Hypothetical: the text and the heads are those of another model than the latencies, put at other depths. "
            "It shows what such heads would give, not what this model's give."
        )
    notes += [sentence(str(note)) for note in found.about.get("notes") or ()]
    bases = {str(one["basis"]) for one in found.about["devices"]}
    if bases & {"carried", "datasheet"}:
        notes.append(
            "On devices without a recording, latencies are carried or taken from datasheets: their intervals say how sure they are, and they rest on what is assumed, "
            "not on a run there. Speedups are surer than times, because much of what is uncertain slows vanilla as well."
        )
    notes.append(
        "The best of many designs on a text is a little worse on other text: it was chosen on this one. Run it, or predict it on other prompts, before relying on the last percent."
    )
    share = (
        float(found.table["modelled_share"].max())
        if "modelled_share" in found.table and len(found.table)
        else float("nan")
    )
    if formatting.known(share) and share > 0:
        notes.append(
            f"What heads say after a wrong draft that nobody recorded is modelled: with the best designs up to {formatting.percent(share)} of the time rests on that."
        )
    ceiling = sweep_tables.ceiling(found.designs)
    if len(ceiling):
        notes.append(
            "The oracle leaves at the earliest right depth and needs to know the text in advance: it is a mark to measure against, no design that can be run."
        )
    return notes
