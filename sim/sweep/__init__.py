"""Sweeps of a design space.

The package can be called: ``adadecode.sim.sweep(profile, ...)`` is
`adadecode.sim.sweep.design_sweep.sweep`.
"""

from adadecode.sim.core.callable_package import make_callable

make_callable(__name__, "design_sweep", "sweep")
