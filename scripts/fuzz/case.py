"""Run one case in a process of its own, with limits on time and memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.fuzz import mutations, outcome
from scripts.fuzz.outcome import End, Outcome
from scripts.fuzz.reader import Obeyed, Reader, Refused
from scripts.fuzz.recipe import Recipe

CPU_S = 8
"""Seconds of computing after which a case hangs."""

ASLEEP_S = 4.0
"""Seconds without computing after which a case hangs."""

ADDRESSES = 4 * 2**30
"""Bytes of addresses that a case may reserve."""

MEMORY = 2**30
"""Bytes that a case may take."""

_DIGEST = re.compile(
    r"(?<![.\w])(?=[0-9]*[a-f])[0-9a-f]{16,64}\b|(?<=nonce[-=])[\"']?[-\w]{20,24}"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?"
)

_PACKAGE = re.compile(r'File ".*/(?:profiles|sim|engine)/(\S+)", line \d+, in (\S+)')


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the cases of a reader are run.

    Attributes:
        reader: The reader.
        pristine: The folder with its files as they were built.
        place: The folder of the case, made anew for each.
        answers: What is known of the answers to the unchanged files, by action.
    """

    reader: Reader
    pristine: Path
    place: Path
    answers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reader: Reader, folder: Path) -> Bench:
        """Build a reader's files."""
        bench = cls(reader=reader, pristine=folder / "pristine", place=folder / "case")
        bench.pristine.mkdir(parents=True)
        _inside(bench.pristine, reader.build)
        return bench

    def answer(self, name: str) -> str:
        """Return what an action answers to the unchanged files, found where it is first asked for.

        Raises:
            RuntimeError: If it refuses the files as they were built, or answers in two ways.
        """
        if name not in self.answers:
            self.renew()
            warmed = _inside(self.place, self.reader.warm or self.reader.actions[name])
            self.renew()
            found = self.answers[name] = _answer_of(self, name)
            if self.reader.warm is None and (first := normal(str(warmed))) != found:
                raise RuntimeError(f"{self.reader.name}, {name}: {difference(first, found)}")
        return self.answers[name]

    def renew(self) -> None:
        """Put the unchanged files into the folder of the case."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.pristine, self.place)

    def run(self, recipe: Recipe) -> tuple[Recipe, Outcome]:
        """Run a recipe.

        Returns:
            The recipe with those of its changes that could be made, and what it came to:
            `End.SAME` where there was none.
        """
        action, expected = self.reader.actions[recipe.action], self.answer(recipe.action)
        self.renew()
        made = tuple(one for one in recipe.mutations if mutations.apply(one, self.place))
        recipe = replace(recipe, mutations=made)
        if not made:
            return recipe, Outcome(end=End.SAME)
        if recipe.sealed and self.reader.seal is not None:
            _inside(self.place, self.reader.seal)
        return recipe, _forked(lambda: _judged(action, expected), self.place)


def _inside(folder: Path, act: Callable[[], object]) -> object:
    """Return what a function returns that is called in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return act()
    finally:
        os.chdir(before)


def _answer_of(bench: Bench, name: str) -> str:
    """Return the answer to the unchanged files, found in a process of its own."""
    action, kept = bench.reader.actions[name], bench.place / ".answer"

    def keep() -> Outcome:
        kept.write_text(normal(action()), encoding="utf-8", errors="surrogateescape")
        return Outcome(end=End.SAME)

    found = _forked(keep, bench.place)
    if found.end != End.SAME:
        raise RuntimeError(f"{bench.reader.name}, {name}: {found}")
    return kept.read_text(encoding="utf-8", errors="surrogateescape")


def normal(answer: str) -> str:
    """Return an answer without digests, nonces and times of day, which always differ."""
    return _DIGEST.sub("#", answer)


def _judged(action: Callable[[], str], expected: str) -> Outcome:
    """Return the outcome of an action, by its answer or by what it raises."""
    from adadecode.profiles.errors import InputError

    errors = Path(".errors")
    try:
        answer = action()
    except (Refused, InputError) as refusal:
        return outcome.of_refusal(str(refusal), printed=isinstance(refusal, Refused))
    except Obeyed as markup:
        return Outcome(end=End.MARKUP, detail=str(markup), where="tag")
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
        return _of_error(error)
    noise = outcome.of_noise(answer, errors.read_text(errors="replace"))
    if noise is not None:
        return noise
    if (found := normal(answer)) == expected:
        return Outcome(end=End.SAME)
    return Outcome(end=End.OTHER, detail=difference(expected, found))


def _of_error(error: BaseException) -> Outcome:
    end = End.MEMORY if isinstance(error, MemoryError) else End.TRACEBACK
    lines = "".join(traceback.format_exception(error))
    frames = _PACKAGE.findall(lines)
    where = f"{type(error).__name__} in {':'.join(frames[-1]) if frames else 'another package'}"
    return Outcome(end=end, detail=lines[-700:], where=where)


def difference(before: str, after: str) -> str:
    """Return where two texts first differ."""
    at = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    return f"{before[max(0, at - 40) : at + 60]!r} became {after[max(0, at - 40) : at + 60]!r}"


def _forked(judge: Callable[[], Outcome], folder: Path) -> Outcome:
    """Return what a child process judges, or how it ended without an answer."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(judge, folder, writing)
    os.close(writing)
    held = _pages("self")
    status, usage = _wait(child)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    if usage.ru_maxrss * 1024 - held > MEMORY:
        taken = (usage.ru_maxrss * 1024 - held) / 2**30
        return Outcome(end=End.MEMORY, detail=f"{taken:.1f} GiB", where="more than the bound")
    if text:
        return Outcome(**{**json.loads(text), "end": End(json.loads(text)["end"])})
    if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return Outcome(end=End.HANG, detail="asleep" if status is None else "busy", where="hang")
    return Outcome(end=End.CRASH, detail=f"status {status}", where=f"status {status}")


def _be_child(judge: Callable[[], Outcome], folder: Path, writing: int) -> None:
    """Judge, write the outcome and end; never returns."""
    try:
        os.chdir(folder)
        errors = os.open(".errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, stream in enumerate((nothing, nothing, errors)):
            os.dup2(stream, number)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = _pages("self", 0) + ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
        found = judge()
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        entry = {"end": found.end, "detail": found.detail, "where": found.where}
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(entry).encode())
    except BaseException:  # noqa: BLE001 - a fault of this program
        Path(".errors").write_text(traceback.format_exc())
    finally:
        os._exit(0)


def _pages(process: str, field_: int = 1) -> int:
    """Return the bytes that a process holds in memory; with field 0 those of its addresses."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[field_])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _wait(child: int) -> tuple[int | None, resource.struct_rusage]:
    """Wait for a child; one that is asleep for long is ended, and its status is None."""
    computed, since, pause = -1, time.monotonic(), 0.001
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage
        now = _computed(child)
        if now != computed:
            computed, since = now, time.monotonic()
        elif time.monotonic() - since > ASLEEP_S and _state(child) in "SD":
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage
        time.sleep(pause)
        pause = min(0.02, pause * 1.3)


def _stat(child: int) -> list[str]:
    return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()


def _computed(child: int) -> int:
    """Return the ticks of a processor that a child has used."""
    return sum(map(int, _stat(child)[11:13]))


def _state(child: int) -> str:
    return _stat(child)[0]
