"""A causal LM and its tokenizer from a name or a folder, with every failure said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from engine.machine import out_of_memory, torch_device
from engine.quantised import weight_config
from profiles.errors import InputError

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def load_model(
    name_or_path: str | Path, dtype: str = "auto", device: str = "auto", *, trust_remote_code: bool = False, weights: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, in evaluation mode and with the default (SDPA) attention, and its tokenizer.

    dtype: a name of DTYPES, or ``auto``: the checkpoint's own on a GPU, float32 on a CPU. device: auto, cpu, cuda or cuda:N. weights: int8 or int4, of the layers'
    matrices, by `engine.quantised`.
    Raises InputError.
    """
    place = torch_device(device)
    wanted = find_dtype(dtype, place)
    quantised = {} if weights is None else {"quantization_config": weight_config(weights)}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise InputError(f"no tokenizer for {name_or_path}: {_reason(error)}") from error
    try:
        with enough_memory("use a device with more memory (--device), or a 16-bit --dtype"):
            model, found = AutoModelForCausalLM.from_pretrained(
                name_or_path, dtype=wanted, trust_remote_code=trust_remote_code, output_loading_info=True, **quantised
            )
            model.to(place)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise InputError(f"the model {name_or_path} cannot be loaded: {_reason(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise InputError(
            f"the checkpoint {name_or_path} lacks weights that its model has ({', '.join(missing[:3])}): wanted a complete causal LM"
        )
    model.eval()
    return model, tokenizer


def find_dtype(dtype: str, device: torch.device) -> torch.dtype | str:
    """The torch dtype of this name, as ``from_pretrained`` takes it. Raises InputError."""
    if dtype == "auto":
        return "auto" if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: known are auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Within: running out of memory, a GPU's or the host's, is an InputError that ends in ``advice``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        whose = "GPU" if isinstance(error, torch.OutOfMemoryError) else "machine"
        raise InputError(f"the {whose}'s memory does not suffice ({_reason(error)}): {advice}") from error


def _reason(error: Exception) -> str:
    """What another library said, on one line, cut to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
