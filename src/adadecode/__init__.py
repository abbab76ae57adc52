"""Predict and measure what early-exit decoding gives a language model.

``adadecode.engine`` decodes and records, ``adadecode.sim`` predicts from recordings, and
``adadecode.profiles`` reads and writes them. The common names are here too; each loads what it
needs when it is first used, so that ``import adadecode`` loads neither torch nor numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adadecode.engine.decoding.decoder import AdaDecoder, Generation
    from adadecode.engine.demo import Demo, load_demo
    from adadecode.engine.heads.exit_heads import ExitHeads
    from adadecode.profiles.store import Profile, read_profile
    from adadecode.sim import (
        Design,
        ScenarioOptions,
        Space,
        predict,
        read_sweep,
        report,
        sweep,
        validate,
    )

__all__ = [
    "AdaDecoder",
    "Demo",
    "Design",
    "ExitHeads",
    "Generation",
    "Profile",
    "ScenarioOptions",
    "Space",
    "load_demo",
    "predict",
    "read_profile",
    "read_sweep",
    "report",
    "sweep",
    "validate",
]

_HOMES = {
    "AdaDecoder": "engine.decoding.decoder",
    "Demo": "engine.demo",
    "Design": "sim",
    "ExitHeads": "engine.heads.exit_heads",
    "Generation": "engine.decoding.decoder",
    "Profile": "profiles.store",
    "ScenarioOptions": "sim",
    "Space": "sim",
    "load_demo": "engine.demo",
    "predict": "sim",
    "read_profile": "profiles.store",
    "read_sweep": "sim",
    "report": "sim",
    "sweep": "sim",
    "validate": "sim",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("adadecode")
    if name not in _HOMES:
        raise AttributeError(f"module 'adadecode' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"adadecode.{_HOMES[name]}"), name)
    return found
