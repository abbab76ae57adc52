"""Every command that writes, on inputs small enough to run it dozens of times."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.fuzz.reader import command
from scripts.fuzz.readers import profiles, vidur
from scripts.fuzz.readers.heads import tiny_heads
from scripts.fuzz.readers.tiny_model import decoded, save_tiny_model, tiny_model

OUT = "out"
"""The folder of all outputs, in the folder of the command."""

OLD = "an older result\n"

_CHANGING = re.compile(
    r"nonce[-=][\"']?[-\w]{20,24}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?|(?<![.\w])[0-9a-f]{16,64}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""What differs between two runs of one command."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that writes.

    Attributes:
        name: What the table calls it.
        build: Writes its inputs into the current folder.
        act: Runs it in the current folder. Its output goes into `OUT`.
        files: The files that it writes, where an older one is replaced; none for a folder.
        place: The output that it is told to write: the first file, or the folder.
        read: Returns the result as text that is the same for every whole run, and raises for one
            that is not whole.
        again: Runs it again after it was stopped; by default as before.
        warm: Whether it can be run in the process that forks the others. After a backward pass
            torch trains in no forked process.
    """

    name: str
    build: Callable[[], object]
    act: Callable[[], object]
    place: str
    read: Callable[[], str]
    files: Sequence[str] = ()
    again: Callable[[], object] | None = None
    warm: bool = True


def _sim(*arguments: str) -> Callable[[], None]:
    def act() -> None:
        from adadecode.sim.cli.app import main

        main(list(arguments))

    return act


def _engine(entry: str, *arguments: str) -> Callable[[], None]:
    def act() -> None:
        from adadecode.engine.cli import entry_points

        sys.argv = [f"adadecode-{entry}", *arguments]
        getattr(entry_points, f"{entry}_main")()

    return act


def _texts(*names: str) -> Callable[[], str]:
    """Return the reader of files that are compared as texts."""
    return lambda: "".join(_CHANGING.sub("#", Path(name).read_text()) for name in names)


def _read_profile(*tables: str) -> Callable[[], str]:
    """Return the reader of a profile, by tables that are the same in every run.

    Digests of prompts are not: each recording has a salt of its own.
    """

    def read() -> str:
        from adadecode.profiles import read_profile

        found = read_profile(f"{OUT}/p")
        frames = (getattr(found, name) for name in tables)
        return "".join(one.drop(columns="sha256", errors="ignore").to_csv() for one in frames)

    return read


def _read_sweep() -> str:
    from adadecode.sim.sweep.store import read_sweep

    return str(read_sweep(f"{OUT}/s").designs.to_csv())


def _read_heads() -> str:
    from adadecode.engine import ExitHeads

    heads = ExitHeads.load(f"{OUT}/heads", tiny_model()[0])
    if not json.loads(Path(f"{OUT}/heads/train.json").read_text())["finished"]:
        raise ValueError("the run is not finished")
    matrices = heads.transforms.items()
    return str({depth: None if matrix is None else matrix.tolist() for depth, matrix in matrices})


def _read_device() -> str:
    from adadecode.profiles.catalog.devices import find_device

    find_device(f"{OUT}/device.toml:mine")
    return str(sorted(tomllib.loads(Path(f"{OUT}/device.toml").read_text())["mine"]))


def _read_flips() -> str:
    document = json.loads(Path(f"{OUT}/flips.json").read_text())
    return str([(row["design"], row["flips"], row["tokens"]) for row in document["designs"]])


def _profile() -> None:
    profiles.build()


def _sweep_to_report() -> None:
    profiles.build()
    command("sweep", "profile", *("--gammas", "0.5", "--heads", "3", "--caps", "3", "--out", "s"))()


