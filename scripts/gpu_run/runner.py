"""The command line, and the process that runs each stage in one of its own: what fails is written down, what runs out of time is interrupted and gone on with."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.gpu_run.archive import unpack
from scripts.gpu_run.stages import ALWAYS, STAGES, Limits, calls
from scripts.gpu_run.state import DECISIONS, ROOT, Found, Visit, result, tell

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


def inside(visit: Visit, stage: str) -> None:
    """One stage, in its own process."""
    began = time.monotonic()
    told: dict[str, Any]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show
            told = {"state": "done", "result": STAGES[stage].run(visit)}
    except KeyboardInterrupt:
        told = {"state": "unfinished", "error": "interrupted; what was finished is kept"}
    except Found as wrong:
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


def run(visit: Visit, stage: str, arguments: list[str], seconds: float) -> dict[str, Any]:
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


def worth_beginning(visit: Visit, stage: str, left: float, *, last: bool = False) -> bool:
    """Whether enough of the call is left: half of what the stage should take, or it would only make ready.

    In the last call most of it, since none goes on with it, and estimates err. Packing and a dry run always begin.
    """
    if stage == "pack":
        return True
    return left >= (1.0 if visit.dry else STAGES[stage].seconds * (0.8 if last else 0.5))


def visit_all(
    visit: Visit, wanted: list[str], arguments: list[str], *, last: bool = False
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


def plan(limits: Limits, wanted: list[str]) -> None:
    """Print which of what is wanted each call should do, with the options that say so, and what does not fit: estimates. What is left over lengthens the calls."""
    planned, unplanned = calls(limits, wanted)
    took = [limits.kept_s + sum(STAGES[name].seconds for name in stages) for stages in planned]
    spare = (limits.budget_s - sum(took)) / max(1, len(planned)) - limits.start_s
    around = f"{limits.start_s:g} s of them around each call, {limits.kept_s:g} s kept within it"
    print(f"{limits.budget_s / 60:g} minutes, {around}; estimated seconds:")
    for number, (stages, seconds) in enumerate(zip(planned, took, strict=True), 1):
        minutes = math.floor(100 * min(limits.call_s, seconds + spare) / 60) / 100
        last = " --last" if number == len(planned) else ""
        print(f"call {number}: --stage {','.join(stages)} --minutes {minutes:g}{last}")
        print(f"  {', '.join(map(_estimated, stages))}; {seconds / 60:.1f} minutes in all")
    if unplanned:
        most = (
            limits.call_s
            - limits.kept_s
            - sum(STAGES[name].seconds for name in ALWAYS if name in wanted)
        )
        said = [
            f"{_estimated(name)}{' (longer than a call)' * (STAGES[name].seconds > most)}"
            for name in unplanned
        ]
        print(f"not in these minutes: {', '.join(said)}")


def _estimated(stage: str) -> str:
    return f"{stage} {STAGES[stage].seconds:.0f}"


def refused(chosen: argparse.Namespace, wanted: list[str]) -> Iterator[str]:
    """What is wrong with the options, in a sentence each; makes no folder."""
    if unknown := [name for name in wanted if name not in STAGES]:
        yield f"no stage {', '.join(unknown)}: there are {', '.join(STAGES)}"
    if not wanted:
        yield f"--stage names none: there are {', '.join(STAGES)}"
    yield from _absurd(chosen)
    if chosen.work is None and not chosen.plan:
        yield "wanted a folder in which everything is kept between calls: --work FOLDER"
    if chosen.restore and not any(chosen.restore.glob("visit-*.zip")):
        yield f"no visit-*.zip in {chosen.restore}: --restore names the folder that an earlier call packed into"
    if not (chosen.source / "manifest.json").is_file():
        yield f"{chosen.source} is no profile, it holds no manifest.json: name one with --source, or leave it out"
    if chosen.wheels and not chosen.wheels.is_dir():
        yield f"no folder {chosen.wheels}: --wheels names a folder of wheels"


def _absurd(chosen: argparse.Namespace) -> Iterator[str]:
    """What is wrong with the numbers among the options."""
    if not 0 < chosen.minutes < math.inf:
        yield f"wanted --minutes as a number above 0, got {chosen.minutes:g}"
    if chosen.minutes > MOST_MINUTES:
        yield f"wanted --minutes of at most {MOST_MINUTES:g}, got {chosen.minutes:g}: a command may take 10, with all that is around it"
    if not 0 < chosen.budget < math.inf:
        yield f"wanted --budget as a number of minutes above 0, got {chosen.budget:g}"
    if not 0 <= chosen.start_s < math.inf:
        yield f"wanted --start-s as a number of seconds, 0 or more, got {chosen.start_s:g}"


def unmade(folders: Mapping[str, Path]) -> Iterator[str]:
    """Make the folders, each by its option; what is wrong with one, in a sentence."""
    for option, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            yield f"cannot make the folder {folder} ({error.strerror}): name another with {option}"
        else:
            if not os.access(folder, os.W_OK):
                yield f"cannot write into {folder}: name another folder with {option}"


def _refuse(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 2


def main(arguments: list[str] | None = None) -> int:
    """0 where every stage asked for is done, 1 where one is not, 2 where an option is wrong."""
    about = sys.modules["__main__"].__doc__
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, help="where everything is kept between calls; --plan needs none"
    )
    parser.add_argument("--out", type=Path, help="where pack puts its zip files [WORK/../packed]")
    parser.add_argument(
        "--stage", default=",".join(STAGES), help="comma list, in this order: %(default)s"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        help="of this call, packing included [%(default)s]",
    )
    parser.add_argument(
        "--source",
        type=Path,
        default=DECISIONS,
        help="profile whose decisions the shapes follow [the paper's rates]",
    )
    parser.add_argument("--wheels", type=Path, help="folder of wheels, for what is missing")
    parser.add_argument(
        "--restore", type=Path, help="folder of an earlier call's zip files, to go on from"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), help="cuda, or cpu with --dry-run")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes and short texts")
    parser.add_argument(
        "--last",
        action="store_true",
        help="no call follows: begin only what should about be finished in this one",
    )
    parser.add_argument(
        "--plan", action="store_true", help="print what each call should do, and do nothing"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_MINUTES,
        help="minutes of all calls that --plan plans [%(default)s]",
    )
    parser.add_argument(
        "--start-s",
        type=float,
        default=AROUND_S,
        help="seconds of these around each call [%(default)s]",
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="print the figures of what was validated, after everything else",
    )
    parser.add_argument("--inside", choices=tuple(STAGES), help=argparse.SUPPRESS)
    given = sys.argv[1:] if arguments is None else arguments
    chosen = parser.parse_args(given)
    wanted = [name.strip() for name in chosen.stage.split(",") if name.strip()]
    if why := next(refused(chosen, wanted), None):
        return _refuse(why)
    if chosen.plan:
        limits = Limits(
            call_s=60 * chosen.minutes,
            kept_s=PACKING_S + GRACE_S,
            budget_s=60 * chosen.budget,
            start_s=chosen.start_s,
        )
        plan(limits, wanted)
        return 0
    visit = Visit(
        work=chosen.work.resolve(),
        out=(chosen.out or chosen.work.resolve().parent / "packed").resolve(),
        source=chosen.source.resolve(),
        device=chosen.device or ("cpu" if chosen.dry_run else "cuda"),
        dry=chosen.dry_run,
        wheels=chosen.wheels.resolve() if chosen.wheels else None,
        seconds=60 * chosen.minutes,
    )
    folders = {"--work": visit.work, **({"--out": visit.out} if "pack" in wanted else {})}
    if why := next(unmade(folders), None):
        return _refuse(why)
    sys.path.insert(0, str(visit.site))
    if chosen.inside:
        inside(visit, chosen.inside)
        return 0
    if chosen.restore:
        unpack(chosen.restore, visit.work)
    states = visit_all(visit, wanted, given, last=chosen.last)
    if chosen.out and "pack" not in wanted:
        print(f"nothing was packed into {visit.out}: the stage pack is not among those chosen")
    if chosen.figures:
        from scripts.gpu_run.summary import show

        show(visit)
    return 0 if set(states.values()) <= {"done"} else 1
