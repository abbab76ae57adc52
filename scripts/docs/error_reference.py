"""The page of all exceptions, from their classes."""

from __future__ import annotations

import importlib
import inspect

from adadecode.profiles import errors

MODULES = ("adadecode.sim.report.document", "adadecode.sim.synthetic.head_model")
"""Modules that define exceptions of their own, besides `adadecode.profiles.errors`."""


def error_reference() -> str:
    """Return a nested list of all exceptions, each with the first paragraph of its docstring."""
    for module in MODULES:
        importlib.import_module(module)
    return "\n".join(lines_of(errors.AdaDecodeError, indent=0))


def lines_of(error: type[Exception], *, indent: int) -> list[str]:
    """Return the list entry of one exception, and below it those of its subclasses."""
    summary = " ".join((inspect.getdoc(error) or "").split("\n\n")[0].split())
    line = f"{' ' * indent}- **`{error.__name__}`** (`{error.__module__}`): {summary}"
    subclasses = sorted(error.__subclasses__(), key=lambda subclass: subclass.__name__)
    return [
        line,
        *(text for subclass in subclasses for text in lines_of(subclass, indent=indent + 4)),
    ]
