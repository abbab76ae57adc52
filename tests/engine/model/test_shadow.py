"""Shadows share weights with a module; what is done to them is not done to it."""

from __future__ import annotations

from functools import partial, update_wrapper, wraps
from types import MethodType
from typing import Any

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import nn

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model.shadow import deep_shadow, exchanged, shadow
from adadecode.profiles.errors import UnsupportedModel
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


def _around(forward: Any) -> Any:
    """Return a function around a forward method, as users write it."""

    @wraps(forward)
    def called(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    return called


def _as_default(forward: Any) -> Any:
    return lambda *args, _forward=forward, **kwargs: _forward(*args, **kwargs)


def _compiled(forward: Any) -> Any:
    return torch.compile(forward, backend="eager")


@pytest.mark.parametrize("part", ["model", "body", "layers"])
@pytest.mark.parametrize("way", [_around, _as_default, torch.no_grad(), _compiled])
def test_a_forward_method_with_a_function_around_it_is_decoded(way: Any, part: str) -> None:
    model = tiny_model("llama")
    own = greedy_text(model, random_prompt(6), 8)
    for module in {"model": [model], "body": [model.model], "layers": model.model.layers}[part]:
        module.forward = way(module.forward)
    decoder = AdaDecoder(model, random_heads(model))
    assert decoder.generate(random_prompt(6), 8, gamma=0.1, eos_token_id=()).tokens == own


def test_what_a_function_around_a_forward_method_does_is_done() -> None:
    """By the shadow too, and by nobody else's weights."""
    model = Pair(nn.Identity(), nn.Identity())
    forward, calls = model.forward, []

    def twice(x: torch.Tensor) -> torch.Tensor:
        calls.append(twice.__name__)  # it holds itself
        return 2 * forward(x)

    model.forward = twice
    made = exchanged(model, {model.second: nn.Threshold(5.0, 7.0)})
    assert made(torch.zeros(1)) == 14
    assert model(torch.ones(1)) == 2
    assert calls == ["twice", "twice"]


def test_a_forward_method_that_calls_the_model_itself_is_named() -> None:
    model = tiny_model("llama")

    class Hidden:
        def __init__(self, forward: Any) -> None:
            self.kept = forward

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.kept(*args, **kwargs)

    model.model.forward = Hidden(model.model.forward)
    with pytest.raises(UnsupportedModel, match="its forward method was set to a function that"):
        AdaDecoder(model)


def _by_layer_methods(model: Any) -> Any:
    for layer in model.model.layers:
        layer.compile(backend="eager")
    return model


def _by_layer_modules(model: Any) -> Any:
    for index, layer in enumerate(model.model.layers):
        model.model.layers[index] = torch.compile(layer, backend="eager")
    return model


def _by_body(model: Any) -> Any:
    model.model = torch.compile(model.model, backend="eager")
    return model


def _by_method(model: Any) -> Any:
    model.compile(backend="eager")
    return model


def _whole(model: Any) -> Any:
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize(
    ("compiled", "options"),
    [
        *(
            (way, {})
            for way in (_by_layer_methods, _by_layer_modules, _by_body, _by_method, _whole)
        ),
        (_by_layer_methods, {"numerics": "canonical"}),
        (_by_layer_methods, {"graphs": "static"}),
    ],
)
def test_a_model_that_torch_compiled_is_decoded(compiled: Any, options: dict[str, Any]) -> None:
    model = tiny_model("llama")
    own = greedy_text(model, random_prompt(6), 8)
    decoder = AdaDecoder(compiled(model), random_heads(model), **options)
    assert decoder.generate(random_prompt(6), 8, gamma=0.1, eos_token_id=()).tokens == own


def test_attention_that_torch_compiled_is_named() -> None:
    model = tiny_model("llama")
    for layer in model.model.layers:
        layer.self_attn.compile(backend="eager")
    with pytest.raises(UnsupportedModel, match=r"part 0\.self_attn .* compiled by torch\.compile"):
        AdaDecoder(model)
