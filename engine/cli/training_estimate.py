"""How long training will take, as the command says it."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group

from adadecode.engine.loading.conversation import Conversation
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.runtime.choices import Dtype
from adadecode.engine.training.estimate import Forecast, TrainingPlan, on_device
from adadecode.engine.training.options import HeadStart, TrainingOptions
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import InputError
from adadecode.sim.cli.progress import duration
from adadecode.sim.cli.tables import layout
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.precision import TORCH

CHARACTERS = 4
"""Characters in a token of a prompt, about: no tokenizer is loaded for an estimate."""


def in_words(found: Forecast) -> str:
    """Return what a run will need, in a sentence or two."""
    stages = ", ".join(f"{name} {duration(found.seconds[name])}" for name in found.seconds)
    return (
        f"at most {found.positions:,} tokens take about {duration(sum(found.seconds.values()))} "
        f"on this machine, as a short probe went: {stages}. "
        f"Hidden states take {found.disk / 1e9:.2g} GB of disk at most{_closed_form(found.memory)}"
    )


def catalogue_table(
    model: str,
    device: str,
    dtype: Dtype,
    prompts: Sequence[Prompt | Conversation],
    options: TrainingOptions,
) -> Group:
    """Return how long each stage takes at least on a device of the catalogue, as a table.

    Args:
        model: A name of the catalogue, a config, or a folder.
        device: A name of the catalogue.
        dtype: The format of the weights; BF16 for ``auto``.
        prompts: What is continued.
        options: How heads are trained.

    Raises:
        DeviceError: The device is unknown, or lacks the dtype.
        ShapeError: The model is unknown.
        InputError: There is no peak for this dtype.
    """
    wide = "bfloat16" if dtype == Dtype.AUTO else str(dtype)
    if wide not in TORCH:
        raise InputError(f"no device of the catalogue has a peak in {wide}: leave --dtype out")
    shape, found = find_model(model), find_device(device)
    plan = TrainingPlan(
        prompts=tuple(_tokens(prompt) for prompt in prompts),
        depths=len(options.depths_in(shape.n_layers)),
        options=options,
    )
    number_bytes = 4 if wide == "float32" else 2
    cost = ModelCost(shape=shape, weight_bytes=number_bytes, cache_bytes=number_bytes)
    table = layout.table("stage", "seconds, at least", "from", "to")
    table.box = box.SIMPLE
    width = shape.hidden_size
    size = (
        f"at most {plan.positions:,} tokens, {plan.disk(width, 2) / 1e9:.2g} GB of "
        f"disk{_closed_form(plan.memory(width))}; by bytes and FLOPs: what the host needs to start "
        "each kernel comes on top"
    )
    captions = [size]
    if options.start == HeadStart.CLOSED_FORM and plan.positions < width:
        captions.append(
            f"these are fewer positions than the {width} that determine the closed form, one for "
            "each number of a hidden state: heads start near the identity, give more prompts"
        )
    for stage, seconds in on_device(cost, plan, found, TORCH[wide]).items():
        row = (seconds.middle, seconds.low, seconds.high)
        table.add_row(stage, *(f"{value:.3g}" for value in row))
    title = f"{shape.name} on {found.title}, {TORCH[wide]}: an estimate, nothing was run"
    return layout.titled(title, table, captions)


def _closed_form(memory: int) -> str:
    """Return the bytes of memory that the closed form takes, as the end of a clause."""
    return f", and the closed form {memory / 1e9:.2g} GB of memory" if memory else ""


def _tokens(prompt: Prompt | Conversation) -> int:
    """Return about how many tokens a prompt has, one or more."""
    texts = (
        [prompt.text]
        if isinstance(prompt, Prompt)
        else [str(message.get("content", "")) for message in prompt.messages]
    )
    return max(1, sum(map(len, texts)) // CHARACTERS)
