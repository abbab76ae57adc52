"""Sweeps of a design space.

The package can be called: ``adadecode.sim.sweep(profile, ...)`` is
`adadecode.sim.sweep.design_sweep.sweep`, although the name is the package's too.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


class _CallableSweep(ModuleType):
    """This package, which calls its function ``sweep`` when it is called."""

    def __call__(self, *arguments: object, **options: object) -> object:
        """Sweep a design space; see `adadecode.sim.sweep.design_sweep.sweep`."""
        result: object = import_module(f"{__name__}.design_sweep").sweep(*arguments, **options)
        return result


sys.modules[__name__].__class__ = _CallableSweep
