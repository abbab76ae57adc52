"""Small sweeps of a synthetic profile, evaluated by the real evaluator.

They are on the measured device, and on devices made up from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles import LatencyTable, Profile, Trace
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.device_latency import DeviceLatencies, measured_latencies
from adadecode.sim.hardware.latency_points import CORNERS
from adadecode.sim.hardware.memory import Deployment
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.sweep.head_forms import AnyEvaluator
from adadecode.sim.sweep.plan import SOURCES, SweepPlan
from adadecode.sim.sweep.runner import run_sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import Sweep

FACTORS = {
    "middle": 1.0,
    "low": 0.9,
    "high": 1.1,
    "layers_low": 0.9,
    "layers_high": 1.1,
    "batches_low": 0.95,
    "batches_high": 1.05,
}
"""Seconds of a layer at each corner of a made-up device, relative to its middle.

Other work is the same at all corners, so that speedups differ too.
"""


def small_sweep(
    path: Path,
    profile: Profile,
    *,
    policies: Sequence[Policy] = (Policy.VANILLA, Policy.ADADECODE, Policy.FIXED),
    gammas: Sequence[float] = (0.2, 0.5, 0.8),
    caps: Sequence[int] = (3, 5),
    max_heads: int = 3,
    objectives: Sequence[str] = ("tpot", "flops", "memory"),
    others: Mapping[str, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Sweep:
    """Sweep the profile's designs, and write the sweep to ``path``.

    Args:
        path: Folder of the sweep.
        profile: Whose text and latencies are used.
        policies: Of the designs.
        gammas: Of the designs.
        caps: Of the designs.
        max_heads: The most heads of a design.
        objectives: Of the sweep.
        others: Made-up devices and their basis; by default one that is carried and one from a
            datasheet.
        about: Keys of ``sweep.json`` to change.
    """
    trace = Trace.from_profile(profile)
    bases = {"swift": "carried", "sheet": "datasheet"} if others is None else others
    devices = [
        measured_latencies(profile),
        *(_made_up(profile, name, basis) for name, basis in bases.items()),
    ]
    space = Space.among(
        trace.depths,
        trace.n_layers,
        policies=tuple(policies),
        gammas=tuple(gammas),
        caps=tuple(caps),
        max_heads=max_heads,
    )
    shape = ModelShape(
        name="small",
        n_layers=trace.n_layers,
        hidden_size=64,
        intermediate_size=160,
        n_heads=4,
        n_kv_heads=2,
        head_dim=16,
        vocab_size=50,
    )
    evaluator = Evaluator.of(
        CompiledReplay.of(trace),
        devices,
        max_tokens=1 + max(caps),
        costs=[ModelCost(shape=shape)] * len(devices),
        runs=[Deployment(shape=shape, context=512)] * len(devices),
        spread=0.06,
    )
    described = {
        **ABOUT,
        "model": profile.manifest["model"]["name"],
        "software": {"adadecode": "0"},
        **(about or {}),
    }
    source = {"path": str(profile.path), "name": profile.name, "digest": profile.manifest["digest"]}
    plan = SweepPlan(
        space=space,
        objectives=tuple(objectives),
        sources={
            **sources_of(evaluator, {one.device: one.basis for one in devices}),
            "profile": source,
            "trace": source,
            **{key: described.pop(key) for key in SOURCES if key in described},
        },
    )
    return run_sweep(plan, evaluator, run_at_once(evaluator.evaluate), path, described)


ABOUT = {"model": "small", "hypothetical": False, "notes": []}
"""What ``sweep.json`` holds besides its plan and what the sweep finds."""


def sources_of(evaluator: AnyEvaluator, bases: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what a plan says of an evaluator, by `adadecode.sim.sweep.plan.SOURCES`.

    Args:
        evaluator: The evaluator.
        bases: The basis of each device; by default all are measured.
    """
    source = {"path": "p", "name": "p", "digest": "0"}
    devices = [one.latencies for one in evaluator.devices]
    return {
        "profile": source,
        "trace": source,
        "devices": [
            {
                "device": one.device,
                "basis": (bases or {}).get(one.device, "measured"),
                "notes": list(one.notes),
            }
            for one in devices
        ],
        "prompts": {
            "domain": None,
            "count": len(evaluator.prompts),
            "chosen": list(evaluator.prompts),
        },
    }


def run_at_once(
    evaluate: Callable[[Sequence[Design]], pd.DataFrame],
) -> Callable[[Sequence[Design]], Future[pd.DataFrame]]:
    """Return a function that evaluates a part of a sweep in this thread when it is submitted."""

    def submit(designs: Sequence[Design]) -> Future[pd.DataFrame]:
        done: Future[pd.DataFrame] = Future()
        done.set_result(evaluate(designs))
        return done

    return submit


def _made_up(profile: Profile, name: str, basis: str) -> DeviceLatencies:
    """Return a device that is twice as fast as measured, with `FACTORS` at its corners."""
    measured = LatencyTable.from_samples(profile.latency, profile.n_layers)
    points = measured.points
    layers = points["kind"] == "layer"

    def table(factor: float) -> LatencyTable:
        seconds = points["seconds"].where(~layers, points["seconds"] * factor) / 2
        return LatencyTable.from_samples(points.assign(seconds=seconds), profile.n_layers)

    one = DeviceLatencies(
        device=name, basis=basis, tables={corner: table(FACTORS[corner]) for corner in CORNERS}
    )
    return replace(one, notes=(f"made up from {profile.name}",))
