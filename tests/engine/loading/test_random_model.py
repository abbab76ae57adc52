"""Models of known shapes: exactly as large as they should be, and made in place.

They are refused before they fill the memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

import adadecode.engine.loading.random_model
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.random_heads import random_heads
from adadecode.engine.loading.random_model import check_memory, config_of, random_model, sized_shape
from adadecode.profiles.catalog.hf_config import shape_from_config
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import shapes
from adadecode.profiles.errors import InputError, ShapeError
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.memory import Deployment, peak_memory
from tests.support.small_shape import N_LAYERS, VOCABULARY, tiny_shape

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> ModelShape:
    return tiny_shape(tmp_path_factory.mktemp("shapes"))


@pytest.mark.parametrize(
    "name", [name for name in shapes() if name != "phi-2"]
)  # whose configs are not read here
def test_a_shape_read_back_from_its_config_is_the_same(name: str) -> None:
    """Layers, widths, heads, biases, experts, window: nothing is lost."""
    shape = sized_shape(name, 2)
    again = shape_from_config(config_of(shape).to_dict())
    differing = [
        one.name for one in fields(shape) if getattr(again, one.name) != getattr(shape, one.name)
    ]
    assert set(differing) <= {"name", "source"}


@pytest.mark.parametrize(
    "name",
    [
        "llama-3.1-8b",
        "codellama-34b",
        "llama-3.2-1b",
        "qwen2.5-7b",
        "mistral-7b",
        "mixtral-8x7b",
        "internlm-20b",
    ],
)
def test_the_model_has_the_published_parameters(name: str) -> None:
    """All layers, counted where they take no memory."""
    shape = sized_shape(name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(shape))
    assert sum(weight.numel() for weight in model.parameters()) == shape.total_parameters


def test_phi_has_a_bias_that_no_shape_counts() -> None:
    shape = sized_shape("phi-2", 3)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(shape))
    assert (
        sum(weight.numel() for weight in model.parameters()) - shape.vocab_size
        == shape.total_parameters
    )


@pytest.mark.parametrize(
    "different",
    [{"qk_norm": "full"}, {"norms_per_layer": 4}, {"learned_positions": True}, {"norm_bias": True}],
)
def test_a_shape_that_nothing_here_is_built_like_is_refused(
    shape: ModelShape, different: dict[str, Any]
) -> None:
    with pytest.raises(ShapeError, match="no model of this shape can be built here"):
        config_of(replace(shape, **different))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_weight_is_made_in_the_wanted_dtype(shape: ModelShape, dtype: str) -> None:
    """No FP32 tensor as large as a matrix of the model exists at any moment of a 16-bit build."""
    made: set[torch.dtype] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self,
            func: Callable[..., Any],
            types: Sequence[type],
            args: Any = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if (
                isinstance(out, torch.Tensor)
                and out.device == CPU
                and out.is_floating_point()
                and out.numel() >= 32 * 16
            ):
                made.add(out.dtype)
            return out

    with Watch():
        model = random_model(shape, dtype, CPU)
    assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)} == made


def test_matrices_are_normal_and_norms_are_one(shape: ModelShape) -> None:
    """As the architecture starts its training, so that hidden states stay in range."""
    for name, weight in random_model(shape, "float32", CPU).named_parameters():
        if weight.ndim > 1:
            assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.1), name
        else:
            assert bool((weight == 1).all()), name


def test_the_engine_runs_it_like_transformers(shape: ModelShape) -> None:
    """Buffers that no weight fills, like rotary tables, are whole."""
    model = random_model(shape, "float32", CPU)
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    own = model.generate(ids, max_new_tokens=12, do_sample=False)[0, 5:].tolist()
    assert AdaDecoder(model).generate(ids, max_new_tokens=12, policy="vanilla").tokens == own


def test_no_token_of_it_ends_a_text(shape: ModelShape) -> None:
    assert AdaDecoder(random_model(shape, "float32", CPU)).eos == frozenset()


def test_the_seed_decides_the_weights(shape: ModelShape) -> None:
    """The same seed gives the same weights, another one others.

    The user's own stream of random numbers goes on undisturbed.
    """
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (
        random_model(shape, "float32", CPU, seed).lm_head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.rand(3), expected)


def test_heads_are_random_matrices_that_keep_the_scale(shape: ModelShape) -> None:
    """Each depth its own, each as dear as a trained one."""
    model = random_model(shape, "bfloat16", CPU)
    heads = random_heads(model, (2, 4), seed=1)
    first, second = (heads.apply(depth, torch.eye(32, dtype=torch.bfloat16)) for depth in (2, 4))
    assert heads.depths == (2, 4)
    assert not torch.equal(first, second)
    normed = torch.randn(1, 200, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert float(heads.apply(2, normed).float().std()) == pytest.approx(1.0, rel=0.1)
    assert torch.equal(random_heads(model, (2, 4), seed=1).apply(2, normed), heads.apply(2, normed))


def test_fewer_layers_are_said_in_the_name(shape: ModelShape) -> None:
    cut = sized_shape("llama-3.1-8b", 4)
    assert (cut.n_layers, cut.name) == (4, "llama-3.1-8b cut to 4 layers")
    assert sized_shape("llama-3.1-8b", 32) == sized_shape("llama-3.1-8b")


@pytest.mark.parametrize("layers", [0, 1, 33])
def test_a_model_has_at_least_two_layers_and_no_more_than_its_own(layers: int) -> None:
    with pytest.raises(ShapeError, match=r"wanted --layers as 2\.\.32"):
        sized_shape("llama-3.1-8b", layers)


def test_a_dtype_that_memory_is_not_counted_in_is_refused(shape: ModelShape) -> None:
    with pytest.raises(InputError, match="--dtype float64"):
        random_model(shape, "float64", CPU)


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers, and three ways out that are each small enough."""
    monkeypatch.setattr(
        adadecode.engine.loading.random_model, "free_bytes", lambda device: 17 * 2**30
    )
    shape = sized_shape("llama-3.1-8b")
    with pytest.raises(
        InputError, match=r"takes 30\.\d+ GiB \(weights 29\.9\d.*17\.00 are free on cpu"
    ) as refused:
        check_memory(shape, "float32", CPU, heads=(8, 16, 24), context=500)
    layers = int(re.findall(r"--layers (\d+)", str(refused.value))[0])
    assert "--dtype bfloat16" in str(refused.value)
    assert "--shape llama-3.2-3b" in str(refused.value)
    check_memory(sized_shape("llama-3.1-8b", layers), "float32", CPU, heads=(1, 2, 3), context=500)
    check_memory(shape, "bfloat16", CPU, heads=(8, 16, 24), context=500)
    with pytest.raises(InputError, match="takes"):
        check_memory(
            sized_shape("llama-3.1-8b", layers + 1), "float32", CPU, heads=(1, 2, 3), context=500
        )


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({}, 0),
        ({"room": 2048}, 1548 * 2 * 32 * 8 * 128 * 2),
        ({"form": HeadForm(shortlist=1000)}, 1000 * 4096 * 2),
        ({"form": HeadForm(dtype="int8")}, (3 * 4096 + 128256) * 4096),
    ],
)
def test_rooms_and_forms_of_heads_are_counted(
    change: dict[str, Any], more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values of the whole room, rows of the LM head, and drawn matrices."""
    shape = sized_shape("llama-3.1-8b")
    plain = peak_memory(
        Deployment(shape=shape, dtype="bf16", heads=(8, 16, 24), context=500, n_tokens=1, reserve=0)
    ).total

    def check(free: float) -> None:
        monkeypatch.setattr(
            adadecode.engine.loading.random_model, "free_bytes", lambda device: free
        )
        check_memory(shape, "bfloat16", CPU, heads=(8, 16, 24), context=500, **change)

    check(plain + more)
    with pytest.raises(InputError, match="takes"):
        check(plain + more - 1)


def test_what_nothing_fits_into_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adadecode.engine.loading.random_model, "free_bytes", lambda device: 2**20)
    with pytest.raises(InputError, match="a machine with more memory"):
        check_memory(sized_shape("llama-3.1-8b"), "bfloat16", CPU, heads=(8,), context=500)


def test_where_nothing_tells_what_is_free_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adadecode.engine.loading.random_model, "free_bytes", lambda device: None)
    check_memory(sized_shape("llama-3.1-70b"), "float32", CPU, heads=(8,), context=500)


def test_a_token_of_the_vocabulary_can_be_embedded(shape: ModelShape) -> None:
    assert AdaDecoder(random_model(shape, "float32", CPU)).parts.n_embeddings == VOCABULARY
    assert shape.n_layers == N_LAYERS


@pytest.mark.gpu
def test_a_model_is_made_on_the_gpu_without_a_copy_in_main_memory(shape: ModelShape) -> None:
    device = torch.device("cuda")
    model = random_model(
        replace(shape, hidden_size=1024, intermediate_size=4096), "bfloat16", device
    )
    assert {weight.device.type for weight in model.parameters()} == {"cuda"}
    assert (
        AdaDecoder(model, random_heads(model, (2,)))
        .generate(torch.tensor([[1, 2, 3]]), max_new_tokens=4)
        .tokens
    )
