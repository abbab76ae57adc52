"""Products of few rows are right, the same in any batch, and leave the model as it is."""

from __future__ import annotations

import importlib
import platform
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import read_draft
from adadecode.engine.decoding.sequence import greedy_draft, head_logits
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model import few_rows
from adadecode.engine.model.canonical import CanonicalModel
from adadecode.engine.model.few_row_layers import FewRowLinear, Served, SteadyLinear
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime.native_library import FLAGS, _compiler
from adadecode.profiles.errors import UnsupportedModel
from tests.support.models import random_prompt, tiny_model

needs_compiler = pytest.mark.skipif(
    few_rows.why_not_compiled() is not None,
    reason=f"needs a C++ compiler: {few_rows.why_not_compiled()}",
)


@pytest.fixture(scope="module", autouse=True)
def _inductor() -> None:
    """Import what warns of its own imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("torch._inductor.compile_fx")


WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 320, "vocab_size": 97}
FORMATS = (torch.float32, torch.bfloat16)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody measured yet, and nobody remembers what was measured here."""
    monkeypatch.setattr(few_rows, "_ways", {})
    monkeypatch.setattr(few_rows, "_right", {})
    with torch.inference_mode():
        yield


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own product, whatever is soonest."""
    monkeypatch.setattr(few_rows, "_choose", lambda _: ("compiled",) * (few_rows.MOST + 1))


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def wide_model() -> Any:
    return tiny_model("llama", torch.float32, **WIDE)


# -- products --------------------


@needs_compiler
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(576, 1536), (33, 700), (1, 17), (500, 1), (170, 4097)])
@pytest.mark.parametrize("threads", [1, 2])
def test_our_product_is_the_product_and_a_row_has_the_same_bits_in_any_batch(
    dtype: torch.dtype, shape: tuple[int, int], threads: int
) -> None:
    weight, rows = drawn(*shape, dtype=dtype), drawn(few_rows.MOST, shape[1], dtype=dtype)
    bias = drawn(shape[0], dtype=dtype)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = few_rows.PRODUCTS["compiled"](rows, weight, bias)
        for count in range(1, few_rows.MOST + 1):
            some = few_rows.PRODUCTS["compiled"](rows[-count:], weight, bias)
            assert torch.equal(some, together[-count:])
    finally:
        torch.set_num_threads(before)
    exact = F.linear(rows.double(), weight.double(), bias.double())
    off = 1e-5 if dtype == torch.float32 else 1e-2
    assert (together.double() - exact).abs().max() <= off * max(1.0, float(exact.abs().max()))


@needs_compiler
def test_what_is_not_finite_stays_so() -> None:
    weight = torch.ones(64, 256, dtype=torch.bfloat16)
    rows = torch.stack([torch.full((256,), value) for value in (float("inf"), float("nan"))])
    got = few_rows.PRODUCTS["compiled"](rows.to(torch.bfloat16), weight, None)
    assert (got[0] == float("inf")).all()
    assert got[1].isnan().all()


@pytest.mark.parametrize("name", few_rows.PRODUCTS)
@pytest.mark.parametrize("rows", [(1, 1), (1, 3), (2, 4), (5,)])
def test_every_product_is_linear(name: str, rows: tuple[int, ...]) -> None:
    if name == "compiled" and few_rows.why_not_compiled() is not None:
        pytest.skip("needs a C++ compiler")
    given, weight, bias = drawn(*rows, 96), drawn(300, 96), drawn(300)
    for offset in (None, bias):
        torch.testing.assert_close(
            few_rows.PRODUCTS[name](given, weight, offset),
            F.linear(given, weight, offset),
            atol=1e-4,
            rtol=1e-4,
        )


def test_what_multiplies_is_measured_once_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Size] = []

    def choose(weight: torch.Tensor) -> few_rows.Way:
        asked.append(weight.shape)
        return ("transposed",) * (few_rows.MOST + 1)

    monkeypatch.setattr(few_rows, "_choose", choose)
    for weight in (drawn(200, 128), drawn(200, 128) + 1, drawn(201, 128), drawn(200, 128)):
        for count in (1, 4):
            few_rows.linear(drawn(count, 128), weight)
    assert asked == [(200, 128), (201, 128)]
    assert few_rows.describe_ways() == [
        {
            "dtype": "float32",
            "shape": [rows, 128],
            "threads": torch.get_num_threads(),
            "rows": ["transposed"],
        }
        for rows in (200, 201)
    ]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_ours_is_taken_unless_libraries_are_sooner(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """Over all numbers of rows; of libraries, the sooner one for each."""
    monkeypatch.setattr(few_rows, "_is_right", lambda *_: True)

    def seconds(names: list[str], rows: torch.Tensor, _: torch.Tensor) -> dict[str, float]:
        return dict(zip(names, (1.0, 0.5 if len(rows) == 2 else 2.0, factor), strict=True))

    monkeypatch.setattr(few_rows, "_least_seconds", seconds)
    way = few_rows.way_of(drawn(200, 128))
    if factor < 1:
        assert set(way) == {"compiled"}
    else:
        assert [way[count] for count in (1, 2, 3, few_rows.MOST)] == [
            "library",
            "transposed",
            "library",
            "library",
        ]


def test_a_wrong_product_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_rows, "why_not_compiled", lambda: None)
    monkeypatch.setattr(few_rows, "_compiled", lambda rows, w, b: 1.01 * F.linear(rows, w, b))
    assert "compiled" not in few_rows.way_of(drawn(200, 128))


def test_without_a_compiler_libraries_multiply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("ADADECODE_CACHE", str(tmp_path))
    few_rows._library.cache_clear()
    try:
        weight = drawn(200, 128)
        assert set(few_rows.way_of(weight)) <= {"library", "transposed"}
        torch.testing.assert_close(
            few_rows.linear(drawn(2, 128), weight), F.linear(drawn(2, 128), weight)
        )
    finally:
        few_rows._library.cache_clear()


PROCESSORS = ("x86-64", "sandybridge", "bdver2", "x86-64-v3", "x86-64-v4", "cooperlake")
"""With SSE, AVX, AVX and FMA, AVX2, AVX-512, and AVX-512 with products in BF16."""


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_it_compiles_for_processors_of_every_kind(processor: str) -> None:
    """Where it does not, libraries multiply, and nobody is told."""
    flags = [flag for flag in FLAGS if flag not in ("-march=native", "-shared")]
    subprocess.run(
        [_compiler(), *flags, f"-march={processor}", "-fsyntax-only", str(few_rows.SOURCE)],
        check=True,
    )


def test_what_is_trained_and_what_is_small_stay_with_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(few_rows, "way_of", None)
    small = drawn(100, 100)
    assert torch.equal(few_rows.linear(small[:2], small), F.linear(small[:2], small))
    with torch.inference_mode(mode=False), torch.enable_grad():
        weight = torch.ones(200, 128, requires_grad=True)
        few_rows.linear(torch.ones(2, 128), weight).sum().backward()
        assert weight.grad is not None
        assert (weight.grad == 2).all()


# -- layers --------------------


def test_a_served_layer_shares_all_with_the_model_and_leaves_it_as_it_is() -> None:
    layer = wide_model().model.layers[0]
    served = Served(layer)
    made = served.of(layer)
    linear, ours = layer.mlp.up_proj, made.mlp.up_proj
    assert type(linear) is nn.Linear
    assert type(ours) is FewRowLinear
    assert made.input_layernorm is layer.input_layernorm

    given = drawn(1, 2, 256)
    linear.weight = nn.Parameter(drawn(320, 256))
    torch.testing.assert_close(ours(given), F.linear(given, linear.weight), atol=1e-4, rtol=1e-4)
    handle = linear.register_forward_hook(lambda *_: torch.zeros(1))
    assert torch.equal(ours(given), torch.zeros(1))
    handle.remove()
    hidden = [module.register_forward_hook(lambda *_: torch.ones(1)) for module in (layer.mlp,)]
    assert torch.equal(made.mlp(given), torch.ones(1))
    hidden[0].remove()


def test_a_part_that_is_exchanged_later_is_the_one_that_is_called() -> None:
    layer = wide_model().model.layers[0]
    served = Served(layer)
    before = served.of(layer)
    assert served.of(layer) is before
    layer.mlp.up_proj = nn.Linear(256, 320, bias=True)
    made = served.of(layer)
    assert made is not before
    assert made.mlp.up_proj.weight is layer.mlp.up_proj.weight
    assert served.of(layer) is made


@pytest.mark.usefixtures("ours")
@needs_compiler
@pytest.mark.parametrize("graphs", ["eager", "static", "compile"])
@pytest.mark.parametrize("dtype", FORMATS)
def test_logits_are_the_models_own_and_a_position_has_the_same_in_any_batch(
    graphs: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the layers is products and norms, so that its bits are the same too."""
    multiplied: list[int] = []
    into = few_rows.multiply_into

    def counted(given: torch.Tensor, *rest: Any) -> None:
        multiplied.append(given.numel() // given.shape[-1])
        into(given, *rest)

    for module in ("few_rows", "few_rows_operator"):
        monkeypatch.setattr(f"adadecode.engine.model.{module}.multiply_into", counted)
    model = wide_model().to(dtype)
    parts = AdaDecoder(model, graphs=graphs).parts
    hidden = drawn(1, 8, 256, dtype=dtype)
    with parts.session():
        for one in (hidden, hidden[:, :1]):  # what is compiled is held against what it is made of
            parts.logits(one)
        multiplied.clear()
        together = parts.logits(hidden)
        alone = torch.cat([parts.logits(hidden[:, at : at + 1]) for at in range(8)], 1)
    assert multiplied == [8, *[1] * 8]
    own = model.lm_head(model.model.norm(hidden)).float()
    torch.testing.assert_close(together, own, rtol=5e-2, atol=5e-2)
    if graphs != "compile":  # inductor may add up a norm otherwise
        assert torch.equal(together, alone)


@pytest.mark.usefixtures("ours")
@needs_compiler
@pytest.mark.parametrize("graphs", ["eager", "compile"])
def test_texts_are_the_models_own_by_every_product(graphs: str) -> None:
    model = wide_model()
    decoder = AdaDecoder(model, ExitHeads.identity(model, [2, 4]), graphs=graphs)
    prompt = random_prompt(9)
    wanted = model.generate(prompt, max_new_tokens=24, do_sample=False)[0, 9:].tolist()
    for gamma in (1.0, 0.0):
        assert decoder.generate(prompt, 24, gamma=gamma).tokens == wanted
    with few_rows.by_library_alone():
        assert AdaDecoder(model).generate(prompt, 24).tokens == wanted


@pytest.mark.usefixtures("ours")
@needs_compiler
@pytest.mark.parametrize("sooner", [True, False])
def test_compiled_layers_have_the_products_that_are_sooner(
    sooner: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are timed before the first pass, which leaves no trace in keys and values."""
    multiplied: list[int] = []
    into = few_rows.multiply_into

    def counted(given: torch.Tensor, *rest: Any) -> None:
        multiplied.append(given.numel() // given.shape[-1])
        into(given, *rest)

    def race(passes: Any) -> bool:
        for ways in passes.values():
            assert set(ways) == {True, False}
            for run in ways.values():
                run()
        multiplied.clear()
        return sooner

    monkeypatch.setattr("adadecode.engine.model.few_rows_operator.multiply_into", counted)
    monkeypatch.setattr("adadecode.engine.model.inductor.sums_are_sooner", race)
    model = wide_model()
    decoder = AdaDecoder(model, ExitHeads.identity(model, [2, 4]), graphs="compile")
    prompt = random_prompt(9)
    wanted = model.generate(prompt, max_new_tokens=24, do_sample=False)[0, 9:].tolist()
    assert decoder.generate(prompt, 24, gamma=0.0).tokens == wanted
    assert (multiplied == []) is sooner


def test_canonical_numerics_multiply_by_what_no_stopwatch_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else two processes could multiply in two ways, and write two texts."""
    model = wide_model()
    layer: Any = SegmentedModel(model).served_layer(0)
    assert type(layer.mlp.up_proj) is FewRowLinear
    monkeypatch.setattr(few_rows, "way_of", None)
    with pytest.raises(UnsupportedModel, match="not callable"):
        SegmentedModel(wide_model())
    layer = CanonicalModel(model).served_layer(0)
    assert type(layer.mlp.up_proj) is SteadyLinear
    assert layer.mlp.up_proj.weight is model.model.layers[0].mlp.up_proj.weight
    weight = layer.mlp.up_proj.weight
    rows = drawn(6, weight.shape[1])
    ours = "library" if few_rows.why_not_compiled() is not None else "compiled"
    with torch.inference_mode():
        wanted = few_rows.PRODUCTS[ours](rows, weight, None)
        assert torch.equal(few_rows.steady_linear(rows, weight), wanted)


def test_a_wrong_product_is_not_taken_in_canonical_numerics_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(few_rows, "_is_right", lambda *_: False)
    rows, weight = drawn(3, 128), drawn(200, 128)
    assert torch.equal(few_rows.steady_linear(rows, weight), F.linear(rows, weight))


@pytest.mark.parametrize("product", [few_rows.linear, few_rows.steady_linear])
def test_what_a_library_refuses_is_refused(product: Any) -> None:
    """Rows of another width, and a bias of another format, whatever multiplies."""
    weight = drawn(256, 128)
    for rows, bias in (
        (drawn(2, 64), None),
        (drawn(2, 128), torch.ones(256, dtype=torch.bfloat16)),
    ):
        with pytest.raises(RuntimeError):
            product(rows, weight, bias)


def test_a_bias_with_gaps_is_read_right() -> None:
    weight, rows, wide = drawn(256, 128), drawn(2, 128), drawn(512)
    found = few_rows.linear(rows, weight, wide[::2])
    torch.testing.assert_close(found, rows @ weight.T + wide[::2])


# -- checks --------------------


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_draft_of_a_shortlist_is_that_of_all_logits_also_on_a_tie(dtype: torch.dtype) -> None:
    model = wide_model().to(dtype)
    weight = model.lm_head.weight
    weight[40], weight[41] = weight[7], weight[7]
    frequent = [41, 40, 7, 3, 90]
    heads = ExitHeads.identity(model, [3]).shaped(model, shortlist=5, frequent=frequent)
    parts = AdaDecoder(model, heads).parts
    hidden = (50 * weight[7])[None, None]
    with parts.session():
        found = greedy_draft(parts, heads, 3, hidden)
        wanted = read_draft(head_logits(parts, heads, 3, hidden))
    assert found.token == wanted.token == 7
    assert found.confidence == pytest.approx(wanted.confidence, rel=1e-6)
