"""The command line of a GPU run: check the options, then plan or run the stages."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.gpu_run.archive import unpack
from scripts.gpu_run.planner import CallLimits, plan
from scripts.gpu_run.runner import (
    AROUND_S,
    BUDGET_MINUTES,
    GRACE_S,
    MINUTES,
    MOST_MINUTES,
    PACKING_S,
    inside,
    visit_all,
)
from scripts.gpu_run.stages import STAGES
from scripts.gpu_run.state import DECISIONS, GpuRun


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
        limits = CallLimits(
            call_s=60 * chosen.minutes,
            kept_s=PACKING_S + GRACE_S,
            budget_s=60 * chosen.budget,
            start_s=chosen.start_s,
        )
        plan(limits, wanted)
        return 0
    visit = GpuRun(
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
