"""Sweeps: finished ones, and unfinished ones that go on."""

from __future__ import annotations

from scripts.fuzz.interrupted import until_opened
from scripts.fuzz.reader import Reader, command
from scripts.fuzz.readers import profiles
from scripts.fuzz.seals import seal_sweep

SWEEP = (
    *("sweep", "profile", "--gammas", "0.5,0.9", "--heads", "3,7", "--caps", "3,5"),
    *("--objective", "tpot,flops", "--threads", "1", "--out", "sweep", "--json"),
)

TWO_DEVICES = (*SWEEP, "--devices", "l4,t4", "--from", "rtx-3090")


def build_finished() -> None:
    """Write a profile and a sweep of it."""
    profiles.build()
    command(*TWO_DEVICES)()


def build_unfinished() -> None:
    """Write a profile and a sweep that ended before its table was written."""
    profiles.build()
    until_opened("designs.parquet", command(*SWEEP))


FINISHED = Reader(
    name="sweep",
    build=build_finished,
    seal=seal_sweep,
    files=("sweep/**/*",),
    actions={
        "report": command(
            *("report", "sweep", "--out", "page.html", "--markdown", "page.md", "--csv", "csv"),
            outputs=("page.html", "page.md", "csv/*.csv"),
        ),
    },
)

UNFINISHED = Reader(
    name="sweep, resumed",
    build=build_unfinished,
    seal=seal_sweep,
    files=("sweep/**/*",),
    actions={"resume": command(*SWEEP)},
)
