"""How long training will take: the work of each stage, and what makes more of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.training import estimate
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.estimate import (
    CONTINUATIONS,
    EPOCHS,
    MEASURING,
    PROBED,
    START,
    STATES,
    TrainingPlan,
    forecast,
    on_device,
    on_this_machine,
    sampled_tokens,
    stages,
)
from adadecode.engine.training.options import TrainingOptions
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.sim.hardware.cost_model import ModelCost
from tests.support.models import tiny_model

COST = ModelCost(shape=find_model("llama-3.1-8b"))


def plan(prompts: int = 64, depths: int = 6, **options: Any) -> TrainingPlan:
    chosen = TrainingOptions(**{"max_new_tokens": 100, "epochs": 2, **options})
    return TrainingPlan(prompts=(50,) * prompts, depths=depths, options=chosen)


def flops(stage: str, found: TrainingPlan) -> float:
    return sum(work.times * work.cost.flops for work in stages(COST, found)[stage])


def test_continuations_cost_two_flops_a_weight_and_token() -> None:
    """And little more, for attention."""
    weights = COST.shape.active_parameters - COST.shape.vocab_size * COST.shape.hidden_size
    tokens = 64 * (50 + 100)
    assert flops(CONTINUATIONS, plan()) == pytest.approx(2 * weights * tokens, rel=0.1)


@pytest.mark.parametrize(
    ("stage", "change", "factor"),
    [
        (CONTINUATIONS, {"prompts": 128}, 2),
        (CONTINUATIONS, {"epochs": 8}, 1),
        (STATES, {"prompts": 128}, 2),
        (STATES, {"depths": 12}, 1),
        (START, {"epochs": 0}, 1),
        (EPOCHS, {"epochs": 6}, 3),
        (EPOCHS, {"epochs": 0}, 0),
        (EPOCHS, {"prompts": 128}, 2),
        (MEASURING, {"held_out": 0.2}, 2),
    ],
)
def test_what_makes_more_work(stage: str, change: dict[str, Any], factor: float) -> None:
    assert flops(stage, plan(**change)) == pytest.approx(factor * flops(stage, plan()), rel=1e-6)


def test_larger_batches_read_the_weights_less_often() -> None:
    def weights(batch: int) -> float:
        works = stages(COST, plan(batch_prompts=batch))[CONTINUATIONS]
        return sum(work.times * work.cost.weights for work in works)

    assert weights(8) == pytest.approx(4 * weights(32))


def test_the_loss_of_a_wide_vocabulary_is_taken_over_a_part() -> None:
    assert sampled_tokens(1024, 1024) == 1024
    assert sampled_tokens(10_000, 100_000) == 10_000
    assert sampled_tokens(128_256, 1024) < 128_256 / 10


def test_the_disk_holds_a_row_a_position() -> None:
    """Seven states of 4,096 numbers of two bytes, and 16 tokens of four."""
    assert plan().disk(4096, 2) == 6400 * (7 * 4096 * 2 + 64)


def test_a_faster_device_needs_less_time() -> None:
    """Every stage, and every figure has bounds."""
    slow, fast = (
        on_device(COST, plan(), find_device(name), "bf16") for name in ("a100-80gb-sxm", "h100-sxm")
    )
    for stage, seconds in slow.items():
        assert seconds.middle > fast[stage].middle > 0
        assert seconds.low < seconds.middle < seconds.high


def test_a_probe_of_this_machine_scales_with_the_work() -> None:
    """Of the same probe: four times the epochs, four times the seconds of that stage."""
    made = BatchedGeneration(tiny_model("llama", torch.float32), frozenset())
    prompts = [torch.randint(3, 97, (1, 50)) for _ in range(4)]
    cost = ModelCost(shape=find_model("smollm2-135m"))
    found = on_this_machine(cost, plan(epochs=8), made, prompts, batches=16)
    assert found.keys() == stages(cost, plan()).keys()
    assert all(seconds > 0 for seconds in found.values())
    counted = {stage: flops_of(cost, stage) for stage in (STATES, EPOCHS)}
    assert found[EPOCHS] / found[STATES] == pytest.approx(counted[EPOCHS] / counted[STATES])


@pytest.mark.parametrize(("missing", "batches"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_continuations_take_the_batches_of_what_is_missing(
    missing: int, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 prompts, 4 at once; each batch a second to read, and two for each token."""
    decoder = AdaDecoder(tiny_model("llama", torch.float32))
    clock = iter([0.0, 1.0, 1.0, 1.0 + 1.0 + 2.0 * PROBED])
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(BatchedGeneration, "continued", lambda *_: [])
    rest = [torch.ones((1, 50), dtype=torch.long)] * missing
    found = forecast(decoder, plan(batch_prompts=4), rest, 2)
    assert found is not None
    assert found.seconds[CONTINUATIONS] == pytest.approx(batches * (1 + 2 * 100))


def test_the_memory_of_the_closed_form_is_told() -> None:
    """Of 4,096 numbers: the sums of a depth, and what a solve takes beside; none is the start."""
    matrix = 8 * 4096**2
    assert plan(depths=1).memory(4096) > (4 + 9) * matrix
    assert plan(depths=31).memory(4096) < plan(depths=1).memory(4096) + 31 * matrix
    assert plan(start="identity").memory(4096) == 0


def flops_of(cost: ModelCost, stage: str) -> float:
    return sum(work.times * work.cost.flops for work in stages(cost, plan(epochs=8))[stage])
