"""A real AdaDecode engine on PyTorch and ``transformers`` models (arXiv 2506.03700)."""

from engine.decode import AdaDecoder, Generation
from engine.demo import Demo, load_demo
from engine.heads import ExitHeads

__all__ = ["AdaDecoder", "Demo", "ExitHeads", "Generation", "load_demo"]
