"""How a command fails where an extra of this package is not installed."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from adadecode.sim.cli.errors import EXTRAS, exiting_on_error
from tests.support.paths import ROOT
from tests.support.sim_command import commands, run


def test_extras_are_those_of_the_package() -> None:
    """Each is declared, and installs something of what is named here."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra, packages in EXTRAS.items():
        assert set(packages) & {words.partition(">=")[0] for words in declared[extra]}


def test_a_missing_extra_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise ModuleNotFoundError(name="plotly.graph_objects")

    commands()  # the modules of commands are imported late, and patched here
    monkeypatch.setattr("adadecode.sim.cli.validate.read_profile", missing)
    assert run("validate", ".") == 2
    assert capsys.readouterr().err == (
        "error: plotly.graph_objects is not installed: pip install 'adadecode[report]'\n"
    )


def test_a_module_missing_by_mistake_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError), exiting_on_error():
        raise ModuleNotFoundError(name="adadecode.sim.typo")
