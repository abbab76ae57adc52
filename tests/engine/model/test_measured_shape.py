"""What a token reads of each layer, measured, is what the layer holds and what configs say."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress

import pytest
import torch

from adadecode.engine.model.measured_shape import measure_shape
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import shape_from_config
from adadecode.profiles.errors import ShapeError
from tests.support.every_model import small_model
from tests.support.models import WINDOW, tiny_model
from tests.support.paths import ROOT
from tests.support.quick import quick_or_slow

_LISTED = json.loads((ROOT / "benchmarks" / "results" / "architectures.json").read_text("utf-8"))
SERVED = [name for name, one in _LISTED["architectures"].items() if one["kind"] == "served"]
QUICK = (
    *("afmoe", "cohere2", "deepseek_v2", "gemma3_text", "gpt_oss", "granitemoeshared", "llama"),
    *("mimo_v2_flash", "opt", "phi", "qwen2_moe"),
)
UNREAD = ("whisper",)
"""It holds attention to sounds, which no text without them uses."""


def measured(name: str) -> tuple[SegmentedModel, ModelShape]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what small models make ``transformers`` say
        parts = SegmentedModel(small_model(name))
    return parts, measure_shape(parts, name)


@pytest.mark.parametrize("name", [quick_or_slow(name, quick=QUICK, id=name) for name in SERVED])
def test_what_is_measured_is_what_the_config_says(name: str) -> None:
    """All parameters of a layer are read, by all experts together. Where the config's family is
    known, every layer comes to the same, and latent keys and values unfolded.
    """
    parts, shape = measured(name)
    held = [sum(weight.numel() for weight in layer.parameters()) for layer in parts.layers]
    if name not in UNREAD:
        assert [layer.parameters for layer in shape.layers] == held
    assert [layer.window for layer in shape.layers] == [
        parts.windows[at] or None for at in range(parts.n_layers)
    ]
    config = json.loads(json.dumps(parts.model.config.to_diff_dict(), default=str))
    with suppress(ShapeError):
        known = shape_from_config(config)
        for mine, theirs in zip(shape.layers, known.each_layer, strict=True):
            assert (mine.parameters, mine.experts) == (theirs.parameters, theirs.experts)
            assert (mine.multiplied, mine.window) == (theirs.multiplied, theirs.window)
            assert mine.cache in (theirs.expanded, theirs.cache)


def test_weights_that_no_token_reads_are_not_counted() -> None:
    parts, shape = measured("whisper")
    layer = parts.layers[0]
    unread = sum(
        weight.numel() for name, weight in layer.named_parameters() if "encoder_attn" in name
    )
    held = sum(weight.numel() for weight in layer.parameters())
    assert unread > 0
    assert shape.layers[0].parameters == held - unread


def test_experts_are_told_apart_in_one_tensor_and_in_many_modules() -> None:
    """Four of them, of which a token uses two; jetmoe also has some in its attention."""
    for name in ("gpt_oss", "jetmoe", "granitemoeshared"):
        layer = measured(name)[1].layers[-1]
        assert (layer.n_experts, layer.experts_per_token) == (4, 2), name
        assert layer.experts + layer.shared == layer.matrices


def test_the_lm_head_and_its_tie_are_measured() -> None:
    model = tiny_model("llama", torch.float32)
    shape = measure_shape(SegmentedModel(model), "tiny")
    head = model.get_output_embeddings().weight
    assert shape.lm_head_parameters == head.numel()
    assert shape.tied_embeddings == (head is model.get_input_embeddings().weight)
    assert shape.total_parameters == model.num_parameters()


def test_a_window_is_measured_where_a_layer_slides() -> None:
    shape = measured("gemma3_text")[1]
    assert {layer.window for layer in shape.layers} == {WINDOW, None}


def test_measuring_leaves_a_model_as_it_was() -> None:
    model = tiny_model("mixtral", torch.float32)
    parts = SegmentedModel(model)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    first, second = (measure_shape(parts, "x") for _ in range(2))
    assert first == second
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
