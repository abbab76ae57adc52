"""Run ``adadecode-sim`` as its tests do, and know its commands and their parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import typer

from adadecode.sim.cli.app import Commands, main
from adadecode.sim.cli.options.grouping import Parameter


def run(*arguments: object) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    assert isinstance(code, int)
    return code


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Return what a command that succeeds prints, which must be JSON and nothing else."""
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    assert isinstance(document, dict)
    return document


def commands() -> dict[str, Callable[..., None]]:
    """Return the function of every command, by the words that call it."""
    found: dict[str, Callable[..., None]] = {}
    for name, entry in Commands.entries.items():
        function = getattr(import_module(entry.module), entry.function)
        if isinstance(function, typer.Typer):
            for one in function.registered_commands:
                assert one.callback is not None
                found[f"{name} {one.name}"] = one.callback
        else:
            found[name] = function
    return found


def parameters() -> list[tuple[str, Parameter]]:
    """Return every parameter of every command, with the words that call the command."""
    return [
        (name, parameter)
        for name, function in commands().items()
        for parameter in function.parameters  # type: ignore[attr-defined]
    ]
