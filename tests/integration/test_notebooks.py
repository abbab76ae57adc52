"""The notebooks run from top to bottom, show what they found, and only call what the packages hold."""

from __future__ import annotations

import ast
import shutil
import warnings
from pathlib import Path

import pytest

from tests.support.paths import ROOT

nbformat = pytest.importorskip("nbformat", reason="runs notebooks: install the extra 'notebooks'")
nbclient = pytest.importorskip("nbclient", reason="runs notebooks: install the extra 'notebooks'")
pytest.importorskip("ipykernel", reason="runs notebooks: install the extra 'notebooks'")
pytest.importorskip("plotly", reason="notebooks draw with plotly: install the extra 'report'")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 2**20
"""Bytes of a notebook with its outputs: more is no longer read, and fills the history."""

LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_of(path: Path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_the_five_notebooks_are_there():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@every_notebook
def test_a_notebook_is_valid_and_small(path):
    nbformat.validate(nbformat.read(path, as_version=4))
    assert path.stat().st_size < LARGEST


@every_notebook
def test_a_notebook_has_its_outputs_committed(path):
    cells = code_of(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert {output.output_type for output in outputs} <= {
        "execute_result",
        "display_data",
    }  # no error, no warning


@every_notebook
def test_a_notebook_has_no_logic_of_its_own(path):
    nodes = [node for cell in code_of(path) for node in ast.walk(ast.parse(cell.source))]
    assert not [ast.unparse(node) for node in nodes if isinstance(node, LOGIC)]


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_wherever_it_lies(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))  # these packages, installed or not
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.read(shutil.copy(path, tmp_path), as_version=4)
    client = nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # what Jupyter says of its folders and event loops is about Jupyter
        client.execute()
    assert not [
        output
        for cell in book.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]
