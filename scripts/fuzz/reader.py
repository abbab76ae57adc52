"""A reader: files that a user can change, and what is done with them."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.fuzz.values import TAG

Action = Callable[[], str]
"""Works in the current folder, and returns the answer as text."""

ARGUMENTS = "arguments"
"""Folder with a folder for each action, in which each argument is a file, changed as a text."""

KEPT = ".kept"
"""Ends the name of an argument that is not changed: where the command writes to."""


LONGEST_LINE = 50_000
"""Characters of the longest line of a file that belongs to an answer."""


MARKUP = frozenset({".html", ".svg", ".md"})
"""Endings of files in which markup is obeyed."""


class Obeyed(Exception):
    """Raised by an action for markup of an input that stands in an output as it is."""


class Refused(Exception):
    """Raised by an action for what a command refuses; holds what stands on stderr."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of files.

    Attributes:
        name: Its name.
        build: Writes the files into an empty folder, which is the current one.
        actions: What is done with the files, by name.
        seal: Makes the digests fit the files; None where there are none.
        files: Patterns of the files that are changed.
        warm: Loads what the actions need, in the process that forks the cases; by default each
            action is run once.
    """

    name: str
    build: Callable[[], None]
    actions: Mapping[str, Action]
    seal: Callable[[], None] | None = None
    files: Sequence[str] = ("**/*",)
    warm: Callable[[], None] | None = None

    def changeable(self, folder: Path, action: str) -> list[str]:
        """Return the files that are changed where this is done with them, in order."""
        found = {path for pattern in self.files for path in folder.glob(pattern) if path.is_file()}
        own = folder / ARGUMENTS / action
        return sorted(
            str(path.relative_to(folder))
            for path in found
            if path.suffix != KEPT and (own.parent not in path.parents or own in path.parents)
        )


def command(*arguments: str, outputs: Sequence[str] = ()) -> Action:
    """Return the action that runs ``adadecode-sim``.

    Args:
        arguments: The words after the program's name.
        outputs: Patterns of the files that it writes, which belong to the answer.
    """

    def act() -> str:
        from adadecode.sim.cli.app import main

        return run_main(main, arguments) + written(outputs)

    return act


def command_of_files(action: str, outputs: Sequence[str] = ()) -> Action:
    """Return the action that runs ``adadecode-sim`` with the arguments that lie in files."""

    def act() -> str:
        from adadecode.sim.cli.app import main

        names = sorted((Path(ARGUMENTS) / action).iterdir())
        words = [name.read_bytes().decode("utf-8", "surrogateescape") for name in names]
        return run_main(main, words) + written(outputs)

    return act


def write_arguments(action: str, *words: str) -> None:
    """Write a file for each argument of an action."""
    folder = Path(ARGUMENTS) / action
    folder.mkdir(parents=True)
    for index, word in enumerate(words):
        kept = KEPT if index and words[index - 1] == "--out" else ""
        (folder / f"{index:02}{kept}").write_text(word)


def run_main(main: Callable[[list[str]], None], arguments: Sequence[str]) -> str:
    """Return what a command prints.

    Raises:
        Refused: If it exits with code 2.
    """
    printed, errors = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            main(list(arguments))
        except SystemExit as exit_:
            code = exit_.code
    sys.stderr.write(errors.getvalue())
    if code == 2:
        raise Refused(errors.getvalue())
    printed.getvalue().encode()  # as the standard output does, which knows no half of a pair
    return f"{printed.getvalue()}\nexit code {code}\n"


def written(outputs: Sequence[str]) -> str:
    """Return what files hold, without the library that a page carries along in long lines."""
    paths = sorted(path for pattern in outputs for path in Path().glob(pattern) if path.is_file())
    for path in paths:
        if path.suffix in MARKUP and TAG.encode() in path.read_bytes():
            raise Obeyed(f"{path} holds {TAG} as it was given")
    lines = (
        line
        for path in paths
        for line in path.read_bytes().decode(errors="replace").splitlines(keepends=True)
    )
    return "".join(line for line in lines if len(line) < LONGEST_LINE)
