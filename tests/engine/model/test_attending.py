"""A thread attends in a way of ours, and nobody else notices."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.model.attending import NAME, attending_by
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import UnsupportedModel
from tests.support.models import random_prompt, tiny_model


def ours(*_: Any, **__: Any) -> Any:
    raise AssertionError("nothing attends here")


def named(model: PreTrainedModel) -> str:
    return str(model.config._attn_implementation)


def test_only_this_thread_reads_our_name_and_only_within() -> None:
    model, seen = tiny_model("llama"), []
    own = named(model)
    with attending_by(ours):
        thread = threading.Thread(target=lambda: seen.append(named(model)))
        thread.start()
        thread.join()
        seen.append(named(model))
        assert copy.deepcopy(model.config).to_dict() == model.config.to_dict()
    assert [*seen, named(model)] == [own, NAME, own]


def test_after_an_error_this_thread_attends_as_before() -> None:
    """Within another way of ours, in that way."""
    model = tiny_model("llama")
    own = named(model)

    def fail() -> None:
        with attending_by(ours):
            raise KeyboardInterrupt

    with attending_by(ours):
        with pytest.raises(KeyboardInterrupt):
            fail()
        assert named(model) == NAME
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert named(model) == own


def test_a_model_loaded_with_our_name_is_told_what_to_do() -> None:
    model = tiny_model("llama", attn_implementation=NAME)
    with pytest.raises(UnsupportedModel, match="load the model with another one, such as sdpa"):
        model(random_prompt(3))


def test_a_compiled_model_reads_its_own_attention() -> None:
    """It is traced whole, also while this thread attends in a way of ours."""
    model = tiny_model("llama")

    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if model.config._attn_implementation == "sdpa" else x

    compiled = torch.compile(doubled, backend="eager", fullgraph=True)
    one = torch.ones(1)
    assert compiled(one) == 2
    with attending_by(ours):
        assert compiled(one) == 2
        assert doubled(one) == 1


def test_layers_that_stop_attending_through_the_registry_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They would write no keys and values, and the text would be another."""
    parts = SegmentedModel(tiny_model("llama"))
    layer = parts.layers[2]
    monkeypatch.setattr(layer, "forward", lambda hidden, *_, **__: hidden)
    parts.allocate(8)
    with parts.session(), pytest.raises(UnsupportedModel, match="5 of 6 layer calls attended"):
        parts.run(0, parts.n_layers, parts.embed(random_prompt(3), 0), 0)
