"""The format that a checkpoint packs its matrices in, from the ``quantization_config`` of a config.

The names are those of `adadecode.sim.hardware.memory.WEIGHT_BYTES` where it has one. Nothing is
guessed: what has no name there is said in words, and refused where its bytes are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.catalog.left_out import leaves_attention_out
from adadecode.profiles.errors import ShapeError

_GROUPED = {32: "int4-g32", 64: "int4-g64"}
"""Names of four bits in groups of other sizes than 128."""


class Packing(NamedTuple):
    """How a checkpoint is packed.

    Attributes:
        format: Name of the format; None where nothing is packed.
        experts_alone: Whether attention is left as it was, so that only experts are packed.
    """

    format: str | None = None
    experts_alone: bool = False


def packing_of(name: str, config: Mapping[str, Any], layers: Sequence[LayerShape]) -> Packing:
    """Return how the weights of a config are packed.

    Args:
        name: Name of the model, for messages.
        config: The config.
        layers: The layers that it describes.

    Raises:
        ShapeError: If it is said in no way that is known.
    """
    about = config.get("quantization_config") or config.get("compression_config")
    if about is None:
        return Packing()
    if not isinstance(about, Mapping):
        raise ShapeError(
            f"{name}: quantization_config is {about!r:.99}: wanted the object of a config.json"
        )
    alone = any(layer.experts for layer in layers) and leaves_attention_out(about, layers)
    return Packing(_format(about), alone)


def _format(about: Mapping[str, Any]) -> str:
    """Return the name of a format."""
    method = str(about.get("quant_method") or about.get("quant_algo") or "unknown").lower()
    for key, name in (("load_in_4bit", "int4"), ("load_in_8bit", "int8")):
        if about.get(key) is True:
            return name
    if groups := _weights_by_group(about):
        return " and ".join(dict.fromkeys(map(_of_group, groups)))
    bits = about.get("bits", about.get("w_bit"))
    if method in ("gptq", "awq", "auto-round") or isinstance(bits, int):
        return _of_integers(bits, about.get("group_size", about.get("q_group_size")))
    words = json.dumps([method, about.get("quant_algo"), about.get("quant_type")], default=str)
    words = words.lower().replace("float8", "fp8")
    known = ("nvfp4", "mxfp4", "fp8", "int8", "int4")
    return next((one for one in known if one in words), method)


def _weights_by_group(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is said of the weights of each group of matrices."""
    groups = about.get("config_groups")
    if not isinstance(groups, Mapping):
        return []
    return [
        group["weights"]
        for group in groups.values()
        if isinstance(group, Mapping) and isinstance(group.get("weights"), Mapping)
    ]


def _of_group(weights: Mapping[str, Any]) -> str:
    """Return the format of one group of matrices (``compressed-tensors``, ModelOpt)."""
    bits, size = weights.get("num_bits"), weights.get("group_size")
    if weights.get("type") == "float":
        known = {"8": "fp8", "4, 16": "nvfp4", "4, 32": "mxfp4"}
        own = f"{bits}, {size}" if bits == 4 else str(bits)
        return known.get(own, f"floats of {_some(bits)} bits")
    return _of_integers(bits, size)


def _of_integers(bits: object, size: object) -> str:
    """Return the format of whole numbers of some bits, in groups of some size."""
    if not isinstance(bits, int) or isinstance(bits, bool):
        return f"integers of {_some(bits)} bits"
    if bits == 4 and isinstance(size, int) and size in _GROUPED:
        return _GROUPED[size]
    return f"int{bits}"


def _some(bits: object) -> str:
    return "an unknown number of" if bits is None else f"{bits!r:.20}"
