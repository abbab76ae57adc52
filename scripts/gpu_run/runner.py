"""The command line, and the process that runs each stage in one of its own: what fails is written down, what runs out of time is interrupted and gone on with."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from typing import Any

from scripts.gpu_run.stages import ALWAYS, STAGES
from scripts.gpu_run.state import ROOT, GpuRun, StageFailure, result, tell

MINUTES, MOST_MINUTES = 9.3, 9.6
"""Of a call, by default and at most: under ten with all that is around it."""
BUDGET_MINUTES = 15.0
"""Of a visit, with all that is around its calls."""
AROUND_S = 90.0
"""Assumed: from asking for a machine to a call's beginning, and from its end until the machine is given back; a later call may find another machine."""
PACKING_S = 20.0
"""Kept of the minutes for packing."""
GRACE_S = 25.0
"""From an interrupt to the end: a recording finishes the piece it is at."""


def inside(visit: GpuRun, stage: str) -> None:
    """One stage, in its own process."""
    began = time.monotonic()
    told: dict[str, Any]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show
            told = {"state": "done", "result": STAGES[stage].run(visit)}
    except KeyboardInterrupt:
        told = {"state": "unfinished", "error": "interrupted; what was finished is kept"}
    except StageFailure as wrong:
        told = {"state": "failed", "error": str(wrong), "result": wrong.told}
    except BaseException as error:
        traceback.print_exc()
        told = {"state": "failed", "error": f"{type(error).__name__}: {error}"}
    tell(visit.work, stage, {**told, "seconds": time.monotonic() - began, "memory": _memory()})


def _show(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    """A warning; where it is given for something that failed, with where that came from."""
    print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)
    if sys.exception() is not None:
        traceback.print_exc()


def _memory() -> dict[str, int]:
    """Most bytes of the device that torch held in this process; nothing where it held none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def run(visit: GpuRun, stage: str, arguments: list[str], seconds: float) -> dict[str, Any]:
    """A stage in a process that is interrupted after so many seconds; what is known of it then."""
    log = visit.work / "logs" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    places = [
        str(visit.site),
        str(ROOT),
        str(ROOT / "src"),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(visit.compiled / "inductor"),
        "TRITON_CACHE_DIR": str(visit.compiled / "triton"),
    }
    threads = {"OMP_NUM_THREADS": "1"} if visit.dry else {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), **caches, **threads}
    (visit.work / "results" / f"{stage}.json").unlink(missing_ok=True)
    with log.open("ab") as out:
        command = [sys.executable, "-m", "scripts.gpu_run", *arguments, "--inside", stage]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if not result(visit.work, stage):
        tell(
            visit.work,
            stage,
            {
                "state": "unfinished",
                "seconds": seconds,
                "error": "ran out of time; what was finished is kept",
            },
        )
    return result(visit.work, stage)


def worth_beginning(visit: GpuRun, stage: str, left: float, *, last: bool = False) -> bool:
    """Whether enough of the call is left: half of what the stage should take, or it would only make ready.

    In the last call most of it, since none goes on with it, and estimates err. Packing and a dry run always begin.
    """
    if stage == "pack":
        return True
    return left >= (1.0 if visit.dry else STAGES[stage].seconds * (0.8 if last else 0.5))


def visit_all(
    visit: GpuRun, wanted: list[str], arguments: list[str], *, last: bool = False
) -> dict[str, str]:
    """Run what is wanted and not done before, in order, while there is time; the state of each. last: no call follows."""
    began = time.monotonic()
    states = {}
    for stage in [name for name in STAGES if name in wanted]:
        left = (
            visit.seconds
            - (time.monotonic() - began)
            - (0 if stage == "pack" else PACKING_S + GRACE_S)
        )
        if stage not in (*ALWAYS, "validate") and result(visit.work, stage).get("state") == "done":
            states[stage] = "done"
            print(f"{stage}: done before")
            continue
        if not worth_beginning(visit, stage, left, last=last):
            states[stage] = "unfinished"
            print(f"{stage}: too little time left in this call")
            continue
        told = run(visit, stage, arguments, left)
        states[stage] = str(told.get("state"))
        importlib.invalidate_caches()  # setup may have installed what estimates need
        print(
            f"{stage}: {told.get('state')} in {told.get('seconds', 0.0):.0f} s {told.get('error', '')}".rstrip(),
            flush=True,
        )
    return states
