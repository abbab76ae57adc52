"""By which function the layers that a thread calls attend.

The model is not changed for it, and no other thread sees it: while a thread attends in a way of
ours, the configs that *it* reads name our attention, which ``transformers`` looks up by that name.
Everybody else reads what the user chose (decision 0033).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedConfig

from adadecode.engine.runtime.shared_setting import SharedSetting
from adadecode.profiles.errors import UnsupportedModel

NAME = "adadecode"
"""What configs name as their attention in a thread that attends in a way of ours."""

Attention = Callable[..., tuple[torch.Tensor, None]]
"""Takes what ``transformers`` calls attention with: see `adadecode.engine.model.attention`."""


@dataclass(kw_only=True, eq=False)
class Attending:
    """One way to attend.

    Attributes:
        attention: The function.
        calls: How often it was called.
    """

    attention: Attention
    calls: int = 0


class _Thread(threading.local):
    """What the current thread attends by; nothing but the model's own at first."""

    now: Attending | None = None


_thread = _Thread()


@contextmanager
def attending_by(attention: Attention) -> Iterator[Attending]:
    """Let layers that this thread calls attend by a function, and afterwards as they did before."""
    before, now = _thread.now, Attending(attention=attention)
    try:
        _thread.now = now
        yield now
    finally:
        _thread.now = before


def _attend(module: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
    """Attend as this thread does; registered with ``transformers``.

    Raises:
        UnsupportedModel: The thread attends in no way of ours.
    """
    now = _thread.now
    if now is None:
        raise UnsupportedModel(
            f"attn_implementation={NAME!r} is for AdaDecoder alone: load the model with another "
            "one, such as sdpa"
        )
    now.calls += 1
    return now.attention(module, *args, **kwargs)


_own = PreTrainedConfig._attn_implementation


def _implementation(config: PreTrainedConfig) -> str | None:
    """Return which attention a config names to this thread.

    What ``torch.compile`` traces is a user's model, never a layer that we call.
    """
    if not torch.compiler.is_dynamo_compiling() and _thread.now is not None:
        return NAME
    found: str | None = _own.fget(config)
    return found


PreTrainedConfig._attn_implementation = property(_implementation, _own.fset)
AttentionInterface.register(NAME, _attend)


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """Keep torch from taking cuDNN's attention.

    Torch prefers it on recent GPUs, and it plans every new length for milliseconds.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(enabled=before)


without_cudnn = SharedSetting(_without_cudnn)
