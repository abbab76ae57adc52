"""The failures that every command meets, each a function of its bench that returns a verdict."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

import pytest

from tests.crash.bench import Bench
from tests.crash.commands import OLD
from tests.crash.verdict import Verdict
from tests.support import failing_disk
from tests.support.failing_disk import Fault

MOMENTS = 10
"""At how many moments a command is killed, evenly among its steps of writing."""

FULL_AT = (0.0, 0.4, 0.9)
"""When the disk is full, as shares of the steps of writing."""


def killed(bench: Bench, moment: int) -> Verdict:
    """End the command without a warning before one of its steps."""
    older = bool(bench.command.files)
    bench.renew(older=older)
    at = int((moment + 0.5) * bench.steps / MOMENTS)
    ended = bench.run(bench.failing(Fault(at=at, outcome="kill")))
    assert ended.code in {-signal.SIGKILL, 0, None}, ended
    return bench.verdict(ended, older=older)


def full(bench: Bench, share: float) -> Verdict:
    """Let the disk be full from a step on."""
    older = bool(bench.command.files)
    bench.renew(older=older)
    at = int(share * bench.steps)
    ended = bench.run(bench.failing(Fault(at=at, outcome=errno.ENOSPC)))
    return bench.verdict(ended, older=older)


def read_only(bench: Bench) -> Verdict:
    """Let nothing be written where the output is to be, for root too."""
    older = bool(bench.command.files)
    bench.renew(older=older)
    try:
        with failing_disk.read_only(bench.out):
            ended = bench.run(bench.command.act)
    except pytest.skip.Exception:  # only root may
        return Verdict.UNTRIED
    return bench.verdict(ended, older=older)


def second(bench: Bench) -> Verdict:
    """Start the command a second time while the first one is stopped in its middle."""
    bench.renew()
    first = bench.start(bench.failing(Fault(at=bench.steps // 2, outcome="stop")))
    stopped = first.wait_until_stopped()
    try:
        other = bench.run(bench.command.act)
    finally:
        if stopped:
            first.go_on()
    ended = first.wait() if stopped else other
    verdict = bench.verdict(other, older=False)
    if verdict in {Verdict.TRACEBACK, Verdict.HANG} or ended.fault:
        return ended.fault or verdict
    return Verdict.REFUSED if other.refused or ended.refused else verdict


def pipe(bench: Bench) -> Verdict:
    """Put a pipe in the place of the output."""
    bench.renew()
    place = bench.place / bench.command.place
    os.mkfifo(place)
    ended = bench.run(bench.command.act)
    place.unlink(missing_ok=True)
    return bench.verdict(ended, older=False)


def link(bench: Bench) -> Verdict:
    """Put a link to an older result elsewhere in the place of the output."""
    bench.renew()
    place = bench.place / bench.command.place
    elsewhere = bench.place / "elsewhere"
    is_file = bool(place.suffix)
    if is_file:
        elsewhere.write_text(OLD)
    else:
        elsewhere.mkdir()
    place.symlink_to(elsewhere)
    ended = bench.run(bench.command.act)
    if is_file and elsewhere.read_text() != OLD:
        return Verdict.THROUGH
    if not is_file and ended.code == 0 and bench.reading() == bench.answer:
        return Verdict.NEW  # a link to a folder names the folder
    if place.is_symlink():
        place.unlink()
    return bench.verdict(ended, older=False)


FAILURES: dict[str, Callable[[Bench], Verdict]] = {
    **{
        f"kill {moment + 1}": (lambda bench, moment=moment: killed(bench, moment))
        for moment in range(MOMENTS)
    },
    **{
        f"full at {share:.0%}": (lambda bench, share=share: full(bench, share)) for share in FULL_AT
    },
    "read-only": read_only,
    "second": second,
    "pipe": pipe,
    "link": link,
}
