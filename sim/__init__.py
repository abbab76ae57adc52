"""Predict what early-exit decoding gives, from recordings or from datasheets.

The common names are here, and each loads what it needs when it is first used::

    from adadecode.sim import Design, predict, read_profile

    profile = read_profile("profiles/recorded/demo-cpu")
    for one in predict(profile, Design.of(placement=(3, 7), gamma=0.75)):
        print(one.speedup_low, one.speedup, one.speedup_high)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.profiles.store import Profile, read_profile
    from adadecode.sim.core.design import Design, Policy
    from adadecode.sim.prediction.scenario import ScenarioOptions
    from adadecode.sim.report.writer import write_report as report
    from adadecode.sim.serving.capacity import crossover, load_curve, plan_devices
    from adadecode.sim.serving.exits.exit_policy import ExitPolicy
    from adadecode.sim.serving.served_run import Server
    from adadecode.sim.sharing.share import share
    from adadecode.sim.sweep.design_sweep import sweep
    from adadecode.sim.sweep.space import Space
    from adadecode.sim.sweep.store import Sweep, read_sweep
    from adadecode.sim.validation.criteria import Trust
    from adadecode.sim.validation.predictions import PredictedDesign, Predictions, predict
    from adadecode.sim.validation.result import Validation
    from adadecode.sim.validation.tiers import validate
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Design": "adadecode.sim.core.design",
            "ExitPolicy": "adadecode.sim.serving.exits.exit_policy",
            "Policy": "adadecode.sim.core.design",
            "PredictedDesign": "adadecode.sim.validation.predictions",
            "Predictions": "adadecode.sim.validation.predictions",
            "Profile": "adadecode.profiles.store",
            "ScenarioOptions": "adadecode.sim.prediction.scenario",
            "Server": "adadecode.sim.serving.served_run",
            "Space": "adadecode.sim.sweep.space",
            "Sweep": "adadecode.sim.sweep.store",
            "Trust": "adadecode.sim.validation.criteria",
            "Validation": "adadecode.sim.validation.result",
            "crossover": "adadecode.sim.serving.capacity",
            "load_curve": "adadecode.sim.serving.capacity",
            "plan_devices": "adadecode.sim.serving.capacity",
            "predict": "adadecode.sim.validation.predictions",
            "read_profile": "adadecode.profiles.store",
            "read_sweep": "adadecode.sim.sweep.store",
            "report": "adadecode.sim.report",
            "share": "adadecode.sim.sharing.share",
            "sweep": "adadecode.sim.sweep",
            "validate": "adadecode.sim.validation.tiers",
        },
    )

__all__ = [
    "Design",
    "ExitPolicy",
    "Policy",
    "PredictedDesign",
    "Predictions",
    "Profile",
    "ScenarioOptions",
    "Server",
    "Space",
    "Sweep",
    "Trust",
    "Validation",
    "crossover",
    "load_curve",
    "plan_devices",
    "predict",
    "read_profile",
    "read_sweep",
    "report",
    "share",
    "sweep",
    "validate",
]
