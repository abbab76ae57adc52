"""The bundled demo model: small, but a real language model with real exit heads and prompts.

Its card is ``model/README.md`` in this folder. `Demo` and `load_demo` load torch when they
are first used; the paths do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.engine.demo.demo_model import Demo, load_demo
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Demo": "adadecode.engine.demo.demo_model",
            "load_demo": "adadecode.engine.demo.demo_model",
        },
    )

__all__ = ["MODEL", "PROMPTS", "Demo", "load_demo"]

MODEL = Path(__file__).parent / "model"
"""The folder of the model, its tokenizer, and its heads."""
PROMPTS = MODEL / "prompts.jsonl"
"""Held-out prompts of four domains."""
