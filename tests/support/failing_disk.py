"""A disk that fails, or a process that is killed, at a chosen step of writing.

A *step* is a call of a function of ``os`` that changes something below a folder: opening a file for
writing, writing, syncing, moving, making and removing. Everything that the product writes goes
through these functions (`adadecode.profiles.part_file`).

In this process::

    with failing_disk(tmp_path, Fault(at=3, outcome=errno.ENOSPC)):
        write_text(tmp_path / "page.html", text)

In a copy of this process, which may be killed::

    in_child(lambda: write_text(place, text), Fault(at=3, outcome="kill"), below=tmp_path)

In another program, without a word in the product::

    fault = Fault(at=3, outcome="kill")
    subprocess.run(command, env=environment_with(fault, below=tmp_path))

Without a fault the steps are only counted; `steps_of` returns them for a call in this process. For
disks that are really full see `small_disk`.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "ADADECODE_TEST_FAULT"
"""The environment variable that `tests/support/crash_site/sitecustomize.py` reads."""

SITE = Path(__file__).parent / "crash_site"

ROOT = Path(__file__).parents[2]

SIGNALS = {
    "kill": signal.SIGKILL,
    "terminate": signal.SIGTERM,
    "interrupt": signal.SIGINT,
    "stop": signal.SIGSTOP,
}

REMOVING = {"unlink", "rmdir", "ftruncate"}
"""Steps that a full disk allows."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, and when.

    Attributes:
        at: The step before which it happens, counted from 0; of a write, half is done.
        outcome: The number of an error of the operating system, ``kill``, ``terminate``,
            ``interrupt`` or ``stop`` (the signals, to this process itself). An error lasts: all
            later steps fail too, except removing.
        step: The kind of step that is counted: open, write, fsync, replace, rename, mkdir, unlink,
            rmdir, ftruncate or symlink. All where None.
    """

    at: int
    outcome: int | str
    step: str | None = None


class Disk:
    """Counts the steps below a folder, and lets one fail.

    Attributes:
        steps: The steps that were taken: their kind and the file's name.
        before: Called before each step; see `states_of`.
    """

    def __init__(self, below: Path, fault: Fault | None = None, log: Path | None = None) -> None:
        self.below, self.fault, self.log = below.resolve(), fault, log
        self.steps: list[tuple[str, str]] = []
        self.before: Callable[[], None] = lambda: None
        self._counted = 0
        self._paths: dict[int, str] = {}

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of ``os`` that takes a path or a descriptor, made to fail."""
        wrapped = {"open": self._open, "close": self._close, "write": self._write}.get(name)
        return (
            self._simple(name, function)
            if wrapped is None
            else lambda *args, **kwargs: wrapped(function, *args, **kwargs)
        )

    def wrap_builtin(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the built-in ``open``, of which only opening for writing is a step."""

        def opening(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if set(mode) & set("wax+") and self._concerns(file):
                self._step("open", file)
            return function(file, mode, *args, **kwargs)

        return opening

    def _simple(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *args: Any, **kwargs: Any) -> Any:
            if self._concerns(target, kwargs.get("dir_fd")):
                self._step(name, target)
            return function(target, *args, **kwargs)

        return call

    def _open(self, function: Any, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if not self._concerns(path, kwargs.get("dir_fd")):
            return int(function(path, flags, *args, **kwargs))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._step("open", path)
        descriptor = int(function(path, flags, *args, **kwargs))
        self._paths[descriptor] = os.fsdecode(path)
        return descriptor

    def _close(self, function: Callable[[int], None], descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        function(descriptor)

    def _write(self, function: Callable[..., int], descriptor: int, data: Any) -> int:
        if descriptor in self._paths:
            half = bytes(data)[: len(data) // 2]
            self._step("write", descriptor, lambda: function(descriptor, half))
        return function(descriptor, data)

    def _concerns(self, target: Any, folder: int | None = None) -> bool:
        if isinstance(target, int):
            return target in self._paths
        if folder is not None:
            return folder in self._paths
        place = Path(os.fsdecode(target)).absolute()
        place = place.parent.resolve() / place.name
        return place.is_relative_to(self.below)

    def _step(self, name: str, target: Any, half: Callable[[], Any] | None = None) -> None:
        path = Path(self._paths[target] if isinstance(target, int) else os.fsdecode(target))
        self.before()
        self.steps.append((name, path.name))
        if self.log is not None:
            with _open_file(self.log, "a") as log:
                log.write(f"{name} {path.name}\n")
        fault = self.fault
        if fault is None or fault.step not in {None, name}:
            return
        at, self._counted = self._counted, self._counted + 1
        if at < fault.at:
            return
        if at == fault.at and half is not None:
            half()
        if isinstance(fault.outcome, int):
            if at == fault.at or name not in REMOVING:
                raise OSError(fault.outcome, os.strerror(fault.outcome), str(path))
        elif at == fault.at:
            os.kill(os.getpid(), SIGNALS[fault.outcome])


_FUNCTIONS = (
    "open", "close", "write", "fsync", "replace", "rename", "mkdir", "unlink", "remove", "rmdir",
    "ftruncate", "link", "symlink",
)  # fmt: skip

_open_file = open

_forever = ExitStack()
"""Holds what `install_from_environment` began; nobody ends it."""


@contextmanager
def failing_disk(
    below: Path, fault: Fault | None = None, log: Path | None = None
) -> Iterator[Disk]:
    """Let a step below a folder fail in this process; without a fault, count the steps.

    Args:
        below: The folder.
        fault: What goes wrong.
        log: A file that gets a line for each step.
    """
    disk = Disk(below, fault, log)
    before = {name: getattr(os, name) for name in _FUNCTIONS}
    opening = builtins.open
    try:
        for name, function in before.items():
            setattr(os, name, disk.wrap(name, function))
        builtins.open = io.open = disk.wrap_builtin(opening)  # type: ignore[assignment]
        yield disk
    finally:
        for name, function in before.items():
            setattr(os, name, function)
        builtins.open = io.open = opening  # type: ignore[assignment]


def steps_of(below: Path, call: Callable[[], object]) -> list[tuple[str, str]]:
    """Return the steps that a call takes below a folder."""
    with failing_disk(below) as disk:
        call()
    return disk.steps


def in_child(call: Callable[[], object], fault: Fault, *, below: Path) -> int:
    """Run a call in a copy of this process that meets a fault, and return how the copy ended.

    Much quicker than a new process. The call may use no threads and print nothing.

    Returns:
        0 where the call came through, 1 where it raised, and minus the signal that killed it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the copy has none of the threads
        child = os.fork()
    if not child:
        code = 1
        try:
            with failing_disk(below, fault):
                call()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def states_of(below: Path, kept: Path, call: Callable[[], object]) -> list[Path]:
    """Return a copy of a folder as it stood before each step of a call, and after the last one.

    So what a process leaves that is killed there can be looked at without killing one.

    Args:
        below: The folder, which exists.
        kept: Where the copies are put; outside of the folder.
        call: What writes into the folder.
    """
    states: list[Path] = []

    def keep() -> None:
        states.append(kept / str(len(states)))
        shutil.copytree(below, states[-1])

    with failing_disk(below) as disk:
        disk.before = keep
        call()
    keep()
    return states


def environment_with(
    fault: Fault | None, *, below: Path, log: Path | None = None
) -> dict[str, str]:
    """Return the environment in which a Python program meets a fault.

    Args:
        fault: What goes wrong; None only counts.
        below: The folder whose steps are counted.
        log: A file outside of it that gets a line for each step.
    """
    told = {
        "below": str(below),
        "fault": None if fault is None else asdict(fault),
        "log": None if log is None else str(log),
    }
    paths = [str(SITE), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        VARIABLE: json.dumps(told),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def install_from_environment() -> None:
    """Do what `environment_with` asked, for the whole life of this process."""
    told = json.loads(os.environ[VARIABLE])
    fault = None if told["fault"] is None else Fault(**told["fault"])
    log = None if told["log"] is None else Path(told["log"])
    _forever.enter_context(failing_disk(Path(told["below"]), fault, log))


@contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """Mount a disk of a few bytes in memory, which can be filled. Skip the test where one may not.

    Args:
        folder: Where; an empty folder.
        size: As ``mount`` takes it. Less than 1 MiB is refused as full before work begins.
    """
    with _mounted(folder, f"size={size}"):
        yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Make a folder read-only, for root too. Skip the test where one may not."""
    with _mounted(folder, "bind", str(folder)):
        _mount("-o", "remount,bind,ro", str(folder))
        yield folder


@contextmanager
def _mounted(folder: Path, options: str, source: str | None = None) -> Iterator[None]:
    kind = [] if source else ["-t", "tmpfs"]
    _mount(*kind, "-o", options, source or "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    import pytest

    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root may mount a disk")
    done = subprocess.run(["/bin/mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
