"""Models of a known shape with random weights: real sizes and real run times.

They are built where they run, in the dtype they run in.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    """Return the shape of this name, cut to its first ``layers`` layers where given.

    The name of a cut shape says so.

    Args:
        name: As `adadecode.profiles.catalog.models.find_model` takes it.
        layers: How many layers to keep; None for all.

    Raises:
        ShapeError: There is no such shape, or it has fewer layers.
    """
    shape = find_model(name)
    if layers is None or layers == shape.n_layers:
        return shape
    if not 2 <= layers <= shape.n_layers:
        raise ShapeError(
            f"{shape.name} has {shape.n_layers} layers: wanted --layers as 2..{shape.n_layers}, "
            f"got {layers}"
        )
    return replace(
        shape,
        name=f"{shape.name} cut to {layers} layers",
        n_layers=layers,
        layers=shape.layers[:layers],
        n_parameters=None,
    )


def config_of(shape: ModelShape) -> PretrainedConfig:
    """Return a Hugging Face config whose model has exactly these parameters.

    No token of it ends a text. Rotary bases and epsilons are the architecture's usual ones: they
    cost no time.

    Raises:
        ShapeError: None of the architectures here (llama, qwen2, qwen3, mistral, mixtral, phi) has
            this shape.
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
    if kind in ("llama", "qwen3"):
        settings["attention_bias"] = shape.qkv_bias
    if kind == "llama":
        settings["mlp_bias"] = shape.mlp_bias
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
            f"{shape.name} has {shape.total_parameters} parameters, the nearest architecture "
            f"({kind}) {found}: "
            "no model of this shape can be built here; take one of " + ", ".join(shapes())
        )
    return config


def _architecture(shape: ModelShape) -> str:
    """Return the model_type that is built like this, as far as there is one."""
    if shape.n_experts > 1:
        return "mixtral"
    if not shape.gated_mlp:
        return "phi"
    if shape.sliding_window is not None:
        return "mistral"
    if shape.qk_norm == "head":
        return "qwen3"
    return "qwen2" if shape.qkv_bias and not shape.out_bias else "llama"


def random_model(
    shape: ModelShape, dtype: str, device: torch.device, seed: int = 0
) -> PreTrainedModel:
    """Return a model with normal weights, made on the device and in the dtype.

    There is no copy elsewhere and none in FP32. The same seed gives the same weights on the same
    kind of device.

    Args:
        shape: The shape.
        dtype: A key of `SIZED`.
        device: Where it is made.
        seed: Seed of the weights.

    Raises:
        ShapeError: No model of this shape can be built.
        InputError: The dtype is unknown, or memory runs out.
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
    """Return the dtype itself. Raises InputError where random models do not come in it."""
    if dtype not in SIZED:
        raise InputError(
            f"a model with random weights comes in {', '.join(SIZED)}, got --dtype {dtype}: choose "
            "one of these"
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
    """Refuse a model that would not fit into free memory, before anything of it is made.

    Args:
        shape: The model's shape.
        dtype: A key of `SIZED`.
        device: Where it is to run.
        heads: Depths of its heads.
        context: Positions that are run.
        room: Positions that there is room for, as far as the model has them; ``context`` by
            default.
        form: The form of the heads.

    Raises:
        InputError: With what it takes, and what would fit.
    """
    free = free_bytes(device)
    if free is None:
        return
    need = _MemoryNeed(
        shape=shape,
        dtype=SIZED[checked_dtype(dtype)],
        heads=tuple(heads),
        context=context,
        room=room or context,
        form=form,
        reserve=RESERVE if device.type == "cuda" else 0,
    )
    require_memory(
        f"{shape.name} in {dtype}",
        asdict(need.of(shape)),
        free,
        str(device),
        lambda: need.ways(free),
    )


@dataclass(frozen=True, kw_only=True)
class _MemoryNeed:
    """The memory that a random model takes, and smaller settings that would fit.

    Attributes:
        shape: The model's shape.
        dtype: Its dtype in the words of `adadecode.sim.hardware.memory`.
        heads: Depths of its heads.
        context: Positions that are run.
        room: Positions that there is room for.
        form: The form of the heads.
        reserve: Bytes that the device keeps for itself.
    """

    shape: ModelShape
    dtype: str
    heads: tuple[int, ...]
    context: int
    room: int
    form: HeadForm
    reserve: int

    def of(self, shape: ModelShape, dtype: str | None = None) -> Memory:
        """Return the bytes that a model of this shape takes, by part."""
        same_depth = shape.n_layers == self.shape.n_layers
        n_heads = min(len(self.heads), shape.n_layers - 1)
        kept = self.heads if same_depth else tuple(range(1, n_heads + 1))
        deployment = Deployment(
            shape=shape,
            dtype=dtype or self.dtype,
            heads=kept,
            context=min(max(self.context, self.room), shape.max_positions or sys.maxsize),
            prompt=self.context,
            n_tokens=1,
            form=self.form,
            reserve=self.reserve,
        )
        memory = peak_memory(deployment)
        # matrices stay as they were drawn, in addition to their int8
        as_drawn = (
            len(kept) * shape.head_parameters * deployment.activation_bytes
            if self.form.dtype
            else 0
        )
        return replace(memory, heads=memory.heads + as_drawn)

    def ways(self, free: int) -> list[str]:
        """Return settings with which the model would fit into ``free`` bytes, the best first."""
        fewer_layers = next(
            (
                n
                for n in range(self.shape.n_layers - 1, 1, -1)
                if self.of(replace(self.shape, n_layers=n)).total <= free
            ),
            None,
        )
        smaller = [
            shape
            for shape in shapes().values()
            if self._can_run(shape) and self.of(shape).total <= free
        ]
        found = [f"--layers {fewer_layers}"] if fewer_layers else []
        if self.dtype == "fp32" and self.of(self.shape, "bf16").total <= free:
            found.append("--dtype bfloat16")
        if smaller:
            found.append(f"--shape {max(smaller, key=lambda one: one.total_parameters).name}")
        return found

    def _can_run(self, shape: ModelShape) -> bool:
        """Return whether a shape has the positions and the tokens that are wanted."""
        enough_positions = self.context <= (shape.max_positions or self.context)
        shortlist = self.form.shortlist
        return enough_positions and (shortlist is None or shortlist < shape.vocab_size)
