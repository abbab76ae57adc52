"""Bytes and FLOPs of each piece of work, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import ShapeError
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.cost_model import Cost, ModelCost

TINY = ModelShape(
    name="tiny",
    n_layers=2,
    hidden_size=8,
    intermediate_size=16,
    n_heads=4,
    n_kv_heads=2,
    head_dim=2,
    vocab_size=32,
)  # queries 8, keys 4: attention 2 * 8 * 12 = 192, MLP 3 * 8 * 16 = 384, norms 16
MIXED = ModelShape(
    name="mixed",
    n_layers=2,
    hidden_size=8,
    intermediate_size=16,
    n_heads=4,
    n_kv_heads=2,
    head_dim=2,
    vocab_size=32,
    n_experts=4,
    experts_per_token=1,
)


def test_a_layer_reads_its_weights_once_however_many_tokens() -> None:
    """It has 592 numbers of two bytes."""
    cost = ModelCost(shape=TINY)
    assert cost.layer(1, 10).weights == cost.layer(5, 10).weights == 592 * 2


def test_a_layer_reads_the_cache_and_adds_to_it() -> None:
    """Keys and values, 4 numbers each of two bytes: 10 read and 3 written."""
    assert ModelCost(shape=TINY).layer(3, 10).cache == 13 * 2 * 4 * 2


def test_a_window_limits_what_is_read() -> None:
    """A layer reads at most ten positions back."""
    shape = ModelShape(**{**TINY.__dict__, "sliding_window": 10})
    cost = ModelCost(shape=shape)
    assert cost.layer(1, 500).cache == cost.layer(1, 10).cache


def test_flops_are_two_for_each_weight_and_token_and_four_for_each_place_seen() -> None:
    """Norms multiply with no matrix: 576 weights; 10 places of 8 numbers, for queries and for
    values.
    """
    assert ModelCost(shape=TINY).layer(3, 10).flops == 2 * 3 * 576 + 4 * 3 * 10 * 8


def test_context_0_is_a_layer_without_attending() -> None:
    """Operators are measured apart from attention."""
    whole, bare = ModelCost(shape=TINY).layer(1, 64), ModelCost(shape=TINY).layer(1, 0)
    assert (bare.cache, bare.flops, whole.kernels - bare.kernels) == (0, 2 * 576, 1)


def test_a_mixture_reads_the_experts_that_its_tokens_choose() -> None:
    """One token reads one expert, many read all four; each token computes one."""
    cost = ModelCost(shape=MIXED)
    shared = (192 + 16 + 8 * 4) * 2
    assert cost.layer(1, 0).weights == pytest.approx(shared + 384 * 2)
    assert cost.layer(1000, 0).weights == pytest.approx(shared + 4 * 384 * 2)
    assert cost.layer(10, 0).flops == 10 * cost.layer(1, 0).flops


def test_a_head_is_its_matrix_and_the_lm_head() -> None:
    """64 + 256 numbers. One head of an 8B model reads as much as 2.4 layers (PAPER, regimes)."""
    assert ModelCost(shape=TINY).head().weights == 320 * 2
    llama = ModelCost(shape=find_model("llama-3.1-8b"))
    assert llama.head().weights / llama.layer(1, 1).weights == pytest.approx(2.4, abs=0.1)


def test_a_shortlist_reads_its_rows_alone() -> None:
    """64 + 64 numbers for 8 tokens of 32; its logits are spread over the vocabulary. Verification
    stays as it is.
    """
    full, short = ModelCost(shape=TINY), ModelCost(shape=TINY, form=HeadForm(shortlist=8))
    assert (short.head().weights, short.head().flops) == (128 * 2, 2 * 128)
    assert (short.head().activations, short.head().kernels - full.head().kernels) == (
        4 * (32 + 8),
        2,
    )
    assert (short.verify(3), short.layer(1, 1)) == (full.verify(3), full.layer(1, 1))


def test_heads_in_int8_read_a_byte_a_number_and_a_scale_a_row() -> None:
    """8 rows of T, 32 or 8 of the LM head."""
    assert ModelCost(shape=TINY, form=HeadForm(dtype="int8")).head().weights == 320 + 4 * 40
    assert (
        ModelCost(shape=TINY, form=HeadForm(shortlist=8, dtype="int8")).head().weights
        == 128 + 4 * 16
    )


def test_a_shortlist_of_8192_makes_a_head_of_an_8b_model_a_quarter_of_a_layer() -> None:
    """And an eighth in int8, where the full head takes 1.2 layers."""
    shape = find_model("llama-3.1-8b")
    layer = ModelCost(shape=shape).layer(1, 1).weights
    forms = (
        HeadForm(shortlist=8192),
        HeadForm(shortlist=8192, dtype="int8"),
        HeadForm(dtype="int8"),
    )
    shares = [ModelCost(shape=shape, form=form).head().weights / layer for form in forms]
    assert shares == pytest.approx([0.23, 0.115, 1.24], abs=0.01)


def test_a_shortlist_as_long_as_the_vocabulary_is_refused() -> None:
    with pytest.raises(
        ShapeError, match="a shortlist of 32 tokens leaves out none of the 32 of tiny"
    ):
        ModelCost(shape=TINY, form=HeadForm(shortlist=32))


def test_narrow_weights_change_bytes_alone() -> None:
    """INT8 weights: half the bytes, as many FLOPs, the same cache."""
    wide, narrow = (
        ModelCost(shape=TINY).layer(1, 10),
        ModelCost(shape=TINY, weight_bytes=1.0).layer(1, 10),
    )
    assert (narrow.weights * 2, narrow.flops, narrow.cache) == (
        wide.weights,
        wide.flops,
        wide.cache,
    )


def test_the_lm_head_may_stay_wide() -> None:
    """As in quantised checkpoints: layers take half the bytes, heads and verification as many."""
    wide, narrow = ModelCost(shape=TINY), ModelCost(shape=TINY, weight_bytes=1.0, head_bytes=2.0)
    assert narrow.layer(1, 0).weights * 2 == wide.layer(1, 0).weights
    assert (narrow.head(), narrow.verify(3)) == (wide.head(), wide.verify(3))


def test_a_windowed_prefill_attends_to_the_window_alone() -> None:
    """Mistral-7B at 32k: more than its products alone, less than every pair."""
    shape = find_model("mistral-7b")
    window, n = shape.sliding_window, 32768
    assert window == 4096
    pairs = n * window - window**2 / 2
    products = ModelCost(shape=replace(shape, sliding_window=None)).layer(n, 0).flops
    one_layer = products + 4 * pairs * shape.n_heads * shape.head_dim
    cost = ModelCost(shape=shape)
    assert cost.prefill(n).flops == pytest.approx(shape.n_layers * one_layer + cost.verify(1).flops)


def test_a_prefill_is_all_layers_and_one_row_of_the_lm_head() -> None:
    """Weights once; a token sees half the prompt on average."""
    cost = ModelCost(shape=TINY)
    assert cost.prefill(6).weights == 2 * cost.layer(6, 6).weights + cost.verify(1).weights
    assert cost.prefill(6).flops == 2 * (2 * 6 * 576 + 4 * 6 * 3 * 8) + cost.verify(1).flops


def test_costs_add_up() -> None:
    """Each part of the sum is the sum of that part."""
    one = Cost(weights=1, cache=2, activations=3, flops=4, kernels=5)
    assert one + one == Cost(weights=2, cache=4, activations=6, flops=8, kernels=10)
    assert one.bytes == 6