def _model() -> None:
    """Write a tiny model, prompts and heads."""
    save_tiny_model(Path("model"))
    tiny_heads().save("heads")
    lines = [{"prompt": f"w{i} w{i + 1} w{2 * i}"} for i in (10, 12, 14, 16)]
    Path("prompts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    decoded(tiny_model()[0])


_TINY = ("--model", "model", "--prompts", "prompts.jsonl")
_RECORDING = (
    *(*_TINY, "--heads", "heads", "--limit", "2", "--max-new-tokens", "4", "--gammas", "0.02"),
    *("--placements", "2", "--fixed-drafts", "2", "--cap", "2", "--repeats", "1", "--samples", "1"),
    *("--contexts", "3,9", "--out", f"{OUT}/p"),
)
_SWEEP = ("sweep", "profile", "--gammas", "0.5,0.9", "--heads", "3,7", "--caps", "3")
_PAGES = (f"{OUT}/page.html", f"{OUT}/page.md", f"{OUT}/csv/designs.csv")
_PLAN = (f"{OUT}/plan/plan.json", f"{OUT}/plan/trials.csv")
_TRACES = (f"{OUT}/trace.json", f"{OUT}/trace.svg", f"{OUT}/trace.html")

SIMULATOR = (
    Command(
        name="sim report",
        build=_sweep_to_report,
        act=_sim(
            *("report", "s", "--out", _PAGES[0], "--markdown", _PAGES[1], "--csv", f"{OUT}/csv")
        ),
        place=_PAGES[0],
        files=_PAGES,
        read=_texts(*_PAGES[1:]),
    ),
    Command(
        name="sim plan",
        build=lambda: None,
        act=_sim(
            *("plan", "datasheet", "--model", "llama-2-7b", "--devices", "a100-80gb-sxm"),
            *("--arrivals", "poisson:5,count=4,prompt=20,output=3", "--slo", "ttft_p99=9s"),
            *("--seeds", "1", "--out", f"{OUT}/plan"),
        ),
        place=f"{OUT}/plan",
        files=_PLAN,
        read=_texts(*_PLAN),
    ),
    Command(
        name="sim timeline",
        build=_profile,
        act=_sim(
            *("timeline", "profile", "--gamma", "0.5", "--out", _TRACES[0]),
            *("--svg", _TRACES[1], "--html", _TRACES[2]),
        ),
        place=_TRACES[0],
        files=_TRACES,
        read=_texts(*_TRACES),
    ),
    Command(
        name="sim sweep",
        build=_profile,
        act=_sim(*_SWEEP, "--threads", "1", "--out", f"{OUT}/s"),
        place=f"{OUT}/s",
        read=_read_sweep,
    ),
    Command(
        name="sim sweep (optuna)",
        build=_profile,
        act=_sim(
            *(*_SWEEP, "--threads", "1", "--method", "optuna", "--trials", "5", "--out"),
            f"{OUT}/s",
        ),
        place=f"{OUT}/s",
        read=_read_sweep,
    ),
    Command(
        name="sim synthesize",
        build=lambda: None,
        act=_sim(
            *("synthesize", "--layers", "12", "--depths", "4,8", "--agreement", "0.6,0.8"),
            *("--prompts", "1", "--prompt-tokens", "4", "--tokens", "8", "--out", f"{OUT}/p"),
        ),
        place=f"{OUT}/p",
        read=_read_profile("prompts", "trace"),
    ),
    Command(
        name="sim import vidur",
        build=vidur.VIDUR.build,
        act=_sim(
            *("import", "vidur", "mlp.csv", "--model", "llama-2-7b", "--device"),
            *("a100-80gb-sxm", "--out", f"{OUT}/p"),
        ),
        place=f"{OUT}/p",
        read=_read_profile("latency"),
    ),
    Command(
        name="sim share",
        build=_profile,
        act=_sim("share", "profile", "--out", f"{OUT}/p"),
        place=f"{OUT}/p",
        read=_read_profile("latency", "runs"),
    ),
)

ENGINE = (
    Command(
        name="adadecode-profile",
        build=_model,
        act=_engine("profile", *_RECORDING),
        again=lambda: _again(_RECORDING),
        place=f"{OUT}/p",
        read=_read_profile("prompts", "trace", "rounds"),
    ),
    Command(
        name="adadecode-train",
        build=_model,
        act=_engine(
            "train",
            *(*_TINY, "--depths", "2,4", "--max-new-tokens", "4", "--epochs", "2"),
            *("--batch-tokens", "8", "--held-out", "0.3", "--out", f"{OUT}/heads"),
        ),
        place=f"{OUT}/heads",
        read=_read_heads,
        warm=False,
    ),
    Command(
        name="adadecode-device",
        build=lambda: None,
        act=_engine(
            "device",
            *("--name", "mine", "--device", "cpu", "--repeats", "1", "--array-mib", "1"),
            *("--matrix", "64", "--bandwidth", "300e9", "--peak-fp32", "9e12"),
            *("--memory-gib", "16", "--tdp-w", "100", "--datasheet", "made up"),
            *("--out", f"{OUT}/device.toml"),
        ),
        place=f"{OUT}/device.toml",
        read=_read_device,
    ),
    Command(
        name="adadecode-flips",
        build=_model,
        act=_engine(
            "flips",
            *(*_TINY, "--heads", "heads", "--max-new-tokens", "4", "--gammas", "0.02"),
            *("--placements", "2", "--batches", "2", "--out", f"{OUT}/flips.json"),
        ),
        place=f"{OUT}/flips.json",
        files=(f"{OUT}/flips.json",),
        read=_read_flips,
    ),
)


def _again(recording: Sequence[str]) -> None:
    """Go on with a recording that has begun, or begin it."""
    begun = Path(f"{OUT}/p/recording.json").exists()
    _engine("profile", *recording, *(("--resume",) if begun else ()))()


COMMANDS = {one.name: one for one in (*SIMULATOR, *ENGINE)}
