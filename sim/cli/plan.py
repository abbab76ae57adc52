"""``adadecode-sim plan``: how many devices a load needs, and which are cheapest."""

from __future__ import annotations

import os
from collections.abc import Mapping

from adadecode.profiles.atomic_write import json_bytes, write_together
from adadecode.profiles.errors import DeviceError
from adadecode.sim.cli.options.catalogue import LayersModel, SourceDevice
from adadecode.sim.cli.options.exits import ExitOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.planning import (
    Devices,
    LoadOptions,
    MaxReplicas,
    Objectives,
    PlanDirectory,
    PlannedServerOptions,
    Prices,
)
from adadecode.sim.cli.options.scenario import ProfileOrDatasheet, WeightDtype, read_latencies
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.say import say
from adadecode.sim.serving.latency.found_steps import StepsWanted
from adadecode.sim.serving.planning.find_candidate import find_candidate
from adadecode.sim.serving.planning.plan import plan as plan_servers
from adadecode.sim.serving.planning.prices import read_prices

MANY = 1000
"""Requests from which on it is worth while to start processes."""


def _say(name: str, replicas: int) -> None:
    say(f"{name}: trying {replicas} servers", stderr=True)


@takes_option_sets
def plan(
    path: ProfileOrDatasheet,
    *,
    load: LoadOptions,
    slo: Objectives,
    devices: Devices = None,
    price: Prices = None,
    source: SourceDevice = None,
    model: LayersModel = None,
    dtype: WeightDtype = None,
    server: PlannedServerOptions,
    exits: ExitOptions,
    max_replicas: MaxReplicas = 64,
    out: PlanDirectory = None,
    as_json: Json = False,
) -> None:
    """Find how many servers a load needs, and which device is cheapest.

    For each device: the fewest servers that meet the objectives, what keeps one less from it, and
    what they cost. With a policy of early exits (--policy), the same beside vanilla.
    """
    prices: Mapping[str, float] = {} if price is None else read_prices(price)
    if missing := [name for name in devices or () if price is not None and name not in prices]:
        raise DeviceError(f"{price} has no price of {', '.join(missing)}: add it, or leave it out")
    found = load.load(server.block_size)
    seeds = 1 if found.recorded else load.seeds
    policy = exits.exits(load.seed or 0)
    profile = read_latencies(path)
    requests = [one for seed in range(seeds) for one in found.workload(seed).requests]
    candidates = [
        find_candidate(
            profile,
            StepsWanted(
                device=name,
                source=source,
                model=model,
                dtype=dtype,
                context=max(one.n_prompt + one.n_output for one in requests),
                prompt=max(one.n_prompt for one in requests),
                tokens=server.max_batched_tokens,
                unequal_contexts=server.unequal_contexts,
            ),
            server.server(routing=server.routing),
            prices,
            requests,
            decoding,
        )
        for name in devices or (None,)
        for decoding in ((None,) if policy is None else (None, policy))
    ]
    made = plan_servers(
        candidates,
        found.workload,
        slo,
        most_replicas=max_replicas,
        seeds=seeds,
        recorded=found.recorded,
        routing=server.routing,
        warmup_s=load.warmup_s,
        report=None if as_json else _say,
        # What decodes with early exits cannot be sent to another process.
        processes=1 if len(requests) < MANY or policy is not None else os.cpu_count() or 1,
    )
    if out is not None:
        write_together(
            {
                out / "plan.json": json_bytes(made.to_json()),
                out / "trials.csv": made.to_frame().to_csv(index=False),
            }
        )
    if as_json:
        print_json(made.to_json())
        return
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.plan import plan_tables

    for part in plan_tables(made):
        console().print(part)
