"""What ``adadecode-profile --scripted`` needs, from the options as a user types them."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.demo import MODEL
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.loading.random_model import (
    check_memory,
    checked_dtype,
    random_heads,
    random_model,
    sized_shape,
)
from adadecode.engine.profiling.execution_options import room_for
from adadecode.engine.profiling.form_options import wanted_form
from adadecode.engine.profiling.options import named_once
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options import map_of
from adadecode.sim.core.head_form import FULL


def check_scripted(chosen: dict[str, Any]) -> None:
    """Raises InputError where options of scripted recordings meet others that they do not go with."""
    named_once(demo=bool(chosen["demo"]), model=chosen["model"], shape=chosen["shape"])
    if chosen["scripted"] is None:
        for name in ("shape", "layers", "mapping"):
            if chosen[name] is not None:
                raise InputError(
                    f"--{name.replace('mapping', 'map')} is for decisions that another recording made: name its profile with --scripted; "
                    "random weights alone have nothing to say"
                )
        return
    if not (chosen["shape"] or chosen["demo"]):
        raise InputError(
            "--scripted says what happens, not what computes it: name a shape with --shape, or the bundled model with --demo"
        )
    for name in ("heads", "prompts"):
        if chosen[name] is not None:
            raise InputError(
                f"with --scripted, {name} are those of the recording: leave --{name} out"
            )
    for name in ("temperature", "top_k", "top_p", "sample_seed"):
        if chosen[name]:
            raise InputError(f"a script is followed greedily: leave --{name.replace('_', '-')} out")
    if chosen["layers"] is not None and not chosen["shape"]:
        raise InputError("--layers cuts a --shape; the demo model is run whole")


def load_scripted(
    chosen: dict[str, Any], console: Console
) -> tuple[AdaDecoder, Script, ModelShape | None]:
    """What computes, what decides, and the shape where the weights are random. Raises InputError, ProfileError, DesignError, ShapeError."""
    source = read_profile(chosen["scripted"])
    device = torch_device(chosen["device"])
    places = None if chosen["mapping"] is None else map_of(chosen["mapping"])
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
