"""What long texts allocate: logits of the positions that are read, and scores part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model import attention
from tests.support.models import greedy_text, random_prompt, tiny_model

VOCABULARY = 20_000
PROMPT, ROOM = 150, 400
SCORES = 2**14
LONG = 600


class LargestTensor(TorchDispatchMode):
    """Notes the most numbers of any tensor that is made; views are none."""

    numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not any(returned.alias_info for returned in func._schema.returns):
            for tensor in pytree.tree_leaves(out):
                if isinstance(tensor, torch.Tensor):
                    self.numbers = max(self.numbers, tensor.numel())
        return out


def test_a_tensor_is_noted_and_a_view_is_not() -> None:
    with LargestTensor() as largest:
        torch.zeros(3, 4).expand(9, 3, 4)
    assert largest.numbers == 12


@pytest.mark.parametrize("numerics", ["native", "canonical"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_logits_are_computed_where_a_token_is_chosen_and_nowhere_else(
    architecture: str, numerics: str
) -> None:
    """Neither the arguments of layers nor embeddings that the model computes have logits.

    There is room for more new tokens than are taken; canonical passes have six rows.
    """
    positions = {"n_positions" if architecture == "gpt2" else "max_position_embeddings": 1024}
    model = tiny_model(architecture, torch.float32, vocab_size=VOCABULARY, **positions)
    decoder = AdaDecoder(model, numerics=numerics)
    prompt = random_prompt(PROMPT)
    with LargestTensor() as largest:
        stream = decoder.stream(prompt, ROOM, policy="vanilla", eos_token_id=())
        tokens = [next(stream) for _ in range(3)]
    assert largest.numbers <= 6 * VOCABULARY
    assert tokens == greedy_text(model, prompt, 3)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("mistral", {"num_attention_heads": 8, "sliding_window": 90}),
        ("mistral", {"num_attention_heads": 8, "sliding_window": LONG - 1}),
        ("gemma2", {"attn_implementation": "eager"}),
        ("gpt_oss", {}),
        ("llama", {"num_attention_heads": 8}),
    ],
    ids=["window", "wide window", "soft cap", "sinks", "groups"],
)
@pytest.mark.parametrize("graphs", ["eager", "static"])
def test_a_long_prompt_is_attended_part_by_part(
    architecture: str, options: dict[str, Any], graphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores and masks stay within their bound, and the text is the model's own."""
    monkeypatch.setattr(attention, "MOST_SCORES", SCORES, raising=False)
    model = tiny_model(
        architecture, torch.float32, num_hidden_layers=2, max_position_embeddings=1024, **options
    )
    decoder = AdaDecoder(model, graphs=graphs)
    prompt = random_prompt(LONG)
    with LargestTensor() as largest:
        got = decoder.generate(prompt, 4, policy="vanilla", eos_token_id=()).tokens
    # the states of all positions, through the widest module, are the prompt's own
    states = LONG * 8 * 16
    assert largest.numbers <= max(SCORES, states)
    assert got == greedy_text(model, prompt, 4)
