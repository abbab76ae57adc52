"""Load what a recording names: the model, its heads and prompts, or the script that it follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from adadecode.engine.baselines.factory import DraftModel, load_draft
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.demo import DEMO, MODEL, bundle
from adadecode.engine.heads.arguments import check_depths, require_depths
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.heads_description import read_description
from adadecode.engine.heads.random_heads import random_heads
from adadecode.engine.loading.chat_template import settle_prompts
from adadecode.engine.loading.model_loader import layers_of, load_model, load_tokenizer
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.loading.random_model import (
    check_memory,
    checked_dtype,
    random_model,
    sized_shape,
)
from adadecode.engine.profiling.execution_options import exits_of, room_for
from adadecode.engine.profiling.plan import choose_prompts
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.store import read_profile
from adadecode.sim.core.head_form import FULL
from adadecode.sim.core.parsing import rising_integers

Notice = Callable[[str], None]
"""Called with a sentence that the user should read."""


def silent(_: str) -> None:
    """Print nothing."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with its tokenizer, its heads and the prompts to record.

    Args:
        draft: The second model of the baseline ``draft``; None where there is none.
    """

    model: PreTrainedModel
    tokenizer: Any
    heads: ExitHeads
    prompts: list[Prompt]
    draft: DraftModel | None = None


@dataclass(frozen=True, kw_only=True)
class LoadedScript:
    """A model with its heads, and the script of another recording that its runs follow.

    Args:
        shape: The shape of a model with random weights; None for the bundled model.
    """

    model: PreTrainedModel
    heads: ExitHeads
    script: Script
    shape: ModelShape | None


def load_named(request: RecordingRequest, notice: Notice = silent) -> LoadedModel:
    """Load the model that a request names, with its heads and prompts.

    Raises:
        InputError: Something does not exist, cannot be read or does not fit into memory.
        HeadsError: The heads are not this model's.
    """
    source, options = request.source, request.options
    device = torch_device(source.device)
    with_it = bundle(source.model) or DEMO  # else heads and prompts are named
    name, exits = str(source.model or MODEL), str(source.heads or with_it.heads)
    found = source.read(with_it.prompts, notice).prompts
    chosen = choose_prompts(found, options.domains, options.limit)
    notice("loading the model")
    tokenizer = load_tokenizer(name, trust_remote_code=source.trust_remote_code)
    called = source.model or with_it.called
    prompts = settle_prompts(chosen, tokenizer, source, notice, model=called)
    check_named_depths(
        exits,
        options.placements,
        layers_of(name, trust_remote_code=source.trust_remote_code),
    )
    longest = max(encode(tokenizer, prompt).shape[1] for prompt in prompts)
    reached = max(longest + options.max_new_tokens, *(options.contexts or ()), 1)
    model, _ = load_model(
        name,
        source.dtype,
        str(device),
        trust_remote_code=source.trust_remote_code,
        weights=source.weights,
        device_map=source.device_map,
        positions=room_for(options.graphs, reached),
        exits=exits_of(exits, options),
        tokenizer=tokenizer,
    )
    heads = read_heads(exits, model)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        heads=heads,
        prompts=prompts,
        draft=_load_draft(request, str(model.device)),
    )


def _load_draft(request: RecordingRequest, device: str) -> DraftModel | None:
    source = request.source
    if source.draft_model is None:
        return None
    return load_draft(
        source.draft_model, source.dtype, device, trust_remote_code=source.trust_remote_code
    )


def check_named_depths(
    heads: str, placements: Sequence[Sequence[int]] | None, n_layers: int | None
) -> None:
    """Check the depths of heads and placements before the model is loaded.

    Args:
        heads: The folder of the heads, or ``identity:DEPTHS``.
        placements: Depths of the heads of each placement.
        n_layers: Layers of the model; None where its configuration does not say it.

    Raises:
        HeadsError: A head lies outside the model, or a placement has a depth without a head.
    """
    try:
        depths = named_depths(heads)
    except HeadsError:
        return  # the heads are damaged: reading them explains how
    if n_layers is not None:
        check_depths(depths, n_layers)
    for placement in placements or ():
        require_depths(placement, depths)


def named_depths(name: str) -> tuple[int, ...]:
    """Return the depths of the heads in a folder, or those of ``identity:4,8``.

    Raises:
        HeadsError: The folder holds no heads.
        InputError: The depths after ``identity:`` are no whole numbers.
    """
    if name.startswith("identity:"):
        return rising_integers("--heads identity", name.removeprefix("identity:"))
    return read_description(Path(name), quiet=True).depths


def read_heads(name: str, model: PreTrainedModel) -> ExitHeads:
    """Return the heads in a folder, or those of ``identity:4,8``.

    Raises:
        HeadsError: The folder holds no heads, or not this model's.
        InputError: The depths after ``identity:`` are no whole numbers.
    """
    if name.startswith("identity:"):
        return ExitHeads.identity(model, named_depths(name))
    return ExitHeads.load(Path(name), model)


def load_scripted(request: RecordingRequest, notice: Notice = silent) -> LoadedScript:
    """Load the model that computes, and the script that decides.

    Raises:
        InputError: The model does not fit into memory, or its format is none of random models.
        ProfileError: The scripted profile cannot be read.
        DesignError: The heads cannot stand where the map puts them.
        ShapeError: There is no model of this shape.
    """
    source, options = request.source, request.options
    assert source.scripted is not None
    profile = read_profile(source.scripted)
    places = None if source.mapping is None else dict(source.mapping)
    cut: dict[str, Any] = {
        "domains": options.domains,
        "limit": options.limit,
        "max_new_tokens": options.max_new_tokens,
    }
    device = torch_device(source.device)
    if not source.shape:
        notice("loading the model")
        model, _ = load_model(MODEL, source.dtype, str(device), weights=source.weights)
        script = Script.of(profile, model.config.num_hidden_layers, places, **cut)
        trained = ExitHeads.load(MODEL, model)
        trained.require(script.depths)
        transforms = {depth: trained.transforms[depth] for depth in script.depths}
        gates = trained.require_gates().at(script.depths) if script.has_gates else None
        heads = ExitHeads(model, transforms, gates=gates)
        return LoadedScript(model=model, heads=heads, script=script, shape=None)
    shape = sized_shape(source.shape, source.layers)
    dtype = checked_dtype(source.dtype)
    script = Script.of(profile, shape.n_layers, places, **cut)
    check_memory(
        shape,
        dtype,
        device,
        heads=script.depths,
        context=script.longest,
        room=room_for(options.graphs, script.longest),
        form=options.head_form(FULL),
    )
    n_parameters = shape.total_parameters
    notice(f"making {shape.name} of random weights ({n_parameters / 1e9:.3g} B parameters)")
    model = random_model(shape, dtype, device, options.seed)
    heads = random_heads(model, script.depths, options.seed, gates=script.has_gates)
    return LoadedScript(model=model, heads=heads, script=script, shape=shape)
