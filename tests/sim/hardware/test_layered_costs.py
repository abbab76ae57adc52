"""Layers that differ are priced one by one: windows, mixtures, states, and packed experts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import shape_from_config
from adadecode.profiles.errors import ShapeError
from adadecode.sim.hardware.attention_latency import Attending
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import context_marks
from adadecode.sim.hardware.fit import fit
from adadecode.sim.hardware.memory import WEIGHT_BYTES, Deployment, peak_memory
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.prediction.accounting import CostPrices
from tests.support.paths import DEMO_PROFILE
from tests.support.published_configs import PUBLISHED
from tests.support.sim_command import run_json

FULL = LayerShape(shared=576, norms=16, cache=8, reads=8, products=16, attention_width=12)
SLIDES = replace(FULL, window=10)
SPARSE = replace(FULL, shared=208, n_experts=4, experts_per_token=1, expert_parameters=384)
STATE = LayerShape(shared=300, norms=16, state=40)
SHARES = replace(FULL, cache=0)
LAYERS = (FULL, SLIDES, SPARSE, STATE, SHARES)
MIXED = ModelShape(
    name="mixed",
    n_layers=5,
    hidden_size=8,
    intermediate_size=16,
    n_heads=4,
    n_kv_heads=2,
    head_dim=2,
    vocab_size=32,
    layers=LAYERS,
)


def published(name: str) -> ModelShape:
    return shape_from_config(PUBLISHED[name].config, name)


def test_each_layer_reads_its_own_weights_and_cache() -> None:
    """Bytes of two a number, at a context of 100 and 3 tokens."""
    cost = ModelCost(shape=MIXED)
    found = [cost.layer(3, 100, at) for at in range(5)]
    experts = 4 * (1 - 0.75**3) * 384
    assert [one.weights for one in found] == pytest.approx(
        [2 * 592, 2 * 592, 2 * (224 + experts), 2 * 316, 2 * 592]
    )
    assert [one.cache for one in found] == [
        2 * (100 * 8 + 3 * 8),
        2 * (10 * 8 + 3 * 8),  # within its window
        2 * (100 * 8 + 3 * 8),
        2 * 2 * 40,  # its state is read and written, whatever the context
        2 * 100 * 8,  # another layer wrote them
    ]
    assert found[3].flops == 2 * 3 * 300


def test_layers_that_differ_have_no_usual_one() -> None:
    with pytest.raises(ShapeError, match="layers of mixed differ: name one of them"):
        ModelCost(shape=MIXED).layer(1, 1)
    alike = replace(MIXED, layers=(FULL,) * 5)
    assert ModelCost(shape=alike).layer(1, 9) == ModelCost(shape=MIXED).layer(1, 9, 0)


def test_a_prefill_is_the_sum_of_all_layers() -> None:
    cost = ModelCost(shape=MIXED)
    layers = [cost.layer(6, 6, at) for at in range(5)]
    assert cost.prefill(6).weights == pytest.approx(
        sum(one.weights for one in layers) + cost.verify(1).weights
    )
    assert cost.prefill(6).kernels == sum(one.kernels for one in layers) + cost.verify(1).kernels


@pytest.mark.parametrize("measure", ["flops", "bytes", "weights", "cache"])
def test_an_account_adds_up_the_layers_that_ran(measure: Any) -> None:
    cost = ModelCost(shape=MIXED)
    prices = CostPrices(cost, measure)
    for start, stop in ((0, 5), (1, 3), (4, 5)):
        each = (getattr(cost.layer(2, 50, at), measure) for at in range(start, stop))
        assert prices.layers(start, stop, 2, 50, 5) == pytest.approx(sum(each))


def test_only_the_experts_may_be_packed() -> None:
    """gpt-oss: attention, router, embedding and LM head keep 16 bits. The checkpoints take 12.8 and
    60.8 GiB (model card, arXiv 2508.10925, table 1).
    """
    for name, gib in (("gpt-oss-20b", 12.8), ("gpt-oss-120b", 60.8)):
        run = Deployment(shape=published(name), dtype="mxfp4")
        assert peak_memory(run).weights / 2**30 == pytest.approx(gib, rel=0.01)
        assert "only the experts are mxfp4" in " ".join(fit(run, find_device("h100-sxm")).notes)
    shape = published("gpt-oss-20b")
    cost = Precision.of("mxfp4", "bf16").cost(shape)
    layer = shape.each_layer[0]
    touched = layer.touched(1) * layer.expert_parameters
    assert cost.layer(1, 0, 0).weights == pytest.approx(
        2 * (layer.shared + layer.norms) + WEIGHT_BYTES["mxfp4"] * touched
    )


def test_a_token_of_deepseek_v3_takes_70_kilobytes() -> None:
    """576 numbers of two bytes in 61 layers: 70,272 bytes, of Llama-3.1-405B 516,096
    (arXiv 2505.09343, table 1).
    """
    run = Deployment(shape=published("DeepSeek-V3"), context=1)
    assert peak_memory(run).cache == 70272
    assert "takes 71.1 times as much" in " ".join(fit(run, find_device("h100-sxm")).notes)


def test_layers_of_windows_and_states_hold_less() -> None:
    """At 32,768 positions, gemma 3 holds 52 of 62 layers up to 1,024; Qwen3-Next a quarter."""
    gemma, next_ = published("gemma-3-27b"), published("Qwen3-Next-80B-A3B")
    position = 2 * 16 * 128 * 2
    run = Deployment(shape=gemma, context=32768, n_tokens=6)
    assert peak_memory(run).cache == position * (10 * 32768 + 52 * 1030)
    few, many = (
        peak_memory(Deployment(shape=next_, context=context)).cache for context in (1000, 2000)
    )
    assert many - few == 1000 * 12 * 2 * 2 * 256 * 2


def test_a_datasheet_prices_layers_with_windows_apart() -> None:
    shape = published("gpt-oss-20b")
    made = datasheet_latencies(
        shape, find_device("h100-sxm"), dtype="mxfp4", max_context=8192, max_tokens=2, depths=(12,)
    )
    slides, full = (made.middle.layer(at, 1, 8192, shape.n_layers) for at in (0, 1))
    assert slides < full
    short = [made.middle.layer(at, 1, 1, shape.n_layers) for at in (0, 1)]
    assert short[0] == short[1]


def test_contexts_between_which_time_is_linear_know_every_window() -> None:
    both = replace(MIXED, layers=(FULL, SLIDES, replace(FULL, window=30), FULL, FULL))
    assert context_marks(both, 100) == [1, 10, 30, 100]
    assert both.windows == (10, 30)


def test_attention_is_fitted_to_what_a_mean_layer_sees() -> None:
    """Two of four layers see ten positions at most."""
    shape = replace(MIXED, n_layers=4, layers=(FULL, SLIDES, FULL, SLIDES))
    table = uniform_latencies(4, (1,), head=1, max_tokens=2, max_context=100)
    attending = Attending(table, shape.sight)
    assert shape.sight == (10**9, 10, 10**9, 10)
    assert attending._seen(40) == 25
    assert replace(shape, layers=(FULL,) * 4).sight is None
    assert replace(shape, layers=(SLIDES,) * 4).sight == 10
    assert replace(shape, layers=(STATE, FULL, FULL, FULL)).sight == (0, *(10**9,) * 3)


def test_memory_takes_the_format_of_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(PUBLISHED["gpt-oss-20b"].config))
    answers = [
        run_json(capsys, "memory", config, "--device", "h100-sxm", *more, "--json")["answers"][0]
        for more in ((), ("--dtype", "bf16"))
    ]
    assert [one["dtype"] for one in answers] == ["mxfp4", "bf16"]
    assert answers[1]["bytes"]["weights"] == pytest.approx(2 * 20.9e9, rel=0.01)


def test_a_prediction_by_datasheet_prices_a_mixture_in_its_own_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(PUBLISHED["gpt-oss-20b"].config))
    found = run_json(
        capsys, "predict", "datasheet", "--to", "h100-sxm", "--model", config, "--trace",
        DEMO_PROFILE, "--map", "3:6,7:14", "--heads", "6,14", "--json",
    )  # fmt: skip
    assert found["basis"] == "datasheet"
    assert "mxfp4" in json.dumps(found["notes"])
