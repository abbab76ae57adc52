"""Time the simulation of servers: a real trace, ever more requests, and a plan for two traces.

Each part runs in a process of its own, whose peak of memory is noted.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim
from adadecode.sim.serving.latency.found_steps import StepsWanted, find_steps
from adadecode.sim.serving.metrics import Slo, measure
from adadecode.sim.serving.planning.find_candidate import find_candidate
from adadecode.sim.serving.planning.plan import Plan, plan
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.served_run import Server
from adadecode.sim.serving.server import serve
from adadecode.sim.serving.workloads import Workload, arrivals, read_workload
from benchmarks.harness import make_table, write_result

DATA = Path("../shared/data")
CARD = "llmservingsim/RTX4090/Llama-3.1-8B"
TRACES = {
    "conversation": "azure/AzureLLMInferenceTrace_conv.csv",
    "code": "azure/AzureLLMInferenceTrace_code.csv",
}
REPLICAS, BLOCKS = 4, 2588
COUNTS = (1_000, 10_000, 100_000, 1_000_000)
"""Requests that are drawn; the last one takes a quarter of an hour, and is left out by default."""

DEVICES = ("a100-80gb-sxm", "h100-sxm", "rtx-4090")
MODEL = "llama-3.1-8b"
OBJECTIVES = "ttft_p99=2s,tpot_p99=60ms"


def served(data: Path, count: int | None) -> dict[str, Any]:
    """Serve the conversations of the trace on several servers.

    Args:
        data: The published files.
        count: How many requests to draw with its lengths and its mean rate; None for itself.
    """
    trace = read_workload(data / TRACES["conversation"])
    requests: Sequence[Request] = trace.requests
    if count is not None:
        spec = f"poisson:{trace.rate},count={count},lengths={data / TRACES['conversation']}"
        requests = arrivals(spec, seed=1).requests
    with tempfile.TemporaryDirectory() as folder:
        profile = import_llmservingsim(data / CARD, Path(folder) / "p")
    price = find_steps(profile, StepsWanted(context=1, prompt=1, tokens=1)).price
    settings = ServerSettings(kv_blocks=BLOCKS)
    before = _peak()
    began = time.perf_counter()
    found = serve(requests, settings, price, replicas=REPLICAS, routing="least-loaded")
    simulated = time.perf_counter()
    after = _peak()
    metrics = measure(found.served, use=found.use)
    return {
        "requests": len(requests),
        "tokens": sum(one.n_output for one in requests),
        "steps": found.n_steps,
        "seconds": simulated - began,
        "figures_seconds": time.perf_counter() - simulated,
        "bytes": after - before,
        "figures_bytes": _peak() - before,
        "ttft_p99_s": metrics.ttft_s.p99,
        "verdict": str(metrics.judgement.verdict),
    }


def planned(data: Path, trace: str, processes: int) -> dict[str, Any]:
    """Plan a trace on several devices."""
    workload = read_workload(data / TRACES[trace])
    found = plan_of(workload, processes)
    return {
        "requests": len(workload.requests),
        "deployments": [
            {
                "device": one.candidate.name,
                "meets": one.meets,
                "replicas": one.trial.replicas,
                "binds": None if one.binds is None else str(one.binds),
                "trials": len(one.sizing.trials),
            }
            for one in found.deployments
        ],
    }


def plan_of(workload: Workload, processes: int) -> Plan:
    """Return the fewest servers of each device for a recorded load."""
    requests = workload.requests
    wanted = [
        StepsWanted(
            device=device,
            model=MODEL,
            context=max(one.n_prompt + one.n_output for one in requests),
            prompt=max(one.n_prompt for one in requests),
            tokens=2048,
        )
        for device in DEVICES
    ]
    candidates = [find_candidate(None, one, Server(), {}, requests) for one in wanted]
    slo = Slo.parse(OBJECTIVES)
    return plan(candidates, lambda _: workload, slo, recorded=True, processes=processes)


def _peak() -> int:
    """Return the most bytes that this process has held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _apart(work: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """Do some work in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(arguments: list[str] | None = None) -> None:
    """Time, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="published traces and kernels")
    parser.add_argument("--most", type=int, default=COUNTS[-2], help="most requests to draw")
    parser.add_argument("--processes", type=int, default=2, help="processes of a plan")
    typed = parser.parse_args(arguments)
    result: dict[str, Any] = {
        "replicas": REPLICAS,
        "kv_blocks": BLOCKS,
        "trace": _apart(served, typed.data, None),
        "drawn": [],
        "objectives": OBJECTIVES,
        "processes": typed.processes,
        "plans": {},
    }
    console = Console()
    for name in TRACES:
        began = time.perf_counter()
        found = planned(typed.data, name, typed.processes)
        result["plans"][name] = {**found, "seconds": time.perf_counter() - began}
        console.print(name, result["plans"][name])
    # What is there is kept: the largest load takes a quarter of an hour.
    write_result("serving_scale", result)
    for count in COUNTS:
        if count <= typed.most:
            result["drawn"].append(_apart(served, typed.data, count))
            write_result("serving_scale", result)
    table = make_table(None, "requests", "tokens", "steps", "seconds", "MB")
    for row in (result["trace"], *result["drawn"]):
        table.add_row(
            *(f"{row[one]:,}" for one in ("requests", "tokens", "steps")),
            f"{row['seconds']:.1f}",
            f"{row['bytes'] / 1e6:,.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
