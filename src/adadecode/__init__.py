"""Predict and measure what early-exit decoding gives a language model.

``adadecode.engine`` decodes and records, ``adadecode.sim`` predicts from recordings, and
``adadecode.profiles`` reads and writes them. The common names are here too; each loads what it
needs when it is first used, so that ``import adadecode`` loads neither torch nor numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.engine import (
        AdaDecoder,
        Demo,
        ExitHeads,
        Generation,
        RecordingOptions,
        TrainingOptions,
        load_demo,
        load_smollm2,
        record,
        train_heads,
    )
    from adadecode.profiles import LatencyTable, Profile, read_profile
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

    __version__: str
else:
    _load_name, __dir__ = lazy_names(
        __name__,
        {
            "AdaDecoder": "adadecode.engine",
            "Demo": "adadecode.engine",
            "Design": "adadecode.sim",
            "ExitHeads": "adadecode.engine",
            "Generation": "adadecode.engine",
            "LatencyTable": "adadecode.profiles",
            "Profile": "adadecode.profiles",
            "RecordingOptions": "adadecode.engine",
            "ScenarioOptions": "adadecode.sim",
            "Space": "adadecode.sim",
            "TrainingOptions": "adadecode.engine",
            "load_demo": "adadecode.engine",
            "load_smollm2": "adadecode.engine",
            "predict": "adadecode.sim",
            "read_profile": "adadecode.profiles",
            "read_sweep": "adadecode.sim",
            "record": "adadecode.engine",
            "report": "adadecode.sim",
            "sweep": "adadecode.sim",
            "train_heads": "adadecode.engine",
            "validate": "adadecode.sim",
        },
    )

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("adadecode")
        return _load_name(name)


__all__ = [
    "AdaDecoder",
    "Demo",
    "Design",
    "ExitHeads",
    "Generation",
    "LatencyTable",
    "Profile",
    "RecordingOptions",
    "ScenarioOptions",
    "Space",
    "TrainingOptions",
    "load_demo",
    "load_smollm2",
    "predict",
    "read_profile",
    "read_sweep",
    "record",
    "report",
    "sweep",
    "train_heads",
    "validate",
]
