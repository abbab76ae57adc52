"""Public names that are imported when they are first used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.paths import ROOT

HEAVY = ("numba", "numpy", "pandas", "pyarrow", "scipy", "simpy", "torch", "transformers", "typer")
PACKAGES = (
    "adadecode",
    "adadecode.engine",
    "adadecode.engine.demo",
    "adadecode.profiles",
    "adadecode.sim",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_and_listing_a_package_loads_nothing_heavy(package: str) -> None:
    code = (
        f"import json, sys, {package} as package; names = dir(package);"
        "print(json.dumps([names, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names, modules = json.loads(done.stdout)
    assert set(import_module(package).__all__) <= set(names)
    assert not set(HEAVY) & set(modules)


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error_that_names_the_package(package: str) -> None:
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute 'nonesuch'$"):
        import_module(package).nonesuch  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_and_python_see_the_same_names(package: str) -> None:
    module = import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    call = next(node for node in ast.walk(block) if isinstance(node, ast.Call))
    homes = ast.literal_eval(call.args[1])
    constants = {name for name in vars(module) if name.isupper() and name != "TYPE_CHECKING"}
    assert imported == set(homes) == set(module.__all__) - (constants - set(homes))


def test_the_common_names_are_those_of_their_packages() -> None:
    """Torch is loaded for the engine's."""
    pytest.importorskip("torch")
    module = import_module("adadecode")
    for name in module.__all__:
        homes = [import_module(f"adadecode.{part}") for part in ("engine", "profiles", "sim")]
        home = next(home for home in homes if name in home.__all__)
        assert getattr(module, name) is getattr(home, name)
