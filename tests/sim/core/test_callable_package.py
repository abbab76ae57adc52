"""Packages that are called look like their functions."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from types import ModuleType

import pytest

import adadecode.sim
from adadecode.sim.report.writer import write_report
from adadecode.sim.sweep.design_sweep import sweep
from tests.support.paths import ROOT

PACKAGES = [("sweep", sweep), ("report", write_report)]


@pytest.mark.parametrize(("name", "function"), PACKAGES)
def test_a_package_has_the_signature_and_the_docstring_of_its_function(name, function) -> None:
    package = getattr(adadecode.sim, name)
    assert isinstance(package, ModuleType)
    assert inspect.signature(package) == inspect.signature(function)
    assert inspect.getdoc(package) == inspect.getdoc(function)


@pytest.mark.parametrize(("name", "function"), PACKAGES)
def test_help_describes_every_argument(name, function) -> None:
    shown = pydoc.plain(pydoc.render_doc(getattr(adadecode.sim, name)))
    assert all(f"{argument}: " in shown for argument in inspect.signature(function).parameters)


def test_a_call_is_a_call_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "adadecode.sim.report.writer.write_report", lambda *words, **options: (words, options)
    )
    assert adadecode.sim.report("source", out="page") == (("source",), {"out": "page"})


def test_the_function_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import inspect, sys, adadecode.sim;"
        "package = adadecode.sim.sweep;"
        "assert callable(package) and 'pandas' not in sys.modules;"
        "inspect.signature(package);"
        "assert 'adadecode.sim.sweep.design_sweep' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
