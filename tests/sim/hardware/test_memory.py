"""Peak memory of a model with exit heads: hand-computed parts, published sizes, and what makes it
fit.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model, shapes
from adadecode.profiles.errors import DesignError, DeviceError, ShapeError
from adadecode.sim.hardware.fit import MOST_POSITIONS, capacity, check_fits, fit
from adadecode.sim.hardware.memory import GIB, Deployment, activation_peak, peak_memory

# A layer: attention 2 * 8 * 12 = 192, MLP 3 * 8 * 16 = 384, norms 16. Embedding and LM head: 256
# each. Final norm: 8.
TINY = ModelShape(
    name="tiny",
    n_layers=3,
    hidden_size=8,
    intermediate_size=16,
    n_heads=4,
    n_kv_heads=2,
    head_dim=2,
    vocab_size=32,
    max_positions=100,
)
LLAMA = find_model("llama-3.1-8b")
CARD = find_device("rtx-3060-8gb")


def test_a_tiny_model_by_hand() -> None:
    """1728 numbers in matrices and 48 + 8 + 512 others; two heads of 64; 10 positions of 2 x 4
    numbers in 3 layers.
    """
    memory = peak_memory(
        Deployment(shape=TINY, heads=(1, 2), context=10, sequences=1, n_tokens=1, reserve=7)
    )
    assert (memory.weights, memory.heads, memory.cache, memory.reserve) == (
        2296 * 2,
        2 * 64 * 2,
        3 * 10 * 2 * 4 * 2,
        7,
    )
    assert memory.total == memory.weights + memory.heads + memory.cache + memory.activations + 7


def test_activations_by_hand() -> None:
    """One row of 16-bit numbers: at the LM head 16 bytes of residual, 32 logits of 2 + 4 + 4; ten
    rows: residual, normed state, three times 16 wide.
    """
    assert activation_peak(TINY, 1, logits=1, width=2.0) == 16 + 320
    assert activation_peak(TINY, 10, logits=1, width=2.0) == 160 + 160 + 10 * 48 * 2


def test_filling_a_prompt_is_the_peak_unless_many_rows_are_verified() -> None:
    run = Deployment(shape=LLAMA, context=4096, prompt=2048)
    assert peak_memory(run).activations == activation_peak(LLAMA, 2048, logits=1, width=2.0)
    many = replace(run, prompt=1, sequences=64)
    assert peak_memory(many).activations == activation_peak(LLAMA, 64 * 6, logits=64 * 6, width=2.0)


def test_published_sizes_of_checkpoints() -> None:
    """Llama-2-7B in FP16 13.5 GB; Llama-3.1-8B in INT4 5.7 GB (AWQ), in INT8 8.5 GiB; Mixtral 8x7B
    with all experts 93 GB.
    """
    assert (
        peak_memory(Deployment(shape=find_model("llama-2-7b"), dtype="fp16")).weights
        == 2 * 6738415616
    )
    assert peak_memory(Deployment(shape=LLAMA, dtype="int4")).weights == pytest.approx(
        5.7e9, rel=0.01
    )
    assert peak_memory(Deployment(shape=LLAMA, dtype="int8")).weights == pytest.approx(
        8.5 * GIB, rel=0.01
    )
    assert peak_memory(Deployment(shape=find_model("mixtral-8x7b"))).weights == pytest.approx(
        93.4e9, rel=0.01
    )


def test_a_position_of_llama_2_7b_takes_half_a_mebibyte() -> None:
    """Every head has its keys; in Llama-3.1-8B four share them."""
    assert (
        peak_memory(Deployment(shape=find_model("llama-2-7b"), context=1, sequences=3)).cache
        == 3 * 2**19
    )
    assert peak_memory(Deployment(shape=LLAMA, context=1)).cache == 2**17


def test_a_shared_embedding_is_counted_once() -> None:
    apart, shared = (
        peak_memory(Deployment(shape=replace(TINY, tied_embeddings=tied), context=9)).weights
        for tied in (False, True)
    )
    assert apart - shared == 256 * 2


def test_a_window_ends_the_cache() -> None:
    """What it reaches, and the batch that may yet be rolled back."""
    run = Deployment(shape=replace(TINY, sliding_window=20), context=90, n_tokens=6)
    assert peak_memory(run).cache == peak_memory(Deployment(shape=TINY, context=26)).cache
    assert "an engine that keeps all takes more" in " ".join(fit(run, CARD).notes)


def test_heads_and_cache_have_dtypes_of_their_own() -> None:
    """16 bits where the weights are narrower, unless asked otherwise."""
    narrow = Deployment(shape=LLAMA, dtype="int4", heads=(8, 16))
    wide = replace(narrow, dtype="bf16")
    assert (peak_memory(narrow).heads, peak_memory(narrow).cache) == (
        peak_memory(wide).heads,
        peak_memory(wide).cache,
    )
    halved = peak_memory(replace(narrow, head_dtype="int8", cache_dtype="fp8"))
    assert (2 * halved.heads, 2 * halved.cache) == (
        peak_memory(wide).heads,
        peak_memory(wide).cache,
    )


def test_an_8_gb_card_says_no_with_numbers_and_what_would_fit() -> None:
    answer = fit(Deployment(shape=LLAMA, heads=(8, 16, 24)), CARD)
    document = answer.to_dict()
    assert (answer.fits, answer.longest_context, answer.dtype_that_fits) == (False, 0, "int4")
    assert document["capacity_bytes"] == round(8 * GIB * 0.965)
    assert document["free_bytes"] == document["capacity_bytes"] - document["total_bytes"] < 0
    assert document["bytes"]["heads"] == 3 * 4096**2 * 2


def test_an_8_gb_card_says_yes_to_4_bits() -> None:
    answer = check_fits(Deployment(shape=LLAMA, dtype="int4", heads=(8, 16, 24)), CARD)
    assert answer.fits
    assert answer.dtype_that_fits is None
    assert "only the layers' matrices are int4" in answer.notes[0]


def test_who_cannot_go_on_without_it_gets_an_error_with_a_way_out() -> None:
    with pytest.raises(
        DeviceError,
        match=r"llama-3.1-8b does not fit on rtx-3060-8gb: it takes 16.\d\d GiB "
        r"\(weights 14.96, .*7.72 are there: take weights in int4",
    ):
        check_fits(Deployment(shape=LLAMA), CARD)
    with pytest.raises(DeviceError, match=r"take weights in fp8 or a context of \d+$"):
        check_fits(Deployment(shape=LLAMA, context=65536, prompt=100), find_device("l4"))
    with pytest.raises(DeviceError, match="take a smaller model or a larger device"):
        check_fits(Deployment(shape=find_model("llama-2-70b")), CARD)


def test_a_narrower_dtype_is_one_that_the_device_has() -> None:
    """FP8 where there is FP8; a T4 has neither FP8 nor BF16."""
    run = Deployment(shape=LLAMA, dtype="fp32")
    assert fit(run, find_device("l4")).dtype_that_fits == "bf16"
    assert (
        fit(
            replace(run, shape=find_model("llama-3.2-3b"), context=16384), find_device("t4")
        ).dtype_that_fits
        == "fp16"
    )
    assert fit(replace(run, dtype="fp16"), find_device("t4")).dtype_that_fits == "int8"
    assert "gives no bf16 peak" in fit(Deployment(shape=LLAMA), find_device("t4")).notes[0]


def test_cards_with_ecc_on_gddr_tell_less_of_their_memory() -> None:
    """14.56 of 16 GiB on a T4; whoever knows better says so."""
    assert capacity(find_device("t4")) == 16 * GIB * 0.91
    assert capacity(find_device("t4"), usable=1.0) == 16 * GIB
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(DeviceError, match="usable share of t4's memory"):
            capacity(find_device("t4"), share)


def test_a_model_without_a_limit_is_searched_to_an_end() -> None:
    free = replace(TINY, max_positions=None, sliding_window=4)
    assert fit(Deployment(shape=free, prompt=4), CARD).longest_context == MOST_POSITIONS


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"heads": (3,)}, DesignError, "wanted rising depths of 1..2, each once, got .3."),
        ({"heads": (2, 1)}, DesignError, "wanted rising depths"),
        ({"heads": (0,)}, DesignError, "wanted rising depths"),
        ({"context": 101}, ShapeError, "tiny has 100 positions, got a context of 101"),
        ({"context": 10, "prompt": 11}, ShapeError, "a prompt of 11 tokens in a context of 10"),
        ({"sequences": 0}, ShapeError, "sequences is 0: wanted 1 or more"),
        ({"prompt": 0}, ShapeError, "prompt is 0: wanted 1"),
        ({"reserve": -1}, ShapeError, "reserve is -1: wanted 0"),
        ({"dtype": "fp4"}, DeviceError, "no dtype 'fp4' for the weights: wanted one of fp32, bf16"),
        ({"cache_dtype": "int4"}, DeviceError, "no dtype 'int4' for the cache"),
    ],
)
def test_what_cannot_be_is_refused(
    changed: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(Deployment(shape=TINY, context=50), **changed)  # type: ignore[arg-type]


@given(
    name=st.sampled_from(sorted(shapes())),
    dtype=st.sampled_from(["fp32", "bf16", "int8", "int4"]),
    device=st.sampled_from(["rtx-3060-8gb", "rtx-4090", "h100-sxm", "b200-sxm"]),
    prompt=st.none() | st.integers(1, 512),
    sequences=st.integers(1, 64),
)
def test_the_longest_context_fits_and_one_more_does_not(
    name: str, dtype: str, device: str, prompt: int | None, sequences: int
) -> None:
    run = Deployment(
        shape=find_model(name), dtype=dtype, context=512, prompt=prompt, sequences=sequences
    )
    there = find_device(device)
    longest = fit(run, there).longest_context

    def fits(context: int) -> bool:
        return fit(
            replace(run, context=context, prompt=None if prompt is None else min(prompt, context)),
            there,
        ).fits

    assert longest == 0 or fits(longest)
    assert longest == run.shape.max_positions or not fits(longest + 1)


@given(
    name=st.sampled_from(sorted(shapes())),
    context=st.integers(1, 2000),
    more=st.integers(0, 40),
    sequences=st.integers(1, 8),
)
def test_more_of_anything_never_takes_less(
    name: str, context: int, more: int, sequences: int
) -> None:
    run = Deployment(shape=find_model(name), context=context, sequences=sequences)
    heads = tuple(range(1, 1 + min(more, run.shape.n_layers - 1)))
    for changed in (
        replace(run, context=context + more),
        replace(run, sequences=sequences + more),
        replace(run, heads=heads),
    ):
        assert peak_memory(changed).total >= peak_memory(run).total
