"""Models whose weights are int8 or int4, by a library that ``transformers`` knows: torchao, or else bitsandbytes."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from profiles.errors import InputError

WEIGHTS = ("int8", "int4")


def weight_config(weights: str) -> Any:
    """The ``quantization_config`` of ``from_pretrained`` for these weights. Raises InputError where no library provides them."""
    if weights not in WEIGHTS:
        raise InputError(f"wanted weights as one of {', '.join(WEIGHTS)}, got {weights!r}: leave it out for the model's own")
    if find_spec("torchao") is not None:
        from transformers import TorchAoConfig

        kinds = import_module("torchao.quantization")
        return TorchAoConfig(kinds.Int8WeightOnlyConfig() if weights == "int8" else kinds.Int4WeightOnlyConfig())
    if find_spec("bitsandbytes") is not None:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(load_in_8bit=weights == "int8", load_in_4bit=weights == "int4")
    raise InputError(f"no library here provides {weights} weights: install torchao, or bitsandbytes for a GPU")
