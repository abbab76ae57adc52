"""Packages that are called like the function of the same name.

``adadecode.sim.sweep`` and ``adadecode.sim.report`` are packages, and the names of functions of the
Python API. Python binds the name to the package as soon as any of its modules is imported, so the
package itself has to do what the function does (decision 0027).

The function is given by name, and imported when it is first called or its signature is read. The
packages stand above this floor, and importing either of them loads nothing that takes time.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType


def make_callable(package: str, module: str, function: str) -> None:
    """Let a package be called as a function, with the signature and the docstring of the function.

    Args:
        package: Full name of the package, which calls this in its ``__init__``.
        module: Name of the module within the package.
        function: Name of the function in the module.
    """

    def load() -> Callable[..., object]:
        found: Callable[..., object] = getattr(import_module(f"{package}.{module}"), function)
        return found

    class CallablePackage(ModuleType):
        """A package that calls its function, and looks like it to ``help``, notebooks and IDEs."""

        def __call__(self, *arguments: object, **options: object) -> object:
            return load()(*arguments, **options)

        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(load())

        @property
        def __doc__(self) -> str | None:  # type: ignore[override]
            return load().__doc__

    sys.modules[package].__class__ = CallablePackage
