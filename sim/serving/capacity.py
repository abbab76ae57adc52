"""What-ifs of a load: curves of latency over load, and the fewest servers of several devices.

A load is a specification with ``{load}`` in the place of a number: ``poisson:{load},count=300,
prompt=512,output=128`` goes through rates, ``closed:{load},count=...`` through requests in flight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile
from adadecode.sim.serving.crossover import Crossover, find_crossover
from adadecode.sim.serving.exits.exit_policy import ExitPolicy
from adadecode.sim.serving.latency.found_steps import StepsWanted
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics
from adadecode.sim.serving.metrics.replications import Replications
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.planning.find_candidate import find_candidate
from adadecode.sim.serving.planning.plan import Plan, plan
from adadecode.sim.serving.served_run import Server, run_server
from adadecode.sim.serving.workloads.drawn_requests import arrivals
from adadecode.sim.serving.workloads.load import find_load

if TYPE_CHECKING:
    import pandas as pd

LOAD = "{load}"
"""What stands for the load in a specification."""

EXAMPLE = "poisson:{load},count=300,prompt=512,output=128"


def load_curve(
    latencies: Profile | None,
    arrivals_spec: str,
    loads: Sequence[float],
    *,
    server: Server | None = None,
    device: str | None = None,
    model: str | None = None,
    dtype: str | None = None,
    exits: ExitPolicy | None = None,
    seeds: int = 3,
) -> pd.DataFrame:
    """Serve a load at several rates, and return what requests wait at each.

    The same seed draws the same lengths and the same pattern of arrivals at every rate, so that
    points of a curve, and curves of several devices, differ by what they are.

    Args:
        latencies: A recording or an import; None for the datasheet of the device.
        arrivals_spec: The requests, with ``{load}`` for the rate, or for those in flight.
        loads: What stands in its place.
        server: How servers are set, and how many there are; as vLLM has it by default.
        device: The device; that of the latencies by default.
        model: The model, where the latencies do not say.
        dtype: Number format of the weights; None for the recorded one.
        exits: How servers decode with early exits; None for vanilla.
        seeds: Draws of the requests.

    Returns:
        A row for each load, time and statistic, and for the ``throughput``: ``load``, ``metric``,
        ``statistic``, ``mean`` over the seeds with the ``low`` and ``high`` end of its 95 %
        interval, and the worst ``verdict``.

    Raises:
        InputError: If a number makes no sense, or a request cannot be served.
        DeviceError: If the device is unknown, or the model does not fit on it.
        LatencyError: If something was not measured, and cannot be carried.
    """
    import pandas as pd

    if seeds < 1 or not loads:
        raise InputError(f"wanted one load and one seed at least, got {list(loads)} and {seeds}")
    serve_at = partial(
        _serve_at, latencies, arrivals_spec, server or Server(), device, model, dtype
    )
    parts = []
    for load in loads:
        runs = Replications(runs=tuple(serve_at(seed, load, exits) for seed in range(seeds)))
        parts.append(runs.to_frame().assign(load=load, verdict=str(runs.verdict)))
    found = pd.concat(parts, ignore_index=True)
    return found[["load", "metric", "statistic", "mean", "low", "high", "verdict"]]


def crossover(
    latencies: Profile,
    arrivals_spec: str,
    loads: Sequence[float],
    exits: ExitPolicy,
    *,
    server: Server | None = None,
    device: str | None = None,
    model: str | None = None,
    dtype: str | None = None,
    seed: int = 0,
) -> Crossover:
    """Find the load from which on early exits stop paying.

    Args:
        latencies: A recording with exits, or latencies with ``exits.trace``.
        arrivals_spec: As of `load_curve`.
        loads: Rising loads.
        exits: How servers decode with early exits.
        server: As of `load_curve`.
        device: As of `load_curve`.
        model: As of `load_curve`.
        dtype: As of `load_curve`.
        seed: Seed of the requests.

    Raises:
        InputError: As `load_curve`.
    """
    serve_at = partial(
        _serve_at, latencies, arrivals_spec, server or Server(), device, model, dtype, seed
    )
    return find_crossover(loads, serve_at, exits)


def plan_devices(
    latencies: Profile | None,
    load: str,
    slo: str,
    devices: Sequence[str],
    *,
    prices: Mapping[str, float] | None = None,
    server: Server | None = None,
    model: str | None = None,
    dtype: str | None = None,
    seeds: int = 3,
    most_replicas: int = 64,
    routing: str = "least-loaded",
) -> Plan:
    """Find the fewest servers of each device that meet the objectives, as ``adadecode-sim plan``.

    Args:
        latencies: As of `load_curve`.
        load: A file of requests, or a specification of arrivals.
        slo: Objectives, like ``ttft_p99=2s,tpot_p99=50ms``.
        devices: The devices.
        prices: What an hour of each costs.
        server: How each server is set; as vLLM has it by default. How many there are is what is
            wanted, and ``routing`` says which one a request goes to.
        model: As of `load_curve`.
        dtype: As of `load_curve`.
        seeds: Draws of the requests that a number of servers may take.
        most_replicas: Servers that there may be.
        routing: Which server a request goes to.

    Raises:
        InputError: As `load_curve`, or if an objective makes no sense, or ``server`` says how many
            servers there are, or which of them a request goes to.
    """
    one = server or Server()
    if one.replicas != 1:
        raise InputError(
            f"a plan finds how many servers there are, got {one.replicas} replicas: leave them "
            "out, and limit them with most_replicas"
        )
    if one.routing not in (Server().routing, routing):
        raise InputError(
            f"wanted the routing of a plan as routing={one.routing!r}, got it as part of the server"
        )
    found = find_load(load, block_size=one.block_size)
    requests = [
        request
        for seed in range(1 if found.recorded else seeds)
        for request in found.workload(seed).requests
    ]
    candidates = [
        find_candidate(
            latencies,
            StepsWanted(
                device=name,
                model=model,
                dtype=dtype,
                context=max(request.n_prompt + request.n_output for request in requests),
                prompt=max(request.n_prompt for request in requests),
                tokens=one.max_batched_tokens,
            ),
            one,
            prices or {},
            requests,
        )
        for name in devices
    ]
    return plan(
        candidates,
        found.workload,
        Slo.parse(slo),
        most_replicas=most_replicas,
        seeds=seeds,
        recorded=found.recorded,
        routing=routing,
    )


def _serve_at(
    latencies: Profile | None,
    spec: str,
    server: Server,
    device: str | None,
    model: str | None,
    dtype: str | None,
    seed: int,
    load: float,
    exits: ExitPolicy | None,
) -> LoadMetrics:
    """Return the figures of one load with one seed."""
    if LOAD not in spec:
        raise InputError(f"wanted {LOAD} in the place of the load, as in {EXAMPLE}, got {spec!r}")
    workload = arrivals(spec.replace(LOAD, f"{load:g}"), seed=seed)
    run = run_server(
        latencies, workload, server, device=device, model=model, dtype=dtype, exits=exits
    )
    return run.metrics
