"""``adadecode-sim serve``: many users on one deployment."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from adadecode.profiles.atomic_write import json_bytes, write_together
from adadecode.sim.cli.options.exits import ExitOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.scenario import read_latencies
from adadecode.sim.cli.options.serving import (
    Latency,
    RequestOptions,
    ResultDirectory,
    ServerOptions,
)
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.progress import showing_progress
from adadecode.sim.serving.served_run import ServedRun, run_server
from adadecode.sim.serving.workloads import Workload, arrivals, read_served, read_workload

MANY = 2000
"""Requests from which on progress is shown."""


@takes_option_sets
def serve(
    path: Latency,
    *,
    load: RequestOptions,
    server: ServerOptions,
    exits: ExitOptions,
    out: ResultDirectory = None,
    as_json: Json = False,
) -> None:
    """Serve many users, as vLLM would, or with early exits.

    Gives what requests wait and whether the server keeps up, from the latencies of a model on a
    device; and by how much that misses what a real server measured.
    """
    policy = exits.exits(load.seed or 0)
    load.check(draws_texts=policy is not None)
    exits.check_server(server)
    profile = read_latencies(path)
    workload = _workload(load, server.block_size)
    shows = len(workload.requests) >= MANY and not as_json
    with showing_progress("requests") if shows else nullcontext() as progress:
        run = run_server(
            profile,
            workload,
            server.server(server.replicas, server.routing),
            device=server.to,
            source=server.source,
            model=server.model,
            dtype=server.dtype,
            unequal_contexts=server.unequal_contexts,
            warmup_s=load.warmup_s,
            slo=load.slo,
            against=None if load.against is None else read_served(load.against),
            keep_steps=out is not None,
            exits=policy,
            progress=progress,
        )
    if out is not None:
        _write(out, run)
    if as_json:
        print_json(run.to_json())
        return
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.serving import served_table

    console().print(served_table(run, workload))


def _workload(load: RequestOptions, block_size: int) -> Workload:
    """Return the requests that the user named."""
    if load.arrivals is not None:
        return arrivals(load.arrivals, seed=load.seed)
    assert load.requests is not None
    found = read_workload(load.requests, block_size=block_size)
    if load.sent is None:
        return found
    measured = read_served(load.requests, workload=load.sent, block_size=block_size)
    return replace(found, requests=tuple(one.request for one in measured))


def _write(out: Path, run: ServedRun) -> None:
    """Write figures, requests and steps, all or none."""
    import pandas as pd

    write_together(
        {
            out / "result.json": json_bytes(run.to_json(), indent=1),
            out / "requests.csv": run.metrics.to_frame().to_csv(index=False),
            out / "steps.csv": pd.DataFrame(run.load.steps).to_csv(index=False),
        }
    )
