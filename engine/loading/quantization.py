"""Models with int8 or int4 weights, by torchao or else bitsandbytes.

Both are libraries that ``transformers`` knows. This module also finds out what the weights of a
loaded model are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from adadecode.engine.runtime.distributed import is_sharded
from adadecode.profiles.errors import InputError
from adadecode.sim.hardware.memory import WEIGHT_BYTES

WEIGHTS = ("int8", "int4")


def weight_config(
    weights: str, device: str = "cpu", dtype: torch.dtype | str = torch.bfloat16
) -> Any:
    """Return the ``quantization_config`` of ``from_pretrained`` for these weights.

    Args:
        weights: int8 or int4.
        device: Type of the device that they are packed for.
        dtype: The dtype of all else.

    Raises:
        InputError: No library here provides them for the device and the dtype.
    """
    check_weights(weights)
    if find_spec("torchao") is not None:
        from transformers import TorchAoConfig

        kinds = import_module("torchao.quantization")
        if weights == "int8":
            return TorchAoConfig(kinds.Int8WeightOnlyConfig())
        if device == "cpu":
            raise InputError(
                "torchao packs int4 weights on a CUDA device alone: take --weights int8, or "
                "--device cuda"
            )
        if dtype not in (torch.bfloat16, "auto"):
            raise InputError(
                f"torchao's int4 weights are multiplied in bfloat16, got {dtype}: take --dtype "
                "bfloat16"
            )
        return TorchAoConfig(kinds.Int4WeightOnlyConfig(int4_packing_format="tile_packed_to_4d"))
    if find_spec("bitsandbytes") is not None:
        from transformers import BitsAndBytesConfig

        compute = None if isinstance(dtype, str) else dtype
        return BitsAndBytesConfig(
            load_in_8bit=weights == "int8",
            load_in_4bit=weights == "int4",
            bnb_4bit_compute_dtype=compute,
        )
    raise InputError(
        f"no library here provides {weights} weights: install torchao, or bitsandbytes for a GPU"
    )


def check_weights(weights: str | None) -> None:
    """Raise InputError for a name that is none of `WEIGHTS`; None is the model's own format."""
    if weights is not None and weights not in WEIGHTS:
        raise InputError(
            f"wanted weights as one of {', '.join(WEIGHTS)}, got {weights!r}: leave it out for the "
            "model's own"
        )


def packed_matrices(model: PreTrainedModel) -> tuple[int, int]:
    """Return how many matrices of a model are packed, and how many it has.

    Embeddings and LM head are left out.
    """
    apart = {id(part) for part in (model.get_input_embeddings(), model.get_output_embeddings())}
    weights = [
        weight
        for part in model.modules()
        if id(part) not in apart
        and isinstance(weight := getattr(part, "weight", None), torch.Tensor)
        and weight.ndim == 2
    ]
    return sum(
        type(weight) is not nn.Parameter and not is_sharded(weight) for weight in weights
    ), len(weights)


def format_of(config: Any) -> str | None:
    """Return what a config says that weights are packed as; None where they are not.

    It is in the simulator's words (`adadecode.sim.hardware.memory.WEIGHT_BYTES`) where it has one.
    """
    own = getattr(config, "quantization_config", None)
    if own is None:
        return None
    about: dict[str, Any] = own if isinstance(own, dict) else own.to_dict()
    for name, wide in (("load_in_4bit", "int4"), ("load_in_8bit", "int8")):
        if about.get(name):
            return wide
    if isinstance(about.get("bits"), int):
        return f"int{about['bits']}"
    method = str(getattr(about.get("quant_method"), "value", about.get("quant_method")))
    kind = (
        json.dumps(about.get("quant_type"), default=str).lower() if method == "torchao" else method
    )
    return next(
        (name for name in ("int8", "int4", "fp8", "float8") if name in kind), method
    ).replace("float8", "fp8")


def check_format(config: Any, name: object) -> str | None:
    """Return what a config says that weights are packed as (`format_of`); None where they are not.

    Args:
        config: The config of a model that is to be loaded.
        name: Its name, for the message.

    Raises:
        InputError: `transformers` does not know it, and would take packed numbers for weights.
    """
    packed = format_of(config)
    if packed is None:
        return None
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as KNOWN

    method = method_of(config)
    if method is None or not any(one in (method, *_twins(method)) for one in KNOWN):
        raise InputError(
            f"the config of {name} says that weights are packed as {method}, which transformers "
            f"does not unpack: give it unpacked, or packed as one of {', '.join(sorted(KNOWN))}"
        )
    return packed


def refuse_leftovers(unexpected: Iterable[str], name: object) -> None:
    """Refuse a checkpoint with tensors that unpack others, and that its model did not take.

    Args:
        unexpected: The names of its tensors that the model did not take.
        name: Its name, for the message.

    Raises:
        InputError: There is one.
    """
    if odd := [one for one in sorted(unexpected) if one.endswith(_UNPACKING)]:
        raise InputError(
            f"the checkpoint {name} holds {odd[0]} and {len(odd) - 1} more tensors that unpack "
            "others, but its config does not say how: copy its config.json again"
        )


_UNPACKING = (
    *("scale", "scale_inv", "scales", "scale_2", "qzeros", "qweight", "g_idx", "absmax"),
    *("zero_point", "weight_packed", "weight_shape", "quant_map"),
)
"""Ends of the names of tensors that belong to packed weights."""


def unpacked_on(packed: str | None, device: torch.device) -> bool:
    """Return whether weights of a format are unpacked when they are loaded onto a device."""
    return packed in ("fp8", "mxfp4", "mxfp8") and device.type == "cpu"


def method_of(config: Any) -> str | None:
    """Return by which method a config says that weights are packed; None where it names none."""
    own = getattr(config, "quantization_config", None)
    if own is None:
        return None
    about: dict[str, Any] = own if isinstance(own, dict) else own.to_dict()
    method = about.get("quant_method")
    return None if method is None else str(getattr(method, "value", method))


def _twins(method: str) -> tuple[str, ...]:
    """Return what `transformers` lists a method as that it knows in two widths."""
    return tuple(f"{method}_{bits}bit" for bits in (4, 8))


def packed_as(model: PreTrainedModel) -> str | None:
    """Return the format (`format_of`) of a loaded model; None where nothing of it is packed."""
    return (
        format_of(model.config)
        if getattr(model, "is_quantized", False) and packed_matrices(model)[0]
        else None
    )


def describe_packing(model: PreTrainedModel) -> tuple[dict[str, str], list[str]]:
    """Return the keys and limitations that a manifest has of packed weights; none of plain ones."""
    name = packed_as(model)
    if name is None:
        return {}, []
    packed, count = packed_matrices(model)
    summary = f"{name} weights, in {packed} of {count} matrices"
    if name not in WEIGHT_BYTES:
        return {}, [
            f"{summary}: a format that the simulator does not know, it takes them for unpacked ones"
        ]
    return {"weights": name}, [summary]
