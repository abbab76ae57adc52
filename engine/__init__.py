"""A real AdaDecode engine on PyTorch and ``transformers`` models (arXiv 2506.03700).

========================  =====================================================================
`AdaDecoder`              decodes with early exits, and without loss
`ExitHeads`               the exit heads of a model
`load_demo`               the bundled demo model, with heads and prompts
`train_heads`             trains exit heads on a model's own outputs
`record`                  records a profile, from which `adadecode.sim` predicts
`TrainingOptions`         how heads are trained
`RecordingOptions`        what a profile records
========================  =====================================================================

The names are loaded when they are first used, so that a command's ``--help`` does not wait for
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adadecode.engine.decoding.decoder import AdaDecoder, Generation
    from adadecode.engine.demo import Demo, load_demo
    from adadecode.engine.heads.exit_heads import ExitHeads
    from adadecode.engine.loading.prompts import Prompt
    from adadecode.engine.profiling.options import RecordingOptions
    from adadecode.engine.profiling.recording import record
    from adadecode.engine.training.options import TrainingOptions
    from adadecode.engine.training.pipeline import train_heads

__all__ = [
    "AdaDecoder",
    "Demo",
    "ExitHeads",
    "Generation",
    "Prompt",
    "RecordingOptions",
    "TrainingOptions",
    "load_demo",
    "record",
    "train_heads",
]

_MODULES = {
    "AdaDecoder": "decoding.decoder",
    "Demo": "demo",
    "ExitHeads": "heads.exit_heads",
    "Generation": "decoding.decoder",
    "Prompt": "loading.prompts",
    "RecordingOptions": "profiling.options",
    "TrainingOptions": "training.options",
    "load_demo": "demo",
    "record": "profiling.recording",
    "train_heads": "training.pipeline",
}
"""The module that each public name is loaded from."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'adadecode.engine' has no attribute {name!r}")
    return getattr(importlib.import_module(f"adadecode.engine.{_MODULES[name]}"), name)
