"""The examples of the documentation are ten lines or so, and run."""

from __future__ import annotations

import ast
import runpy
import shutil

import pytest

from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "snippets"
SNIPPETS = sorted(path.stem for path in FOLDER.glob("*.py"))
NEEDS = {"decode": "torch", "record": "torch", "sweep": "plotly"}


def test_there_are_five():
    assert SNIPPETS == ["compare", "decode", "predict", "record", "sweep"]


@pytest.mark.parametrize("name", SNIPPETS)
def test_an_example_has_about_ten_statements(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    statements = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(statements) <= 10


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_page_shows_the_example(name):
    page = (ROOT / "docs" / "getting-started" / "python-api.md").read_text(encoding="utf-8")
    assert f"<!-- generated: snippet-{name} -->" in page


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.slow if one == "record" else []) for one in SNIPPETS],
)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip(NEEDS.get(name, "pandas"), reason=f"the example {name} uses it")
    recorded = tmp_path / "profiles" / "recorded"
    recorded.mkdir(parents=True)
    shutil.copytree(ROOT / "profiles" / "recorded" / "demo-cpu", recorded / "demo-cpu")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(FOLDER / f"{name}.py"))
    assert capsys.readouterr().out.strip()
    if name == "compare":
        assert found["speedups"].loc["vanilla", "speedup"] == 1
    if name == "predict":
        assert len(found["predictions"]) == 3
    if name == "record":
        assert (tmp_path / "out" / "my-profile" / "manifest.json").is_file()
    if name == "sweep":
        assert (tmp_path / "front.html").is_file()
