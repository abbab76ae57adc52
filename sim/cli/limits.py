"""``adadecode-sim limits``: where a design stops paying, how bad it may get, and what its answer hangs on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options import (
    CapOption,
    DomainsOption,
    DtypeOption,
    FromOption,
    GammaOption,
    HeadsOption,
    JsonOption,
    LatencyArgument,
    MapOption,
    ModelOption,
    PolicyOption,
    ToOption,
    TraceOption,
    design_of,
    print_json,
)
from adadecode.sim.cli.tables.limits import limits_tables
from adadecode.sim.core.design import DEFAULT_CAP, Policy
from adadecode.sim.core.parsing import parse_head_map
from adadecode.sim.limits.analysis import Bandwidths, Fitted, Limits, find_limits
from adadecode.sim.limits.sensitivity import tornado, turns
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.prediction.scenario import DATASHEET, ScenarioOptions, find_scenario


def limits(
    latency: LatencyArgument,
    *,
    policy: PolicyOption = Policy.ADADECODE.value,
    gamma: GammaOption = "0.75",
    heads: HeadsOption = None,
    cap: CapOption = DEFAULT_CAP,
    change: Annotated[
        float, typer.Option("--change", help="How far off each assumption may be, either way.")
    ] = 0.1,
    domain: DomainsOption = None,
    trace: TraceOption = None,
    to: ToOption = None,
    source: FromOption = None,
    model: ModelOption = None,
    dtype: DtypeOption = None,
    mapping: MapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where one design stops paying: in head cost, acceptance, batch and bandwidth; how bad it may get; and what its answer hangs on."""
    options = ScenarioOptions(device=to, source=source, model=model, dtype=dtype)
    scenario = find_scenario(
        None if latency == DATASHEET else read_profile(latency),
        options,
        trace=None if trace is None else read_profile(trace),
        heads_at=None if mapping is None else parse_head_map(mapping),
        cap=cap,
    )
    design = design_of(
        scenario.trace.depths, policy=policy, gamma=gamma, heads=heads, cap=cap, verify=True
    )
    scenario.check_fits(design.placement)
    prompts = Predictor(trace=scenario.trace, latency=scenario.latencies.middle).prompts(domain)
    found = find_limits(scenario, design, prompts, change=change)
    if as_json:
        print_json(limits_dict(found))
        return
    console = Console()
    for shown in limits_tables(found):
        console.print(shown)


def limits_dict(limits: Limits) -> dict[str, Any]:
    """For programs."""
    scenario = limits.scenario
    vanilla, ours = limits.bill.tpots[:2].tolist()
    return {
        "design": limits.design.label,
        "device": scenario.latencies.device,
        "basis": scenario.latencies.basis,
        "model": scenario.model,
        "hypothetical": scenario.hypothetical,
        "prompts": limits.prompts,
        "tpot_s": ours,
        "vanilla_s": vanilla,
        "speedup": limits.speedup,
        "cost": [asdict(cost) for cost in limits.costs],
        "acceptance": {"recorded": _recorded(limits), "fitted": _fitted(limits.fitted)},
        "batch": {
            "rows": [asdict(row) for row in limits.batches.rows],
            "largest_batch": limits.batches.largest,
            "pays_up_to": {
                bound: limits.batches.pays_up_to(bound) for bound in ("together", "alone")
            },
            "stops_at": limits.batches.stops_at,
            "notes": list(limits.batches.notes),
        },
        "bandwidth": _bandwidth(limits.bandwidths),
        "worst": asdict(limits.worst),
        "sensitivity": _sensitivity(limits),
        "notes": list(scenario.notes),
    }


def _recorded(limits: Limits) -> dict[str, Any]:
    told = asdict(limits.unaware)
    told["now"]["discarded"] = limits.unaware.now.discarded
    if limits.unaware.then is not None:
        told["then"]["discarded"] = limits.unaware.then.discarded
    return told


def _fitted(fitted: Fitted | str) -> dict[str, Any]:
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


def _bandwidth(found: Bandwidths | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"unknown": found}
    rows = [{"factor": factor, "speedup": speedup} for factor, speedup in found.speedups.items()]
    return {"rows": rows, "break_even": list(found.break_evens)}


def _sensitivity(limits: Limits) -> dict[str, Any]:
    now = limits.bill.speedups()
    best, found = turns(limits.designs, now, limits.cases)
    return {
        "change": limits.change,
        "rows": [row._asdict() for row in tornado(limits.sways, limits.speedup)],
        "corners": {corner: float(bill.speedups()[0]) for corner, bill in limits.corners.items()},
        "answer": {
            "designs": len(limits.designs),
            "best": limits.designs[best].label,
            "speedup": float(now[best]),
            "unless": [turn._asdict() for turn in found],
        },
    }
