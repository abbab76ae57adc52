"""One command with its inputs, run again and again under failures."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.child import Child, Ended, run
from tests.crash.commands import OLD, OUT, Command
from tests.crash.verdict import BAD, Verdict
from tests.support.failing_disk import Fault, failing_disk


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where a command is run.

    Attributes:
        command: The command.
        folder: An empty folder, for the inputs and each run.
        answer: What the result of a whole run reads as.
        steps: How many steps of writing a run takes.
        ends: How the runs ended, the latest last.
    """

    command: Command
    folder: Path
    answer: str
    steps: int
    ends: list[Ended] = field(default_factory=list)

    @classmethod
    def of(cls, command: Command, folder: Path) -> Bench:
        """Build the inputs, and run the command without a failure.

        Raises:
            RuntimeError: If that does not end well.
        """
        (folder / "inputs").mkdir(parents=True)
        bench = cls(command=command, folder=folder, answer="", steps=0)
        _inside(folder / "inputs", command.build)
        if command.warm:
            bench.renew()
            _inside(bench.place, lambda: _quietly(command.act))
        bench.renew()
        log = folder / "steps"
        ended = run(lambda: bench.counted(log), bench.place, folder / "said")
        if ended.code != 0:
            raise RuntimeError(f"{command.name} ended with {ended}")
        answer = bench.reading()
        assert answer is not None, f"{command.name}: its own result is refused"
        return cls(
            command=command,
            folder=folder,
            answer=answer,
            steps=len(log.read_text().splitlines()),
        )

    @property
    def place(self) -> Path:
        """The folder of a run."""
        return self.folder / "run"

    @property
    def out(self) -> Path:
        """The folder of its outputs."""
        return self.place / OUT

    def renew(self, *, older: bool = False) -> None:
        """Lay out the inputs, and where ``older`` is set the files of an older result."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.folder / "inputs", self.place)
        self.out.mkdir()
        for name in self.command.files if older else ():
            path = self.place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(OLD)

    def counted(self, log: Path) -> None:
        """Run the command, with a line in a log for each step of writing."""
        with failing_disk(self.out, log=log):
            self.command.act()

    def failing(self, fault: Fault) -> Callable[[], None]:
        """Return a function that runs the command while a step of writing fails."""

        def act() -> None:
            with failing_disk(self.out, fault):
                self.command.act()

        return act

    def start(self, act: Callable[[], object]) -> Child:
        """Start a function in the folder of the run."""
        return Child(act, self.place, self.folder / f"said-{os.urandom(4).hex()}")

    def run(self, act: Callable[[], object]) -> Ended:
        """Run a function in the folder of the run until it ends."""
        self.ends.append(self.start(act).wait())
        return self.ends[-1]

    def reading(self) -> str | None:
        """Return what the result reads as, in a process of its own; None where it is refused."""
        kept = self.folder / "reading"
        kept.unlink(missing_ok=True)
        run(lambda: kept.write_text(self.command.read()), self.place, self.folder / "read")
        return kept.read_text() if kept.exists() else None

    def verdict(self, ended: Ended, *, older: bool) -> Verdict:
        """Judge what a run that failed left behind; the next call is tried too.

        Args:
            ended: How the run ended.
            older: Whether the files of an older result were there.
        """
        if ended.fault:
            return ended.fault
        left = self._left(older=older)
        if left in BAD:
            return left
        again = self.run(self.command.again or self.command.act)
        if again.fault:
            return again.fault
        if self.reading() != self.answer:
            return Verdict.STUCK
        if left == Verdict.AGAIN and ended.refused:
            return Verdict.REFUSED
        return left

    def _left(self, *, older: bool) -> Verdict:
        """Return what is there: older files, new ones, or neither."""
        if older:
            texts = [
                path.read_text(errors="replace") if path.is_file() else None
                for path in (self.place / name for name in self.command.files)
            ]
            if None in texts:
                return Verdict.LOST
            if all(text == OLD for text in texts):
                return Verdict.OLD
        found = self.reading()
        if found == self.answer:
            return Verdict.NEW
        if older and self._each_whole():
            return Verdict.AGAIN
        return Verdict.AGAIN if found is None else Verdict.HALF

    def _each_whole(self) -> bool:
        """Return whether each file is an older or a new one, whole; several are moved in turn."""
        self._keep_new()
        new = self.folder / "new"
        for name in self.command.files:
            text = (self.place / name).read_text(errors="replace")
            whole = (new / name).read_text(errors="replace")
            if text != OLD and len(text) != len(whole):
                return False
        return True

    def _keep_new(self) -> None:
        """Keep the files of a whole run, once."""
        if (self.folder / "new").exists():
            return
        mine = self.place.rename(self.folder / "mine")
        self.renew()
        self.run(self.command.act)
        self.place.rename(self.folder / "new")
        mine.rename(self.place)


def _inside(folder: Path, act: Callable[[], object]) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        act()
    finally:
        os.chdir(before)


def _quietly(act: Callable[[], object]) -> None:
    """Run a command in this process, so that those forked from it need not load what it needs."""
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        try:
            act()
        except SystemExit as exit_:
            if exit_.code:
                raise RuntimeError(silence.getvalue()) from None
