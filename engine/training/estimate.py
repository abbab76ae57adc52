"""How long training takes and how much disk it needs, said before it begins.

Each stage is counted in bytes and FLOPs (`adadecode.sim.hardware.cost_model`). On this machine a
short probe says how fast it goes; for a device of the catalogue its data sheet does, and nothing is
run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model.measured_shape import measure_shape
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.closed_form import RIDGES, closed_form_bytes
from adadecode.engine.training.hidden_state_store import N_LIKELY
from adadecode.engine.training.options import HeadStart, TrainingOptions
from adadecode.engine.training.trainer import OTHERS, WHOLE
from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.errors import ShapeError
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.hardware.roofline import Interval
from adadecode.sim.hardware.roofline import estimate as estimated_seconds

CONTINUATIONS, STATES, START, EPOCHS, MEASURING = (
    "greedy continuations",
    "hidden states",
    "closed form",
    "training",
    "held-out prompts",
)
"""The stages of training, by the names that progress shows."""

NEW_TO_SAMPLE = 3.5
"""Likely tokens that a position adds to those of its batch: half of `N_LIKELY` or less are new."""
PROBED = 2
"""Steps of a batch that a probe takes."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The size of a training run.

    Attributes:
        prompts: The tokens of each prompt.
        depths: How many heads are trained.
        options: How they are trained.
    """

    prompts: tuple[int, ...]
    depths: int
    options: TrainingOptions

    @property
    def positions(self) -> int:
        """The most tokens that continuations have together."""
        return len(self.prompts) * self.options.max_new_tokens

    def disk(self, width: int, number_bytes: int) -> int:
        """Return the bytes of the hidden states.

        Args:
            width: The width d of the model.
            number_bytes: Bytes of a number as it is kept.
        """
        row = (self.depths + 1) * width * number_bytes + 4 * N_LIKELY
        return self.positions * row

    def memory(self, width: int) -> int:
        """Return the bytes that the closed form takes at most while it is found.

        Args:
            width: The width d of the model.
        """
        closed = self.options.start == HeadStart.CLOSED_FORM
        return closed_form_bytes(width, self.depths) if closed else 0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a training run will need at most.

    Attributes:
        positions: Tokens of all continuations.
        seconds: The seconds of each stage, by its name.
        disk: Bytes of hidden states.
        memory: Bytes that finding the closed form takes beside the model, on the device of the LM
            head; 0 where heads start from the identity.
    """

    positions: int
    seconds: dict[str, float]
    disk: int
    memory: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """Work that is done several times.

    Attributes:
        cost: What it costs once.
        times: How often it is done.
    """

    cost: Cost
    times: float


