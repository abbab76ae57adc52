"""A real AdaDecode engine on PyTorch and ``transformers`` models (arXiv 2506.03700).

========================  =====================================================================
`AdaDecoder`              decodes with early exits, and without loss
`BatchedEngine`           does so for the texts of many users at once
`ExitHeads`               the exit heads of a model
`load_demo`               the bundled demo model, with heads and prompts
`load_smollm2`            SmolLM2-135M-Instruct once it is fetched, with heads and prompts
`chat_prompts`            makes prompts of conversations, by the model's chat template
`train_heads`             trains exit heads on a model's own outputs
`record`                  records a profile, from which `adadecode.sim` predicts
`TrainingOptions`         how heads are trained
`RecordingOptions`        what a profile records
========================  =====================================================================

The names are loaded when they are first used, so that a command's ``--help`` does not wait for
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.engine.decoding.decoder import AdaDecoder, Generation
    from adadecode.engine.demo import Demo, load_demo, load_smollm2
    from adadecode.engine.heads.exit_heads import ExitHeads
    from adadecode.engine.loading.chat_template import chat_prompts
    from adadecode.engine.loading.prompts import Prompt
    from adadecode.engine.profiling.options import RecordingOptions
    from adadecode.engine.profiling.recording import record
    from adadecode.engine.serving.batched_engine import BatchedEngine
    from adadecode.engine.training.options import TrainingOptions
    from adadecode.engine.training.pipeline import train_heads
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "AdaDecoder": "adadecode.engine.decoding.decoder",
            "BatchedEngine": "adadecode.engine.serving.batched_engine",
            "Demo": "adadecode.engine.demo",
            "ExitHeads": "adadecode.engine.heads.exit_heads",
            "Generation": "adadecode.engine.decoding.decoder",
            "Prompt": "adadecode.engine.loading.prompts",
            "RecordingOptions": "adadecode.engine.profiling.options",
            "TrainingOptions": "adadecode.engine.training.options",
            "chat_prompts": "adadecode.engine.loading.chat_template",
            "load_demo": "adadecode.engine.demo",
            "load_smollm2": "adadecode.engine.demo",
            "record": "adadecode.engine.profiling.recording",
            "train_heads": "adadecode.engine.training.pipeline",
        },
    )

__all__ = [
    "AdaDecoder",
    "BatchedEngine",
    "Demo",
    "ExitHeads",
    "Generation",
    "Prompt",
    "RecordingOptions",
    "TrainingOptions",
    "chat_prompts",
    "load_demo",
    "load_smollm2",
    "record",
    "train_heads",
]
