"""A causal LM and its tokenizer from a name or a folder; every failure is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from pickle import UnpicklingError  # the error alone: torch loads weights, and nothing else
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adadecode.engine.loading import gguf_model
from adadecode.engine.loading.adapter import check_adapter, merge_adapter
from adadecode.engine.loading.device_map import check_device_map, loading_options
from adadecode.engine.loading.gguf_header import GgufHeader
from adadecode.engine.loading.hub import from_here, hub_reason, quiet_hub
from adadecode.engine.loading.memory_check import NO_HEADS, HeadsToLoad, check_checkpoint
from adadecode.engine.loading.model_config import gguf_header, read_config
from adadecode.engine.loading.model_files import ModelFiles, find_files
from adadecode.engine.loading.model_origin import remember
from adadecode.engine.loading.quantization import (
    check_format,
    method_of,
    packed_as,
    packed_matrices,
    refuse_leftovers,
    weight_config,
)
from adadecode.engine.loading.weight_files import check_weights
from adadecode.engine.runtime.environment import out_of_gpu_memory, out_of_memory, torch_device
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import read_text

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}

_FAULTS = (
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    StrictDataclassError,
    TypeError,
    UnpicklingError,
    ValueError,
)
"""What libraries raise for a folder that they cannot make sense of."""

TRIED = "a"
"""A text that a tokenizer must encode: some of its settings are not looked at before."""

_DESCRIPTIONS = ("config.json", "generation_config.json", "tokenizer_config.json")
"""Files of a folder that libraries take for objects of JSON, some of them without a check."""


def load_model(
    name_or_path: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    *,
    trust_remote_code: bool = False,
    weights: str | None = None,
    device_map: str | None = None,
    positions: int = 0,
    exits: HeadsToLoad = NO_HEADS,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model, in evaluation mode and with the default (SDPA) attention, and its tokenizer.

    Where several processes share the model (`adadecode.engine.runtime.distributed`), it is sharded
    by its own tp_plan.

    Args:
        name_or_path: What it is called, see `adadecode.engine.loading.model_files`.
        dtype: A name of `DTYPES`, or ``auto``: the checkpoint's own on a GPU, float32 on a CPU.
        device: auto, cpu, cuda or cuda:N.
        trust_remote_code: As of ``from_pretrained``.
        weights: int8 or int4 for the layers' matrices, see `adadecode.engine.loading.quantization`.
        device_map: How it is spread over devices, see `adadecode.engine.loading.device_map`.
        positions: Positions whose keys and values must fit next to it.
        exits: Heads that must fit next to it.
        tokenizer: Its tokenizer, where that is loaded already.

    Raises:
        InputError: It cannot be loaded, or would not fit into the memory that is free.
    """
    place = torch_device(device)
    wanted = find_dtype(dtype, place)
    packing = None if weights is None else weight_config(weights, place.type, wanted)
    tokenizer = tokenizer or load_tokenizer(name_or_path, trust_remote_code=trust_remote_code)
    check_checkpoint(
        name_or_path,
        wanted,
        weights,
        place,
        positions=positions,
        spread=device_map is not None,
        exits=exits,
        trust_remote_code=trust_remote_code,
    )
    placement = loading_options(place, device_map, packed=packing is not None)
    options = {
        "trust_remote_code": trust_remote_code,
        **placement,
        **({} if packing is None else {"quantization_config": packing}),
    }
    model, missing = _from_pretrained(name_or_path, wanted, options, None if placement else place)
    if missing:
        raise InputError(
            f"the checkpoint {name_or_path} lacks weights that its model has "
            f"({', '.join(missing[:3])}): wanted a complete causal LM"
        )
    if packing is not None and not packed_matrices(model)[0]:
        raise InputError(
            f"no matrix of {name_or_path} could be packed as {weights}: leave --weights out"
        )
    check_device_map(model, str(name_or_path))
    model.eval()
    return model, tokenizer


def _from_pretrained(
    name_or_path: str | Path,
    dtype: torch.dtype | str,
    options: dict[str, Any],
    device: torch.device | None,
) -> tuple[PreTrainedModel, list[str]]:
    """Return a model, moved to the device if one is given, and weights that its checkpoint lacks.

    Raises:
        InputError: It cannot be loaded.
    """
    files, here = _found(name_or_path)
    with (
        _explained(name_or_path),
        quiet_hub.needed(),
        enough_memory(
            "use a device with more memory (--device), a 16-bit --dtype, or --weights int8"
        ),
    ):
        header, packed = _checked(files, name_or_path, options)
        more = {} if header is None else gguf_model.loading_options(header)
        model, found = AutoModelForCausalLM.from_pretrained(
            files.place if header is None else header.path.parent,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=here,
            **options,
            **more,
        )
        refuse_leftovers(found["unexpected_keys"], name_or_path)
        _settle(model, files, header, packed)
        if device is not None:
            model.to(device)
    return model, sorted(found["missing_keys"])


def _checked(
    files: ModelFiles, name_or_path: str | Path, options: Mapping[str, Any]
) -> tuple[GgufHeader | None, str | None]:
    """Return the head of a model's GGUF file, or how its other files are packed.

    They are in order then, as far as can be seen.

    Raises:
        InputError: They are not. Other errors are those of libraries.
    """
    if files.adapter is not None:
        check_adapter(files.adapter)
    if header := gguf_header(files):
        if "quantization_config" in options:
            raise InputError(
                f"{name_or_path} is a GGUF file, whose weights are unpacked and cannot be packed "
                "again: leave --weights out, or give its safetensors"
            )
        return header, None
    config = read_config(files.place, trust_remote_code=options["trust_remote_code"])
    packed = check_format(config, name_or_path)
    check_weights(Path(files.place), scaled=packed == "fp8")
    return None, packed


