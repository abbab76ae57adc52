"""``adadecode-sim limits``: where a design stops paying, and what its answer depends on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from adadecode.sim.cli.cap_hint import explaining_cap
from adadecode.sim.cli.options.design import DesignOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.inspection import Change
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.scenario import (
    ProfileOrDatasheet,
    ScenarioArguments,
    read_latencies,
)
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.limits.analysis import Bandwidths, Fitted, Limits, find_limits
from adadecode.sim.limits.sensitivity import rank_changes, tornado
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.prediction.scenario import find_scenario


@takes_option_sets
def limits(
    path: ProfileOrDatasheet,
    *,
    design: DesignOptions,
    on: ScenarioArguments,
    change: Change = 0.1,
    as_json: Json = False,
) -> None:
    """Find where one design stops paying, and what the answer depends on.

    Where it stops paying in head cost, acceptance, batch size and bandwidth; how bad it can get;
    and how much the speedup changes with each assumption.
    """
    profile = read_latencies(path)
    with explaining_cap(None if on.to else profile, design.cap):
        scenario = find_scenario(
            profile,
            on.options(),
            trace=on.read_trace(),
            heads_at=on.head_map,
            cap=design.cap,
        )
        chosen = design.design(scenario.trace.depths)
        scenario.check_fits(chosen.placement)
        predictor = Predictor(trace=scenario.trace, latency=scenario.latencies.middle)
        prompts = predictor.prompts(on.domain)
        found = find_limits(scenario, chosen, prompts, change=change)
    if as_json:
        print_json(limits_dict(found))
        return
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.limits import limits_tables

    for part in limits_tables(found):
        console().print(part)


def limits_dict(limits: Limits) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    scenario = limits.scenario
    vanilla, ours = limits.bill.tpots[:2].tolist()
    return {
        "design": limits.design.label,
        "device": scenario.latencies.device,
        "basis": scenario.latencies.basis,
        "regime": scenario.latencies.regime,
        "limited_by": dict(scenario.latencies.limits),
        "model": scenario.model,
        "hypothetical": scenario.hypothetical,
        "prompts": limits.prompts,
        "tpot_s": ours,
        "vanilla_s": vanilla,
        "speedup": limits.speedup,
        "cost": [asdict(cost) for cost in limits.costs],
        "acceptance": {"recorded": _recorded(limits), "fitted": _fitted(limits.fitted)},
        "batch": _batch(limits),
        "bandwidth": _bandwidth(limits.bandwidths),
        "worst": asdict(limits.worst),
        **({} if limits.ideal_gates is None else {"ideal_gates": limits.ideal_gates}),
        "sensitivity": _sensitivity(limits),
        "notes": list(scenario.notes),
    }


def _recorded(limits: Limits) -> dict[str, Any]:
    """Return the break-even by answers of the heads that go wrong or right, as sure as before."""
    document = asdict(limits.unaware)
    document["now"]["discarded"] = limits.unaware.now.discarded
    if limits.unaware.then is not None:
        document["then"]["discarded"] = limits.unaware.then.discarded
    return document


def _fitted(fitted: Fitted | str) -> dict[str, Any]:
    """Return the break-even by agreement of fitted heads, or why none could be fitted."""
    if isinstance(fitted, str):
        return {"unknown": fitted}
    needed = fitted.needed
    return {
        "depths": list(fitted.depths),
        "agreement": list(fitted.agreement),
        "achievable": [needed.lowest, needed.highest],
        "now": needed.now,
        "shift": needed.shift,
        "needed_agreement": None if needed.model is None else list(needed.model.agreement),
        "then": needed.row,
    }


def _batch(limits: Limits) -> dict[str, Any]:
    """Return the speedup for several users at once."""
    batches = limits.batches
    return {
        "rows": [asdict(row) for row in batches.rows],
        "largest_batch": batches.largest,
        "pays_up_to": {bound: batches.pays_up_to(bound) for bound in ("together", "alone")},
        "stops_at": batches.stops_at,
        "notes": list(batches.notes),
    }


def _bandwidth(found: Bandwidths | str) -> dict[str, Any]:
    """Return the speedup by bandwidth, or why it is not known."""
    if isinstance(found, str):
        return {"unknown": found}
    rows = [{"factor": factor, "speedup": speedup} for factor, speedup in found.speedups.items()]
    return {"rows": rows, "break_even": list(found.break_evens)}


def _sensitivity(limits: Limits) -> dict[str, Any]:
    """Return how the speedup and the best design change with each assumption."""
    now = limits.bill.speedups()
    best, found = rank_changes(limits.designs, now, limits.cases)
    return {
        "change": limits.change,
        "rows": [row._asdict() for row in tornado(limits.perturbations, limits.speedup)],
        "corners": {corner: float(bill.speedups()[0]) for corner, bill in limits.corners.items()},
        "answer": {
            "designs": len(limits.designs),
            "best": limits.designs[best].label,
            "speedup": float(now[best]),
            "unless": [turn._asdict() for turn in found],
        },
    }
