"""Every command that the documentation shows exists, with each of its options."""

from __future__ import annotations

import functools
import importlib
import re
import shlex

import pytest
import typer

from scripts.docs.command_reference import PROGRAMS
from tests.support.paths import ROOT

BLOCK = re.compile(r"^```(?:text|bash|console)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"(?:^|\s)(?:\.venv/bin/)?(adadecode-[a-z]+)(?=\s|$)")


def command_lines(text: str) -> list[str]:
    """Return the commands of a page, from the name of the program on."""
    lines = [
        line
        for block in BLOCK.findall(text)
        for line in block.replace("\\\n", " ").splitlines()
        if not line.startswith("adadecode-sim COMMAND")
    ]
    return [line[match.start(1) :] for line in lines if (match := PROGRAM.search(line))]


PAGES = [
    page
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    if command_lines(page.read_text(encoding="utf-8"))
]


@functools.cache
def program(name: str):
    return typer.main.get_command(importlib.import_module(PROGRAMS[name]).app)


def unknown_words(line: str) -> list[str]:
    """Return the options and subcommands of a command line that its program does not know."""
    name, *words = [
        word for word in shlex.split(line, comments=True) if word not in {"...", "[OPTIONS]"}
    ]
    command, unknown = program(name), []
    while words and hasattr(command, "list_commands") and not words[0].startswith("-"):
        found = command.get_command(typer.Context(command), words[0])
        if found is None:
            return [words[0]]
        command, words = found, words[1:]
    known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    known |= {"--help"}
    unknown += [word.split("=")[0] for word in words if word.startswith("--")]
    return [word for word in unknown if word not in known]


@pytest.mark.parametrize(
    "page", PAGES, ids=[path.relative_to(ROOT).with_suffix("").as_posix() for path in PAGES]
)
def test_commands_on_a_page_exist(page):
    lines = command_lines(page.read_text(encoding="utf-8"))
    assert {line: found for line in lines if (found := unknown_words(line))} == {}


def test_a_mistake_is_found():
    (line,) = command_lines("```\n.venv/bin/adadecode-sim predict out --gama 0.7  # a mistake\n```")
    assert unknown_words(line) == ["--gama"]
    assert unknown_words("adadecode-sim predikt out") == ["predikt"]
