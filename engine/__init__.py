"""A real AdaDecode engine on PyTorch and ``transformers`` models (arXiv 2506.03700).

The public names are loaded when first used, so that a command's ``--help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adadecode.engine.decoding.decoder import AdaDecoder, Generation
    from adadecode.engine.demo import Demo, load_demo
    from adadecode.engine.heads.exit_heads import ExitHeads

__all__ = ["AdaDecoder", "Demo", "ExitHeads", "Generation", "load_demo"]

_HOME = {
    "AdaDecoder": "decoding.decoder",
    "Generation": "decoding.decoder",
    "Demo": "demo",
    "load_demo": "demo",
    "ExitHeads": "heads.exit_heads",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'adadecode.engine' has no attribute {name!r}")
    return getattr(importlib.import_module(f"adadecode.engine.{_HOME[name]}"), name)
