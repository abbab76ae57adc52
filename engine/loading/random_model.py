"""Models of a known shape with random weights: real sizes, real run times, and nothing to say. Built where they run, in the dtype they run in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from adadecode.engine.loading.memory_check import require_memory
from adadecode.engine.loading.model_loader import DTYPES, enough_memory
from adadecode.engine.runtime.free_memory import free_bytes
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model, shapes
from adadecode.profiles.errors import InputError, ShapeError
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.memory import RESERVE, Deployment, Memory, peak_memory

SIZED = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""What `adadecode.sim.hardware.memory` calls the dtypes that random models come in."""


def sized_shape(name: str, layers: int | None = None) -> ModelShape:
    """The shape of this name, cut to its first ``layers`` layers where given; the name then says so. Raises ShapeError.

    name: as `adadecode.profiles.catalog.models.find_model` takes it.
    """
    shape = find_model(name)
    if layers is None or layers == shape.n_layers:
        return shape
    if not 2 <= layers <= shape.n_layers:
        raise ShapeError(
            f"{shape.name} has {shape.n_layers} layers: wanted --layers as 2..{shape.n_layers}, got {layers}"
        )
    return replace(shape, name=f"{shape.name} cut to {layers} layers", n_layers=layers)


def config_of(shape: ModelShape) -> PretrainedConfig:
    """A Hugging Face config whose model has exactly these parameters; no token of it ends a text.

    Rotary bases and epsilons are the architecture's usual ones: they cost no time. Raises ShapeError for a shape that none of the
    architectures here (llama, qwen2, mistral, mixtral, phi) has.
    """
    kind = _architecture(shape)
    settings: dict[str, Any] = {
        "num_hidden_layers": shape.n_layers,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab_size,
        "tie_word_embeddings": shape.tied_embeddings,
        "sliding_window": shape.sliding_window,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
    }
    if shape.max_positions is not None:
        settings["max_position_embeddings"] = shape.max_positions
    if kind == "llama":
        settings |= {"attention_bias": shape.qkv_bias, "mlp_bias": shape.mlp_bias}
    if kind == "mixtral":
        settings |= {
            "num_local_experts": shape.n_experts,
            "num_experts_per_tok": shape.experts_per_token,
        }
    config: PretrainedConfig = CONFIG_MAPPING[kind](**settings)
    with torch.device("meta"):
        found = sum(
            weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters()
        )
    extra = (
        shape.vocab_size if kind == "phi" else 0
    )  # its LM head has a bias, which no shape counts
    if found - extra != shape.total_parameters:
        raise ShapeError(
            f"{shape.name} has {shape.total_parameters} parameters, the nearest architecture ({kind}) {found}: "
            "no model of this shape can be built here; take one of " + ", ".join(shapes())
        )
    return config


def _architecture(shape: ModelShape) -> str:
    """The model_type that is built like this, as far as there is one."""
    if shape.n_experts > 1:
        return "mixtral"
    if not shape.gated_mlp:
        return "phi"
    if shape.sliding_window is not None:
        return "mistral"
    return "qwen2" if shape.qkv_bias and not shape.out_bias else "llama"


def random_model(
    shape: ModelShape, dtype: str, device: torch.device, seed: int = 0
) -> PreTrainedModel:
    """A model of this shape with normal weights, made on the device and in the dtype: no copy elsewhere, none in FP32.

    dtype: a key of `SIZED`. The same seed gives the same weights on the same kind of device. Raises ShapeError, InputError.
    """
    config, kind = config_of(shape), DTYPES[checked_dtype(dtype)]
    with (
        enough_memory("take fewer --layers, a 16-bit --dtype or a smaller --shape"),
        no_init_weights(),
        torch.device(device),
    ):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=kind)
        generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, config.initializer_range, generator=generator)
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return model.eval()


def checked_dtype(dtype: str) -> str:
    """The dtype itself, once random models come in it. Raises InputError."""
    if dtype not in SIZED:
        raise InputError(
            f"a model with random weights comes in {', '.join(SIZED)}, got --dtype {dtype}: choose one of these"
        )
    return dtype


def check_memory(
    shape: ModelShape,
    dtype: str,
    device: torch.device,
    *,
    heads: Sequence[int],
    context: int,
    room: int | None = None,
    form: HeadForm = FULL,
) -> None:
    """Refuse a model that would not fit into the memory that is free, before anything of it is made.

    heads: depths. context: positions that are run. room: positions that there is room for, as far as the model has them; the same by default. form: of
    the heads. Raises InputError with what it takes, and what would fit.
    """
    free = free_bytes(device)
    if free is None:
        return
    kind = SIZED[checked_dtype(dtype)]
    reserve = RESERVE if device.type == "cuda" else 0

    def needed(of: ModelShape, in_: str) -> Memory:
        kept = (
            tuple(heads)
            if of.n_layers == shape.n_layers
            else tuple(range(1, min(len(heads), of.n_layers - 1) + 1))
        )
        held = min(max(context, room or context), of.max_positions or sys.maxsize)
        run = Deployment(
            shape=of,
            dtype=in_,
            heads=kept,
            context=held,
            prompt=context,
            n_tokens=1,
            form=form,
            reserve=reserve,
        )
        found = peak_memory(run)
        drawn = (
            len(kept) * of.head_parameters * run.activation_bytes if form.dtype else 0
        )  # matrices stay as they were drawn, beside their int8
        return replace(found, heads=found.heads + drawn)

    def ways() -> list[str]:
        most = next(
            (
                n
                for n in range(shape.n_layers - 1, 1, -1)
                if needed(replace(shape, n_layers=n), kind).total <= free
            ),
            None,
        )
        able = [
            one
            for one in shapes().values()
            if context <= (one.max_positions or context)
            and (form.shortlist is None or form.shortlist < one.vocab_size)
        ]
        smaller = [one for one in able if needed(one, kind).total <= free]
        found = [f"--layers {most}"] if most else []
        if kind == "fp32" and needed(shape, "bf16").total <= free:
            found.append("--dtype bfloat16")
        if smaller:
            found.append(f"--shape {max(smaller, key=lambda one: one.total_parameters).name}")
        return found

    require_memory(f"{shape.name} in {dtype}", asdict(needed(shape, kind)), free, str(device), ways)
