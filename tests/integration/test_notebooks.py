"""The notebooks run from top to bottom, hold their outputs, and use the public names alone."""

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
"""Bytes of a notebook with its outputs: a larger one is no longer read, and fills the history."""

PUBLIC = {"adadecode", "adadecode.engine", "adadecode.profiles", "adadecode.sim"}
PLOT = "application/vnd.plotly.v1+json"
QUICK = "01-profile"
"""The notebook that the quick tests run."""

LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_of(path: Path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_the_six_notebooks_are_there():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


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


@every_notebook
def test_a_notebook_imports_the_public_names_alone(path):
    nodes = [node for cell in code_of(path) for node in ast.walk(ast.parse(cell.source))]
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert {name for name in modules if name.split(".")[0] == "adadecode"} <= PUBLIC


@every_notebook
def test_every_plot_has_a_picture_for_pages_that_cannot_draw(path):
    plots = [
        output.data
        for cell in code_of(path)
        for output in cell.outputs
        if PLOT in output.get("data", {})
    ]
    assert plots
    assert all("image/png" in data for data in plots)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[] if path.stem == QUICK else pytest.mark.slow, id=path.stem)
        for path in NOTEBOOKS
    ],
)
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
