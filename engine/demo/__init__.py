"""The bundled demo model: small, but a real language model with real exit heads and prompts.

Its card is ``model/README.md`` in this folder. `Demo` and `load_demo` load torch when they
are first used; the paths do not.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adadecode.engine.demo.demo_model import Demo, load_demo

__all__ = ["MODEL", "PROMPTS", "Demo", "load_demo"]

MODEL = Path(__file__).parent / "model"
"""The folder of the model, its tokenizer, and its heads."""
PROMPTS = MODEL / "prompts.jsonl"
"""Held-out prompts of four domains."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'adadecode.engine.demo' has no attribute {name!r}")
    return getattr(importlib.import_module("adadecode.engine.demo.demo_model"), name)
