"""What layers see is found from the masks that the model asks for, not from its config."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    chunked_causal_mask_function,
    sliding_window_causal_mask_function,
)

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.attention import KeyValues, unheeded_by
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.window import UnknownMask, Window, describe_mask, narrower
from adadecode.profiles.errors import UnsupportedModel
from tests.support.models import (
    N_LAYERS,
    WINDOW,
    greedy_text,
    random_prompt,
    tiny_model,
)

N_TOKENS = 20
LENGTHS = (3, 3 * WINDOW)
ROPE = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}


# ---- masks ----


@pytest.mark.parametrize(
    ("mask", "hint", "window"),
    [
        (causal_mask_function, None, Window()),
        (causal_mask_function, 7, Window()),
        (sliding_window_causal_mask_function(1), 1, Window(1)),
        (sliding_window_causal_mask_function(8), 8, Window(8)),
        (sliding_window_causal_mask_function(4096), 4096, Window(4096)),
        (sliding_window_causal_mask_function(8), None, Window(known=False)),
        (chunked_causal_mask_function(8, torch.zeros(1, dtype=torch.long)), 8, Window(known=False)),
        (bidirectional_mask_function, None, Window(known=False)),
    ],
)
def test_a_mask_function_is_asked_what_it_shows(
    mask: Any, hint: int | None, window: Window
) -> None:
    """The hint is what the model says of its reach; a mask is believed only where it agrees."""
    assert describe_mask(mask_function=mask, local_size=hint, q_length=3, device="cpu") == window


def test_a_layer_that_reads_its_mask_itself_is_found_out() -> None:
    for read in (
        lambda mask: torch.zeros(2, 2) + mask,
        lambda mask: mask[:, :, :, :3],
        lambda mask: mask.dtype,
        lambda mask: mask.size(),
    ):
        with pytest.raises((UnknownMask, TypeError)):
            read(Window(8))


def test_a_layer_with_an_unknown_mask_may_not_attend() -> None:
    with pytest.raises(UnknownMask, match="neither all earlier positions nor a window"):
        KeyValues(1, 8).sees(0, Window(known=False), None)


def test_the_smaller_of_two_windows_is_seen() -> None:
    assert narrower(None, None) is None
    assert narrower(8, None) == narrower(None, 8) == narrower(8, 9) == narrower(9, 8) == 8


def test_a_prompt_is_seen_whole_where_only_the_cache_forgets() -> None:
    kv = KeyValues(2, 20, kept={0: 5})
    assert kv.sees(0, Window(), None, prompt=True) is None
    assert kv.sees(0, Window(), None) == 5
    assert kv.sees(0, Window(3), None) == 3
    assert kv.sees(1, Window(), None) is None
    assert kv.sees(1, None, 4) == 4
    assert kv.undescribed == {1}


# ---- texts ----


LEFTOVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sliding_window": ("llama", {"sliding_window": WINDOW}),
    "use_sliding_window": (
        "llama",
        {"sliding_window": WINDOW, "use_sliding_window": False, "max_window_layers": 2},
    ),
    "layer_types": (
        "llama",
        {"sliding_window": WINDOW}
        | {"layer_types": ["sliding_attention", "full_attention"] * (N_LAYERS // 2)},
    ),
    "attention_chunk_size": ("llama", {"attention_chunk_size": WINDOW}),
    "attn_logit_softcapping": ("llama", {"attn_logit_softcapping": 1.0}),
    "final_logit_softcapping": ("llama", {"final_logit_softcapping": 1.0}),
    "rope_parameters": ("gpt2", {"rope_parameters": ROPE}),
    "qwen2 without its window": ("qwen2", {"use_sliding_window": False}),
}


@pytest.mark.parametrize(
    ("leftover", "graphs"),
    [
        *((leftover, "eager") for leftover in LEFTOVERS),
        ("sliding_window", "static"),
        ("layer_types", "static"),
    ],
)
def test_what_a_config_says_of_another_architecture_changes_no_text(
    leftover: str, graphs: str
) -> None:
    """A converted model keeps settings that its layers ignore, and its texts are ``generate``'s.

    Whose cache does not ignore a window: beyond it new tokens do not see the oldest positions.
    """
    architecture, settings = LEFTOVERS[leftover]
    model = tiny_model(architecture, torch.float32, **settings)
    texts = {n: greedy_text(model, random_prompt(n), N_TOKENS) for n in LENGTHS}
    decoder = AdaDecoder(model, ExitHeads.identity(model, (2, 4)), graphs=graphs)
    for n, text in texts.items():
        for gamma in (0.0, 1.0):
            got = decoder.generate(random_prompt(n), N_TOKENS, gamma=gamma, eos_token_id=())
            assert got.tokens == text, (n, gamma)


def test_a_forgetful_cache_matters() -> None:
    plain, forgetful = tiny_model("llama"), tiny_model("llama", sliding_window=WINDOW)
    prompts = [random_prompt(3 * WINDOW, seed) for seed in range(4)]
    assert any(
        greedy_text(plain, prompt, N_TOKENS) != greedy_text(forgetful, prompt, N_TOKENS)
        for prompt in prompts
    )


def test_learned_positions_end_where_they_end_whatever_the_config_says_of_rotary_ones() -> None:
    """A text of exactly as many positions as there are needs no position more."""
    model = tiny_model("gpt2", torch.float32, n_positions=16, rope_parameters=ROPE)
    text = greedy_text(model, random_prompt(8), 9)
    assert AdaDecoder(model).generate(random_prompt(8), 9, eos_token_id=()).tokens == text


def test_rotary_embeddings_of_each_kind_of_layer_may_stretch() -> None:
    """They are named by kind of layer in the config."""
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    model = tiny_model(
        "gemma3_text",
        max_position_embeddings=16,
        layer_types=["sliding_attention", "full_attention"] * (N_LAYERS // 2),
        rope_parameters={"sliding_attention": plain, "full_attention": ROPE},
    )
    parts = SegmentedModel(model)
    with torch.inference_mode():
        parts.allocate(16)
        with pytest.raises(UnsupportedModel, match="dynamic rotary embedding changes"):
            parts.allocate(17)


# ---- soft caps and sinks ----


def test_sdpa_of_transformers_knows_no_cap_and_no_sinks() -> None:
    """Should a release know them, this fails, and nothing else need change."""
    assert unheeded_by("sdpa") == {"softcap", "s_aux"}
    assert unheeded_by("eager") == unheeded_by("flash_attention_2") == frozenset()


@pytest.mark.parametrize(
    ("dtype", "graphs"),
    [(torch.float32, "eager"), (torch.float32, "static"), (torch.bfloat16, "eager")],
)
def test_gemma_2_is_decoded_as_it_was_loaded(dtype: torch.dtype, graphs: str) -> None:
    """By default with SDPA, which leaves its soft cap out; eager attention does not."""
    prompt, found = random_prompt(WINDOW + 5), {}
    for implementation in ("sdpa", "eager"):
        model = tiny_model(
            "gemma2", dtype, attn_implementation=implementation, attn_logit_softcapping=1.0
        )
        decoder = AdaDecoder(model, ExitHeads.identity(model, (2, 4)), graphs=graphs)
        got = decoder.generate(prompt, N_TOKENS, gamma=0.5, eos_token_id=()).tokens
        assert got == greedy_text(model, prompt, N_TOKENS)
        found[implementation] = got
    assert found["sdpa"] != found["eager"]


def test_canonical_passes_heed_no_more_than_the_model() -> None:
    model = tiny_model(
        "gemma2", torch.float32, attn_implementation="sdpa", attn_logit_softcapping=1.0
    )
    prompt = random_prompt(WINDOW + 5)
    got = AdaDecoder(model, numerics="canonical").generate(prompt, N_TOKENS, eos_token_id=())
    assert got.tokens == greedy_text(model, prompt, N_TOKENS)
