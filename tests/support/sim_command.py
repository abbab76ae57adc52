"""adadecode-sim as its tests call it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adadecode.sim.cli.app import main


def run(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    assert isinstance(code, int)
    return code


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a command that succeeds prints, which must be JSON and nothing else."""
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    told = json.loads(captured.out)
    assert isinstance(told, dict)
    return told
