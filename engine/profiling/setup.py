"""Load what a recording needs: the model, its heads, prompts, baselines and script."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PreTrainedModel

from adadecode.engine.baselines.factory import load_draft, make_baselines
from adadecode.engine.baselines.generate import Generated
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.demo import MODEL, PROMPTS
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.random_heads import random_heads
from adadecode.engine.heads.token_frequency import frequent_in
from adadecode.engine.loading.model_loader import enough_memory, load_model, load_tokenizer
from adadecode.engine.loading.prompts import Prompt, encode, read_prompts
from adadecode.engine.loading.random_model import (
    check_memory,
    checked_dtype,
    random_model,
    sized_shape,
)
from adadecode.engine.profiling.execution_options import (
    exits_of,
    room_for,
)
from adadecode.engine.profiling.options import (
    wanted_form,
)
from adadecode.engine.profiling.plan import RecordingPlan, choose_prompts
from adadecode.engine.runtime import fingerprints
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import read_profile
from adadecode.sim.core.head_form import FULL
from adadecode.sim.core.parsing import parse_head_map, rising_integers


def chosen_baselines(
    chosen: dict[str, Any], decoder: AdaDecoder, plan: RecordingPlan, tokenizer: Any
) -> tuple[Generated, ...]:
    """The baselines that the options name, none where they name none; what a resumed recording must find again goes to the plan's settings.

    tokenizer: the model's own, None where there is none. Raises InputError.
    """
    if chosen["baselines"] is None:
        return ()
    scripted = chosen["scripted"] is not None
    draft = None
    if chosen["draft_model"] is not None and not scripted:
        place = str(decoder.parts.device)
        draft = load_draft(
            chosen["draft_model"],
            chosen["dtype"],
            place,
            trust_remote_code=bool(chosen["trust_remote_code"]),
        )
        plan.settings["draft_digest"] = fingerprints.of_weights(draft.model)
    with enough_memory("leave --baselines out, or use a device with more memory"):
        return make_baselines(
            str(chosen["baselines"]),
            decoder,
            longest=plan.longest,
            draft=draft,
            tokenizer=tokenizer,
            scripted=scripted,
        )


def formed(
    heads: ExitHeads,
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    chosen: dict[str, Any],
    console: Console,
) -> ExitHeads:
    """The heads in the form that the options name, each as it is where its option is None; a shortlist of 0 is none.

    tokenizer: None where tokens are random and all as frequent. prompts: what will be recorded, to say so where the shortlist was counted on them. Raises InputError.
    """
    size, dtype, source = chosen["shortlist"], chosen["head_dtype"], chosen["shortlist_from"]
    if size is None and dtype is None:
        return heads
    if source is not None and tokenizer is None:
        raise InputError(
            "with --scripted, tokens are random and so is a shortlist: leave --shortlist-from out"
        )
    form = wanted_form(heads.form, chosen)
    wanted = form.shortlist
    frequent: Sequence[int] | None = None if source is None else frequent_in(source, tokenizer)
    if tokenizer is None:
        frequent = range(len(model.get_output_embeddings().weight))
    made = heads.shaped(model, shortlist=wanted, dtype=form.dtype, frequent=frequent)
    console.print(f"heads: {made.form.label}", highlight=False)
    if made.form.shortlist is not None and wanted is not None and made.form.shortlist < wanted:
        console.print(
            f"no more than {made.form.shortlist} different tokens were counted, so the shortlist holds these, and not {wanted}"
        )
    if source is not None and (own := _counted(source, prompts)):
        console.print(
            f"the shortlist was counted on {own} of these prompts themselves: it covers them better than it will others"
        )
    return made


def _counted(source: str, prompts: Sequence[Prompt]) -> int:
    """How many of the prompts are in the profile ``source``; 0 where it is none."""
    if not Path(source).is_dir():
        return 0
    known = set(read_profile(source).prompts["sha256"])
    return sum(hashlib.sha256(prompt.text.encode()).hexdigest() in known for prompt in prompts)


def load(chosen: dict[str, Any], console: Console) -> tuple[AdaDecoder, Any, list[Prompt]]:
    """The model with its heads, its tokenizer, and the prompts that the options name. Raises InputError."""
    if not (chosen["demo"] or chosen["model"]):
        raise InputError(
            "name a model with --model (and its --heads and --prompts), or use the bundled one with --demo"
        )
    if chosen["model"] and not chosen["heads"]:
        raise InputError(
            "wanted the model's exit heads: --heads FOLDER from adadecode-train, or --heads identity:4,8 for its own LM head at those depths"
        )
    if chosen["model"] and not chosen["prompts"]:
        raise InputError("wanted prompts to run: --prompts FILE, JSONL or one a line")
    device, name, remote = (
        torch_device(chosen["device"]),
        str(chosen["model"] or MODEL),
        bool(chosen["trust_remote_code"]),
    )
    prompts = read_prompts(chosen["prompts"] or PROMPTS)
    console.print("loading the model")
    tokenizer = load_tokenizer(name, trust_remote_code=remote)
    longest = max(
        encode(tokenizer, prompt).shape[1]
        for prompt in choose_prompts(prompts, chosen["domains"], chosen["limit"])
    )
    reached = max(
        longest + int(chosen["max_new_tokens"]),
        *(rising_integers("--contexts", chosen["contexts"]) if chosen["contexts"] else ()),
        1,
    )
    model, _ = load_model(
        name,
        chosen["dtype"],
        str(device),
        trust_remote_code=remote,
        weights=chosen["weights"],
        device_map=chosen["device_map"],
        positions=room_for(chosen["graphs"], reached),
        exits=exits_of(str(chosen["heads"] or MODEL), chosen),
        tokenizer=tokenizer,
    )
    heads = read_heads(chosen["heads"] or str(MODEL), model)
    with enough_memory(
        "use a device with more memory (--device), a 16-bit --dtype, or --graphs eager"
    ):
        return (
            AdaDecoder(model, heads, graphs=chosen["graphs"], numerics=chosen["numerics"]),
            tokenizer,
            prompts,
        )


def read_heads(name: str, model: Any) -> ExitHeads:
    """Heads from a folder, or ``identity:4,8``. Raises HeadsError, InputError."""
    if name.startswith("identity:"):
        return ExitHeads.identity(
            model, rising_integers("--heads identity", name.removeprefix("identity:"))
        )
    return ExitHeads.load(name, model)


def load_scripted(
    chosen: dict[str, Any], console: Console
) -> tuple[AdaDecoder, Script, ModelShape | None]:
    """What computes, what decides, and the shape where the weights are random. Raises InputError, ProfileError, DesignError, ShapeError."""
    source = read_profile(chosen["scripted"])
    device = torch_device(chosen["device"])
    places = None if chosen["mapping"] is None else parse_head_map(chosen["mapping"])
    domains = (
        None
        if chosen["domains"] is None
        else [domain.strip() for domain in chosen["domains"].split(",")]
    )
    how = {"graphs": str(chosen["graphs"]), "numerics": str(chosen["numerics"])}
    cut: dict[str, Any] = {
        "domains": domains,
        "limit": chosen["limit"],
        "max_new_tokens": int(chosen["max_new_tokens"]),
    }
    if chosen["shape"]:
        shape = sized_shape(chosen["shape"], chosen["layers"])
        dtype, seed = checked_dtype(chosen["dtype"]), int(chosen["seed"])
        script = Script.of(source, shape.n_layers, places, **cut)
        check_memory(
            shape,
            dtype,
            device,
            heads=script.depths,
            context=script.longest,
            room=room_for(chosen["graphs"], script.longest),
            form=wanted_form(FULL, chosen),
        )
        console.print(
            f"making {shape.name} of random weights ({shape.total_parameters / 1e9:.3g} B parameters)",
            highlight=False,
        )
        model = random_model(shape, dtype, device, seed)
        return AdaDecoder(model, random_heads(model, script.depths, seed), **how), script, shape
    console.print("loading the model")
    model, _ = load_model(MODEL, chosen["dtype"], str(device), weights=chosen["weights"])
    script = Script.of(source, model.config.num_hidden_layers, places, **cut)
    own = ExitHeads.load(MODEL, model)
    own.require(script.depths)
    return (
        AdaDecoder(
            model,
            ExitHeads(model, {depth: own.transforms[depth] for depth in script.depths}),
            **how,
        ),
        script,
        None,
    )