def _settle(
    model: PreTrainedModel, files: ModelFiles, header: GgufHeader | None, packed: str | None
) -> None:
    """Make a loaded model a plain one, and remember what it was made of.

    Args:
        model: The model.
        files: Its files.
        header: The head of its GGUF file.
        packed: How its other files are packed.

    Raises:
        InputError: Its file holds what it does not take, or its adapter cannot be merged.
    """
    remember(model, files.origin)
    if header is not None:
        remember(model, gguf_model.settle(model, header))
    elif packed is not None and packed_as(model) is None:
        remember(model, {"format": "safetensors", "packed_as": packed})
    if files.adapter is not None:
        remember(model, merge_adapter(model, files.adapter))


@contextmanager
def _explained(name_or_path: str | Path) -> Iterator[None]:
    """Say in a sentence why a model cannot be loaded. Raises InputError."""
    try:
        yield
    except InputError:
        raise
    except (*_FAULTS, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"the model {name_or_path}{_packing(name_or_path)} cannot be loaded: "
            f"{_why(error, name_or_path)}"
        ) from error


def _packing(name_or_path: str | Path) -> str:
    """Return how a model that cannot be loaded is packed, for a message."""
    with suppress(*_FAULTS, InputError):
        method = method_of(read_config(name_or_path))
        return f", packed as {method}," if method else ""
    return ""


def load_tokenizer(
    name_or_path: str | Path, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer alone. Raises InputError where there is none."""
    files, here = _found(name_or_path)
    try:
        with quiet_hub.needed():
            own = None if files.adapter is None else Path(files.adapter)
            if own is not None and (own / "tokenizer.json").exists():
                tokenizer = AutoTokenizer.from_pretrained(own, local_files_only=True)
            elif header := gguf_header(files):
                tokenizer = gguf_model.load_tokenizer(header)
            else:
                tokenizer = AutoTokenizer.from_pretrained(
                    files.place, trust_remote_code=trust_remote_code, local_files_only=here
                )
        tokenizer(TRIED)
    except InputError:
        raise
    except _FAULTS as error:
        folder = Path(files.place)
        lacking = folder.is_dir() and not (folder / "tokenizer.json").exists()
        why = "it holds no tokenizer.json" if lacking else _why(error, name_or_path)
        raise InputError(f"no tokenizer for {name_or_path}: {why}") from error
    return tokenizer


def load_config(name_or_path: str | Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """Load the configuration alone. Raises InputError where there is none."""
    _found(name_or_path)
    try:
        with quiet_hub.needed():
            return read_config(name_or_path, trust_remote_code=trust_remote_code)
    except InputError:
        raise
    except _FAULTS as error:
        raise InputError(
            f"the configuration of {name_or_path} cannot be read: {_why(error, name_or_path)}"
        ) from error


def layers_of(name_or_path: str | Path, *, trust_remote_code: bool = False) -> int | None:
    """Return how many layers a model has by its configuration alone.

    None is returned where the configuration cannot be read or does not say it: loading the model
    will explain what is wrong.
    """
    try:
        config = load_config(name_or_path, trust_remote_code=trust_remote_code)
        return int(config.get_text_config().num_hidden_layers)
    except (InputError, AttributeError, TypeError, ValueError):
        return None


def find_dtype(dtype: str, device: torch.device) -> torch.dtype | str:
    """Return the torch dtype of this name, as ``from_pretrained`` takes it.

    Raises:
        InputError: There is no such dtype.
    """
    if dtype == "auto":
        return "auto" if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: known are auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


@contextmanager
def enough_memory(advice: str | Callable[[], str]) -> Iterator[None]:
    """Turn running out of memory, on a GPU or the host, into an InputError.

    Args:
        advice: What to do, which ends the message; a callable is called only when it is needed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        whose = "GPU" if out_of_gpu_memory(error) else "machine"
        raise InputError(
            f"the {whose}'s memory does not suffice ({_reason(error)}): "
            f"{advice if isinstance(advice, str) else advice()}"
        ) from error


def _found(name_or_path: str | Path) -> tuple[ModelFiles, bool]:
    """Return a model's files, and whether they are on this machine; its folder is checked.

    Raises:
        InputError: There is no such model, or a file that describes it holds no object of JSON.
    """
    files = find_files(name_or_path)
    named = () if files.gguf is None else (files.gguf,)
    here = from_here(files.place, files=named)
    for file in _DESCRIPTIONS:
        path = Path(files.place) / file
        if not path.exists():
            continue
        text = read_text(path)
        try:
            described = json.loads(text)
        except (ValueError, RecursionError):
            described = None
        if not isinstance(described, dict):
            raise InputError(f"wanted an object of JSON in {path}, got none: copy the file again")
    return files, here


def _why(error: Exception, name_or_path: str | Path) -> str:
    """Return why a model cannot be loaded: by the hub, by the system, or as a library says it."""
    if isinstance(error, (SafetensorError, UnpicklingError, EOFError)):
        return "a file of its weights is damaged, and has to be copied again"
    if isinstance(error, json.JSONDecodeError):
        return "a file of it holds no JSON, and has to be copied again"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror[0].lower()}{error.strerror[1:]} ({error.filename})"
    return hub_reason(error, str(name_or_path)) or _reason(error)


def _reason(error: Exception) -> str:
    """Return what another library raised, on one line, cut to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
