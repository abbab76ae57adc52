"""A real AdaDecode engine on PyTorch and ``transformers`` models (arXiv 2506.03700).

The public names are loaded when first used, so that a command's ``--help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.decode import AdaDecoder, Generation
    from engine.demo import Demo, load_demo
    from engine.heads import ExitHeads

__all__ = ["AdaDecoder", "Demo", "ExitHeads", "Generation", "load_demo"]

_HOME = {"AdaDecoder": "decode", "Generation": "decode", "Demo": "demo", "load_demo": "demo", "ExitHeads": "heads"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(importlib.import_module(f"engine.{_HOME[name]}"), name)
