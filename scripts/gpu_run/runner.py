"""Run stages, each in a process of its own that is interrupted when its time is over."""

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

from scripts.gpu_run.stages import STAGES, STAGES_OF_EVERY_CALL
from scripts.gpu_run.state import ROOT, GpuRun, StageFailure, read_result, write_result

MINUTES, MAX_MINUTES = 9.3, 9.6
"""Minutes of a call, by default and at most: under ten together with its start."""
BUDGET_MINUTES = 15.0
"""Minutes of all calls of a GPU run, with the starts of its machines."""
START_S = 90.0
"""Assumed: seconds from asking for a machine to the start of a call, and from the end of the call
until the machine is given back. A later call may get another machine."""
PACKING_S = 20.0
"""Seconds of a call that are kept for packing."""
GRACE_S = 25.0
"""Seconds from an interrupt to a kill: a recording finishes the piece it is working on."""
MIN_SHARE, MIN_SHARE_IN_LAST = 0.5, 0.8
"""Share of a stage's estimate that must be left to start it, and in a call that none follows."""


def run_stage(run: GpuRun, stage: str) -> None:
    """Run a stage in this process, and keep what it found or why it failed."""
    began = time.monotonic()
    known: dict[str, Any]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            known = {"state": "done", "result": STAGES[stage].function(run)}
    except KeyboardInterrupt:
        known = {"state": "unfinished", "error": "interrupted; what was finished is kept"}
    except StageFailure as failure:
        known = {"state": "failed", "error": str(failure), "result": failure.result}
    except BaseException as error:  # noqa: BLE001 - it is written down, and the run goes on
        traceback.print_exc()
        known = {"state": "failed", "error": f"{type(error).__name__}: {error}"}
    known |= {"seconds": time.monotonic() - began, "memory": _peak_memory()}
    write_result(run.work, stage, known)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    """Print a warning, with a traceback where it is given while an exception is handled."""
    print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)
    if sys.exception() is not None:
        traceback.print_exc()


def _peak_memory() -> dict[str, int]:
    """Return the most bytes of the device that torch held in this process; empty without torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def run_stage_process(
    run: GpuRun, stage: str, arguments: list[str], seconds: float
) -> dict[str, Any]:
    """Run a stage in a process of its own, and interrupt it after ``seconds``.

    Args:
        run: The settings of this call.
        stage: The stage's name.
        arguments: The command line of this call, for the new process.
        seconds: When to interrupt it. It is killed `GRACE_S` later.

    Returns:
        What is known of the stage then (see `read_result`).
    """
    log = run.work / "logs" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    (run.work / "results" / f"{stage}.json").unlink(missing_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", "scripts.gpu_run", *arguments, "--inside", stage],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=_environment(run),
        )
        _wait(process, seconds)
    if not read_result(run.work, stage):
        error = "ran out of time; what was finished is kept"
        write_result(run.work, stage, {"state": "unfinished", "seconds": seconds, "error": error})
    return read_result(run.work, stage)


def _environment(run: GpuRun) -> dict[str, str]:
    """Return the environment of a stage: the import path, and caches that outlive the call."""
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(run.site), str(ROOT), str(ROOT / "src"), *([inherited] if inherited else [])]
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(run.compiled / "inductor"),
        "TRITON_CACHE_DIR": str(run.compiled / "triton"),
    }
    threads = {"OMP_NUM_THREADS": "1"} if run.dry else {}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **caches, **threads}


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a process; after ``seconds`` interrupt it, and `GRACE_S` later kill it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def worth_starting(run: GpuRun, stage: str, left_s: float, *, last: bool = False) -> bool:
    """Whether a stage should be started with ``left_s`` seconds left in the call.

    It should with half of its estimate left, or it would only load its model. In the last call,
    with most of it, because none resumes it and estimates err. Packing is always started, and in a
    dry run every stage.
    """
    if stage == "pack":
        return True
    share = MIN_SHARE_IN_LAST if last else MIN_SHARE
    return left_s >= (1.0 if run.dry else STAGES[stage].seconds * share)


def run_stages(
    run: GpuRun, stages: list[str], arguments: list[str], *, last: bool = False
) -> dict[str, str]:
    """Run the named stages that are not done yet, in their order, while there is time.

    Args:
        run: The settings of this call.
        stages: Names of stages.
        arguments: The command line of this call.
        last: Whether no call follows.

    Returns:
        The state of each stage: done, unfinished or failed.
    """
    began = time.monotonic()
    states = {}
    for stage in [name for name in STAGES if name in stages]:
        left_s = run.seconds - (time.monotonic() - began)
        if stage != "pack":
            left_s -= PACKING_S + GRACE_S
        if _is_done(run, stage):
            states[stage] = "done"
            print(f"{stage}: done before")
        elif not worth_starting(run, stage, left_s, last=last):
            states[stage] = "unfinished"
            print(f"{stage}: too little time left in this call")
        else:
            known = run_stage_process(run, stage, arguments, left_s)
            states[stage] = str(known.get("state"))
            importlib.invalidate_caches()  # setup may have installed what estimates need
            seconds, error = known.get("seconds", 0.0), known.get("error", "")
            print(f"{stage}: {known.get('state')} in {seconds:.0f} s {error}".rstrip(), flush=True)
    return states


def _is_done(run: GpuRun, stage: str) -> bool:
    """Whether an earlier call finished a stage that need not be repeated."""
    repeated = stage in (*STAGES_OF_EVERY_CALL, "validate")
    return not repeated and read_result(run.work, stage).get("state") == "done"
