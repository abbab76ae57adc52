"""Folders as ``plan``, ``serve`` and ``observe`` write them, small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import json_bytes, write_together
from adadecode.sim.serving.metrics import Slo
from adadecode.sim.serving.planning.candidate import Candidate
from adadecode.sim.serving.planning.plan import plan
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.workloads import Workload, arrivals

LOAD = "poisson:40,count=150,prompt=20,output=4..12"
SLO = "ttft_p99=200ms,tpot_mean=20ms"


def write_plan(
    folder: Path, *, seeds: int = 3, hourly: tuple[float | None, ...] = (1.0, 3.0), **options: Any
) -> Path:
    """Write a plan of a slow and a fast server, with names as a user may choose them."""
    settings = ServerSettings(kv_blocks=400)
    names = options.pop("names", ("slow-card", "fast-card"))
    candidates = [
        Candidate(
            name=name,
            settings=settings,
            price=lambda step, each=each: each * (4 + step.n_tokens / 10),
            hourly=price,
            notes=(f"{name}: made up",),
        )
        for name, each, price in zip(names, (4e-3, 1e-3), hourly, strict=True)
    ]

    def load(seed: int) -> Workload:
        return arrivals(options.get("load", LOAD), seed=seed)

    made = plan(candidates, load, Slo.parse(options.get("slo", SLO)), seeds=seeds, most_replicas=8)
    write_together(
        {
            folder / "plan.json": json_bytes(made.to_json()),
            folder / "trials.csv": made.to_frame().to_csv(index=False),
        }
    )
    return folder
