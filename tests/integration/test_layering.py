"""Imports point one way, ``profiles <- sim <- engine``, and the lower two run on the base install."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests.support.paths import ROOT

BESIDE = {"benchmarks", "notebooks", "scripts", "tests"}  # what no package may import
MAY_IMPORT = {
    "profiles": {"profiles"},
    "sim": {"profiles", "sim"},
    "engine": {"profiles", "sim", "engine"},
}
NOT_IN_BASE = (
    "adadecode.engine", "dask", "distributed", "huggingface_hub", "jinja2", "nbformat", "optuna", "playwright", "plotly", "psutil", "pynvml", "safetensors",
    "tokenizers", "torch", "transformers",
)  # fmt: skip

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


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(source: str, package: str) -> set[str]:
    """Top-level names that this source imports, anywhere in it; ``package`` is where its relative imports start."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {top(name) for name in names}


def top(name: str) -> str:
    """The package of ours, or the top-level name of another project."""
    parts = name.split(".")
    return parts[1] if parts[0] == "adadecode" and len(parts) > 1 else parts[0]


def test_the_scan_sees_every_form_of_import() -> None:
    source = "import a.b as x, c\nfrom d.e import f\nfrom adadecode import engine\ndef later():\n    from . import g\n    from .h import i\nif TYPE_CHECKING:\n    import j"
    assert imported(source, "adadecode.sim.report") == {"a", "c", "d", "engine", "sim", "j"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_itself_and_what_lies_below(package: str) -> None:
    assert sources(package)
    ours = BESIDE | set(MAY_IMPORT)
    for path in sources(package):
        where = path.relative_to(ROOT)
        above = (
            imported(path.read_text(encoding="utf-8"), ".".join(("adadecode", *where.parent.parts)))
            & ours - MAY_IMPORT[package]
        )
        assert not above, (
            f"{where} imports {sorted(above)}: imports point one way, profiles <- sim <- engine"
        )


@pytest.mark.parametrize("package", ["profiles", "sim"])
def test_a_light_package_and_all_its_modules_load_nothing_beyond_the_base_install(
    package: str,
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, f"adadecode.{package}", *NOT_IN_BASE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n") == ["done", ""]
