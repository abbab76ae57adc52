"""The command line of a GPU run: check the options, then plan or run the stages."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import lock_folder
from scripts.gpu_run.archive import has_volumes, unpack
from scripts.gpu_run.planner import CallLimits, print_plan
from scripts.gpu_run.runner import (
    BUDGET_MINUTES,
    GRACE_S,
    MAX_MINUTES,
    MINUTES,
    PACKING_S,
    START_S,
    run_stage,
    run_stages,
)
from scripts.gpu_run.stages import STAGES
from scripts.gpu_run.state import PAPER_RATES, GpuRun


def option_errors(options: argparse.Namespace, stages: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the options, a sentence each, without making a folder."""
    if unknown := [name for name in stages if name not in STAGES]:
        yield f"no stage {', '.join(unknown)}: there are {', '.join(STAGES)}"
    if not stages:
        yield f"--stage names none: there are {', '.join(STAGES)}"
    yield from _number_errors(options)
    if options.work is None and not options.plan:
        yield "wanted a folder in which everything is kept between calls: --work FOLDER"
    if options.restore and not has_volumes(options.restore):
        yield (
            f"no gpu-run-*.zip in {options.restore}: "
            "--restore names the folder that an earlier call packed into"
        )
    if not (options.source / "manifest.json").is_file():
        yield (
            f"{options.source} is no profile, it holds no manifest.json: "
            "name one with --source, or leave it out"
        )
    if options.wheels and not options.wheels.is_dir():
        yield f"no folder {options.wheels}: --wheels names a folder of wheels"


def _number_errors(options: argparse.Namespace) -> Iterator[str]:
    """Yield what is wrong with the numbers among the options."""
    if not 0 < options.minutes < math.inf:
        yield f"wanted --minutes as a number above 0, got {options.minutes:g}"
    if options.minutes > MAX_MINUTES:
        yield (
            f"wanted --minutes of at most {MAX_MINUTES:g}, got {options.minutes:g}: "
            "a command may take 10 minutes, and starting it takes some of them"
        )
    if not 0 < options.budget < math.inf:
        yield f"wanted --budget as a number of minutes above 0, got {options.budget:g}"
    if not 0 <= options.start_s < math.inf:
        yield f"wanted --start-s as a number of seconds, 0 or more, got {options.start_s:g}"


def folder_errors(folders: Mapping[str, Path]) -> Iterator[str]:
    """Make the folders, given by their options, and yield why one cannot be used, as sentences."""
    for option, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            yield f"cannot make the folder {folder} ({error.strerror}): name another with {option}"
        else:
            if not os.access(folder, os.W_OK):
                yield f"cannot write into {folder}: name another folder with {option}"


def main(arguments: list[str] | None = None) -> int:
    """Run the stages that the command line names.

    Args:
        arguments: Of the command line; by default those of this process.

    Returns:
        0 where every named stage is done, 1 where one is not, 2 where an option is wrong.
    """
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    stages = [name.strip() for name in options.stage.split(",") if name.strip()]
    if error := next(option_errors(options, stages), None):
        return _refuse(error)
    if options.plan:
        print_plan(_limits(options), stages)
        return 0
    run = _gpu_run(options)
    folders = {"--work": run.work, **({"--out": run.out} if "pack" in stages else {})}
    if error := next(folder_errors(folders), None):
        return _refuse(error)
    sys.path.insert(0, str(run.site))
    if options.inside:
        run_stage(run, options.inside)
        return 0
    try:
        with lock_folder(run.work):
            if options.restore:
                unpack(options.restore, run.work)
            states = run_stages(run, stages, given, last=options.last)
    except InputError as error:  # another call is at work there, or there is no room
        return _refuse(str(error))
    if options.out and "pack" not in stages:
        print(f"nothing was packed into {run.out}: the stage pack is not among those named")
    if options.figures:
        from scripts.gpu_run.summary import print_summary

        print_summary(run)
    return 0 if set(states.values()) <= {"done"} else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.gpu_run",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--work", type=Path, help="folder in which everything is kept between calls")
    add("--out", type=Path, help="folder for the zip files of the stage pack [WORK/../packed]")
    add("--stage", default=",".join(STAGES), help="stages to run, in their order [%(default)s]")
    add(
        "--minutes",
        type=float,
        default=MINUTES,
        help="how long this call may take, packing included [%(default)s]",
    )
    add(
        "--source",
        type=Path,
        default=PAPER_RATES,
        help="profile whose decisions the large shapes follow [the paper's rates]",
    )
    add("--wheels", type=Path, help="folder of wheels from which setup installs what is missing")
    add("--restore", type=Path, help="folder of an earlier call's zip files, to resume from")
    add("--device", choices=("cuda", "cpu"), help="[cuda, or cpu with --dry-run]")
    add("--dry-run", action="store_true", help="use tiny shapes and short texts")
    add(
        "--last",
        action="store_true",
        help="no call follows: start only stages that are likely to finish in this one",
    )
    add("--plan", action="store_true", help="print what each call should do, and run nothing")
    add(
        "--budget",
        type=float,
        default=BUDGET_MINUTES,
        help="minutes of all calls together, for --plan [%(default)s]",
    )
    add(
        "--start-s",
        type=float,
        default=START_S,
        help="seconds of them that starting the machine takes before each call [%(default)s]",
    )
    add("--figures", action="store_true", help="print the figures of all stages at the end")
    add("--inside", choices=tuple(STAGES), help=argparse.SUPPRESS)
    return parser


def _limits(options: argparse.Namespace) -> CallLimits:
    return CallLimits(
        call_s=60 * options.minutes,
        kept_s=PACKING_S + GRACE_S,
        budget_s=60 * options.budget,
        start_s=options.start_s,
    )


def _gpu_run(options: argparse.Namespace) -> GpuRun:
    return GpuRun(
        work=options.work.resolve(),
        out=(options.out or options.work.resolve().parent / "packed").resolve(),
        source=options.source.resolve(),
        device=options.device or ("cpu" if options.dry_run else "cuda"),
        dry=options.dry_run,
        wheels=options.wheels.resolve() if options.wheels else None,
        seconds=60 * options.minutes,
    )


def _refuse(error: str) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
