"""Packages that can be called as the function of the same name.

``adadecode.sim.sweep`` and ``adadecode.sim.report`` are packages, and the names of functions of the
Python API. Python binds the name to the package as soon as any of its modules is imported, so the
package itself has to do what the function does.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


def make_callable(package: str, module: str, function: str) -> None:
    """Let a package be called; the function is imported when it first is.

    Args:
        package: Full name of the package, which calls this in its ``__init__``.
        module: Name of the module within the package.
        function: Name of the function in the module.
    """

    class CallablePackage(ModuleType):
        """A package that calls its function."""

        def __call__(self, *arguments: object, **options: object) -> object:
            target = getattr(import_module(f"{package}.{module}"), function)
            result: object = target(*arguments, **options)
            return result

    sys.modules[package].__class__ = CallablePackage
