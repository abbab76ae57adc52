"""Imports point one way, ``profiles <- sim <- engine``; the lower two run on the base install."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests.support.paths import ROOT

NOT_INSTALLED = {"benchmarks", "notebooks", "scripts", "tests"}
"""Folders of the repository that no package may import: a wheel does not hold them."""
MAY_IMPORT = {
    "profiles": {"profiles"},
    "sim": {"profiles", "sim"},
    "engine": {"profiles", "sim", "engine"},
}
NOT_IN_BASE = """
    adadecode.engine dask distributed httpx huggingface_hub jinja2 nbformat optuna playwright plotly
    psutil pynvml safetensors tokenizers torch transformers
""".split()

LOAD_ALL = """
import importlib, pkgutil, sys
top, *unwanted = sys.argv[1:]
package = importlib.import_module(top)
for name in (top, *(module.name for module in pkgutil.walk_packages(package.__path__, top + "."))):
    importlib.import_module(name)
    for found in set(unwanted) & set(sys.modules):
        unwanted.remove(found)
        print(name, "loads", found)
print("done")
"""
CHECK_CONTRACTS = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True, no_logo=True))
"""


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new Python process, in the root of the repository."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(source: str, package: str) -> set[str]:
    """Return the top-level names that this source imports, anywhere in it.

    Args:
        source: The text of a module.
        package: Where its relative imports start.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {top_level(name) for name in names}


def top_level(name: str) -> str:
    """Return the package of this project, or the top-level name of another project."""
    parts = name.split(".")
    return parts[1] if parts[0] == "adadecode" and len(parts) > 1 else parts[0]


def test_the_scan_sees_every_form_of_import() -> None:
    source = """
import a.b as x, c
from d.e import f
from adadecode import engine
def later():
    from . import g
    from .h import i
if TYPE_CHECKING:
    import j
"""
    assert imported(source, "adadecode.sim.report") == {"a", "c", "d", "engine", "sim", "j"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_itself_and_what_lies_below(package: str) -> None:
    assert sources(package)
    forbidden = (NOT_INSTALLED | set(MAY_IMPORT)) - MAY_IMPORT[package]
    for path in sources(package):
        where = path.relative_to(ROOT)
        names = imported(
            path.read_text(encoding="utf-8"), ".".join(("adadecode", *where.parent.parts))
        )
        assert not names & forbidden, f"{where} imports {sorted(names & forbidden)}"


def test_the_import_contracts_of_pyproject_hold() -> None:
    """The floors of ``sim`` and ``engine``, and who may import typer and rich."""
    checked = python(CHECK_CONTRACTS)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("package", ["sim", "engine"])
def test_every_package_stands_on_a_floor(package: str) -> None:
    """A new package belongs into the layers of its contract, or nothing holds it."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = [
        name.strip()
        for contract in config["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [f"adadecode.{package}"]
        for floor in contract["layers"]
        for name in floor.split("|")
    ]
    packages = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert packages
    assert packages <= set(layers)


@pytest.mark.parametrize("package", ["profiles", "sim"])
def test_a_light_package_and_all_its_modules_load_nothing_beyond_the_base_install(
    package: str,
) -> None:
    loaded = python(LOAD_ALL, f"adadecode.{package}", *NOT_IN_BASE)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.split("\n") == ["done", ""]
