"""Shadows share weights with a module; what is done to them is not done to it."""

from __future__ import annotations

from functools import partial, update_wrapper
from types import MethodType
from typing import Any

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import nn

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model.shadow import deep_shadow, exchanged, shadow
from tests.support.models import greedy_text, random_heads, random_prompt, tiny_model


class Pair(nn.Module):
    """Two parts, one after the other."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.third = first, second, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_a_shadow_has_the_weights_and_hooks_of_its_own() -> None:
    module, heard = nn.Linear(2, 2), []
    made = shadow(module)
    made.register_forward_hook(lambda *_: heard.append("shadow"))
    made.eval()
    x = torch.ones(2)
    assert torch.equal(made(x), module(x))
    assert heard == ["shadow"]
    assert module.training
    assert made.weight is module.weight
    made.weight = nn.Parameter(torch.zeros(2, 2))
    assert module.weight is not made.weight


def test_a_part_is_exchanged_wherever_it_is_and_in_no_other_model() -> None:
    inner, other = nn.Linear(2, 2), nn.Identity()
    model = Pair(Pair(inner, nn.Identity()), Pair(nn.Identity(), inner))
    made = exchanged(model, {inner: other})
    x = torch.ones(2)
    assert torch.equal(made(x), x)
    assert not torch.equal(model(x), x)
    assert exchanged(model, {nn.Linear(1, 1): other}) is model
    assert made.first.second is model.first.second  # what holds no such part is the model's


def test_a_deep_shadow_shares_weights_and_no_module() -> None:
    model = tiny_model("llama")
    made = deep_shadow(model)
    assert not {*model.modules()} & {*made.modules()}
    assert [*map(id, made.parameters())] == [*map(id, model.parameters())]
    for module in made.modules():
        for name in module._parameters:
            module._parameters[name] = None
    assert model(random_prompt(3)).logits.isfinite().all()


def test_a_part_that_is_there_twice_has_one_deep_shadow() -> None:
    part = nn.Linear(2, 2)
    made = deep_shadow(Pair(part, part))
    assert made.first is made.second


def test_methods_that_were_set_on_a_module_are_its_shadows() -> None:
    """As ``accelerate`` wraps the forward pass of modules that it places."""
    model = Pair(nn.Identity(), nn.Identity())

    def called(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.kept(x) + 1

    model.kept = model.forward
    model.forward = update_wrapper(partial(called, model), model.kept)
    made = exchanged(model, {model.second: nn.Threshold(5.0, 7.0)})
    assert made(torch.zeros(1)) == 8
    assert model(torch.zeros(1)) == 1
    model.forward = MethodType(called, model)
    assert exchanged(model, {model.second: nn.Threshold(5.0, 7.0)})(torch.zeros(1)) == 8


def test_a_compiled_call_stays_behind() -> None:
    """It would call the module in place of its shadow."""
    model = nn.Identity()
    model._compiled_call_impl = lambda _x: "compiled"  # type: ignore[assignment]
    assert model("plain") == "compiled"
    assert shadow(model)("plain") == "plain"


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_model_that_accelerate_placed_is_decoded(architecture: str) -> None:
    """It wraps the forward pass of the model, of its body and of every layer."""
    model = tiny_model(architecture)
    own = greedy_text(model, random_prompt(6), 8)
    body = model.base_model
    for module in (*(body.layers if architecture == "llama" else body.h), body, model):
        add_hook_to_module(module, AlignDevicesHook("cpu", io_same_device=True), append=True)
    decoder = AdaDecoder(model, random_heads(model))
    assert decoder.generate(random_prompt(6), 8, gamma=0.1, eos_token_id=()).tokens == own
