"""Names of a package that are imported when they are first used.

A package lists its public names three times, as type checkers read only what is written out: the
imports under ``TYPE_CHECKING``, ``__all__``, and the homes given here.
``tests/profiles/test_lazy_names.py`` holds the three to each other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: Full name of the package, its ``__name__``.
        homes: Full name of the module that holds each name. The home of a subpackage is the
            subpackage itself.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(homes[name])
        found: object = module if homes[name] == f"{package}.{name}" else getattr(module, name)
        return found

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, list_names
