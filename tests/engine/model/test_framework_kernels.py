"""How many kernels `transformers` starts, counted: what the eager launch regime rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from adadecode.sim.hardware.launch_regime import FRAMEWORK

VIEWS = {
    "alias", "detach_", "expand", "lift_fresh", "reshape", "slice", "to.device", "transpose",
    "unsqueeze", "view",
}  # fmt: skip
"""Operations that move no number: a reshape of one token's heads is a view."""

NORM = 8


class Counting(TorchDispatchMode):
    """Counts operations that a device would run as a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = str(func).removeprefix("aten.")
        if name not in VIEWS and name.split(".")[0] not in VIEWS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def counted(n_layers: int) -> Counter[str]:
    """Count the operations of one token of a Llama with keys that queries share, in BF16."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=n_layers,
        num_attention_heads=8,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    with torch.inference_mode():
        before = model(torch.tensor([[1, 2, 3]]), use_cache=True)
        with Counting() as counting:
            model(torch.tensor([[4]]), past_key_values=before.past_key_values, use_cache=True)
    return counting.counts


def test_a_layer_starts_39_kernels_and_attention() -> None:
    """Of two layers one more than of one; and what stands before the layers and after them."""
    one, two = counted(1), counted(2)
    layer = two - one
    assert layer["scaled_dot_product_attention.default"] == 1
    assert layer["linear.default"] == 7
    assert sum(layer.values()) - 1 == FRAMEWORK["layer"]
    around = sum((one - layer).values())
    lm_head = 1
    assert around - NORM - lm_head == FRAMEWORK["embed"]