def stages(cost: ModelCost, plan: TrainingPlan) -> dict[str, list[Work]]:
    """Return the work of each stage, at most.

    Args:
        cost: What each piece of work of the model costs.
        plan: The size of the run.
    """
    shape, options, prompts = cost.shape, plan.options, plan.prompts
    mean = round(sum(prompts) / len(prompts))
    batch = min(options.batch_prompts, len(prompts))
    batches = len(prompts) / batch
    step = decoding_step(cost, batch, mean + options.max_new_tokens // 2)
    head = 2.0 * shape.vocab_size * shape.hidden_size
    sample = sampled_tokens(shape.vocab_size, options.batch_tokens)
    square = 2.0 * shape.hidden_size**2
    seen = plan.positions * (1 - options.held_out)
    a_position = 2.0 * sample * shape.hidden_size * (1 + 2 * plan.depths) + 3 * square * plan.depths
    return {
        CONTINUATIONS: [
            Work(cost=reading(cost, batch, mean), times=batches),
            Work(cost=step, times=batches * options.max_new_tokens),
        ],
        STATES: [
            Work(cost=reading(cost, 1, mean + options.max_new_tokens), times=len(prompts)),
            Work(cost=Cost(flops=head), times=plan.positions),
        ],
        START: [
            Work(cost=Cost(flops=2 * square * plan.depths), times=seen),
            Work(
                cost=Cost(flops=square * shape.hidden_size * (len(RIDGES) + 1)), times=plan.depths
            ),
        ],
        EPOCHS: [Work(cost=Cost(flops=a_position), times=seen * options.epochs)],
        MEASURING: [
            Work(cost=Cost(flops=head * (1 + 2 * plan.depths)), times=plan.positions - seen)
        ],
    }


def sampled_tokens(vocabulary: int, batch: int) -> int:
    """Return over how many tokens the loss of a batch of positions is taken, about."""
    return (
        vocabulary
        if vocabulary <= WHOLE
        else min(vocabulary, round(NEW_TO_SAMPLE * batch) + OTHERS)
    )


def decoding_step(cost: ModelCost, sequences: int, context: int) -> Cost:
    """Return what a token more of each of several sequences costs."""
    total = cost.embed(sequences) + cost.verify(sequences)
    for at, count in cost.groups(0, cost.shape.n_layers):
        own = cost.layer(1, context, at)
        layer = cost.layer(sequences, 0, at) + Cost(cache=sequences * own.cache)
        total += _times(layer, count)
    return total


def reading(cost: ModelCost, sequences: int, tokens: int) -> Cost:
    """Return what it costs to read several texts at once."""
    one = cost.prefill(tokens)
    return Cost(
        weights=one.weights,
        cache=sequences * one.cache,
        activations=sequences * one.activations,
        flops=sequences * one.flops,
        kernels=one.kernels,
    )


def on_device(
    cost: ModelCost, plan: TrainingPlan, device: Device, dtype: str
) -> dict[str, Interval]:
    """Return the seconds of each stage on a device of the catalogue, from bytes and FLOPs alone.

    Raises:
        DeviceError: The device lacks the dtype.
    """
    found = {}
    for stage, works in stages(cost, plan).items():
        total = Interval.exactly(0.0)
        for work in works:
            one = estimated_seconds(work.cost, device, dtype)
            total += Interval(
                low=one.low * work.times, middle=one.middle * work.times, high=one.high * work.times
            )
        found[stage] = total
    return found


def forecast(
    decoder: AdaDecoder, plan: TrainingPlan, missing: Sequence[torch.Tensor], number_bytes: int
) -> Forecast | None:
    """Return what a run will need on this machine; None for a model whose shape is impossible.

    Args:
        decoder: The model.
        plan: The size of the run.
        missing: The prompts (1, n) that are still to be continued, by rising length, one or more.
        number_bytes: Bytes of a number as hidden states are kept.
    """
    parts = decoder.parts
    try:
        shape = measure_shape(parts, parts.name)
    except ShapeError:
        return None
    cost = ModelCost(shape=shape, weight_bytes=parts.dtype.itemsize)
    count = min(plan.options.batch_prompts, len(missing))
    first = (len(missing) - count) // 2
    made = BatchedGeneration(parts.model, decoder.eos)
    seconds = on_this_machine(
        cost,
        plan,
        made,
        missing[first : first + count],
        batches=math.ceil(len(missing) / count),
    )
    return Forecast(
        positions=plan.positions,
        seconds=seconds,
        disk=plan.disk(parts.hidden_size, number_bytes),
        memory=plan.memory(parts.hidden_size),
    )


@torch.inference_mode()
def on_this_machine(
    cost: ModelCost,
    plan: TrainingPlan,
    made: BatchedGeneration,
    prompts: Sequence[torch.Tensor],
    *,
    batches: int,
) -> dict[str, float]:
    """Return the seconds of each stage on this machine, from how long a first batch takes.

    Continuations go at the speed of its steps, all else at the FLOP/s of reading its prompts.

    Args:
        cost: What each piece of work of the model costs.
        plan: The size of the run.
        made: Continues prompts in batches.
        prompts: Some prompts (1, n), in the middle by length: as many as are continued at once.
        batches: How many such batches are still to be continued.
    """
    begun = time.perf_counter()
    made.continued(prompts, 1)
    read = time.perf_counter() - begun
    begun = time.perf_counter()
    made.continued(prompts, 1 + PROBED)
    step = max(0.0, time.perf_counter() - begun - read) / PROBED
    longest = max(prompt.shape[1] for prompt in prompts)
    flop_seconds = read / reading(cost, len(prompts), longest).flops
    found = {
        stage: flop_seconds * sum(work.times * work.cost.flops for work in works)
        for stage, works in stages(cost, plan).items()
    }
    found[CONTINUATIONS] = batches * (read + plan.options.max_new_tokens * step)
    return found


def _times(cost: Cost, count: int) -> Cost:
    return Cost(
        weights=count * cost.weights,
        cache=count * cost.cache,
        activations=count * cost.activations,
        flops=count * cost.flops,
        kernels=count * cost.kernels,
    )
