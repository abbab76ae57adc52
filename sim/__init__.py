"""Predict what early-exit decoding gives, from recordings or from datasheets.

The common names are here, and each loads what it needs when it is first used::

    from adadecode.sim import Design, predict, read_profile

    profile = read_profile("profiles/recorded/demo-cpu")
    for one in predict(profile, Design.of(placement=(3, 7), gamma=0.75)):
        print(one.speedup_low, one.speedup, one.speedup_high)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adadecode.profiles.store import Profile, read_profile
    from adadecode.sim.core.design import Design, Policy
    from adadecode.sim.prediction.scenario import ScenarioOptions
    from adadecode.sim.report.writer import write_report as report
    from adadecode.sim.sweep.design_sweep import sweep
    from adadecode.sim.sweep.space import Space
    from adadecode.sim.sweep.store import Sweep, read_sweep
    from adadecode.sim.validation.criteria import Trust
    from adadecode.sim.validation.predictions import PredictedDesign, Predictions, predict
    from adadecode.sim.validation.result import Validation
    from adadecode.sim.validation.tiers import validate

__all__ = [
    "Design",
    "Policy",
    "PredictedDesign",
    "Predictions",
    "Profile",
    "ScenarioOptions",
    "Space",
    "Sweep",
    "Trust",
    "Validation",
    "predict",
    "read_profile",
    "read_sweep",
    "report",
    "sweep",
    "validate",
]

_HOMES = {
    "Design": "sim.core.design",
    "Policy": "sim.core.design",
    "PredictedDesign": "sim.validation.predictions",
    "Predictions": "sim.validation.predictions",
    "Profile": "profiles.store",
    "ScenarioOptions": "sim.prediction.scenario",
    "Space": "sim.sweep.space",
    "Sweep": "sim.sweep.store",
    "Trust": "sim.validation.criteria",
    "Validation": "sim.validation.result",
    "predict": "sim.validation.predictions",
    "read_profile": "profiles.store",
    "read_sweep": "sim.sweep.store",
    "validate": "sim.validation.tiers",
}

_CALLABLE_PACKAGES = ("report", "sweep")
"""Packages that are called like the functions of the same name."""


def __getattr__(name: str) -> object:
    if name in _CALLABLE_PACKAGES:
        return importlib.import_module(f"adadecode.sim.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'adadecode.sim' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"adadecode.{_HOMES[name]}"), name)
    return found
