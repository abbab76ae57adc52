"""Load a GGUF file as a plain model: its weights unpacked, and its tokenizer as the file says."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adadecode.engine.loading.gguf_header import GgufHeader, read_header
from adadecode.engine.loading.gguf_rope import FACTORS, scale_positions
from adadecode.engine.loading.gguf_tokenizer import put_right
from adadecode.profiles.errors import InputError

_END_TOKENS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))


def checked_header(path: Path) -> GgufHeader:
    """Return the head of a GGUF file whose architecture `transformers` can read.

    Raises:
        InputError: It is none, damaged, or of an architecture that cannot be read.
    """
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    header = read_header(path)
    known = {*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_CONFIG_ARCHS} - {"general", "tokenizer"}
    plain = header.architecture.replace("-", "_")
    if not {header.architecture, plain, plain.replace("moe", "_moe")} & known:
        raise InputError(
            f"{path} is a model of the architecture {header.architecture!r}, which transformers "
            f"does not read from GGUF files: give its safetensors instead"
        )
    return header


def load_config(header: GgufHeader) -> PretrainedConfig:
    """Return the config that a GGUF file says; read once in a process.

    Raises:
        InputError: It scales rotary positions in a way that has no name here.
    """
    status = header.path.stat()
    return deepcopy(_config(header.path, status.st_mtime_ns, status.st_size))


@cache
def _config(path: Path, _changed: int, _size: int) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.from_pretrained(
        path.parent, gguf_file=path.name, local_files_only=True
    )
    scale_positions(config, read_header(path))
    return config


def loading_options(header: GgufHeader) -> dict[str, Any]:
    """Return what ``from_pretrained`` takes to unpack a GGUF file's weights."""
    return {
        "gguf_file": header.path.name,
        "quantization_config": GgufConfig(dequantize=True),
        "config": load_config(header),
    }


def load_tokenizer(header: GgufHeader) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a GGUF file: that of its folder where one lies there.

    Raises:
        InputError: How the file splits texts is not known here.
    """
    folder = header.path.parent
    if (folder / "tokenizer.json").exists():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(
        folder,
        gguf_file=header.path.name,
        local_files_only=True,
        clean_up_tokenization_spaces=False,
    )
    put_right(tokenizer, header)
    return tokenizer


def settle(model: PreTrainedModel, header: GgufHeader) -> dict[str, Any]:
    """Make an unpacked model a plain one, and return what is to be said of its weights.

    Raises:
        InputError: The file holds more numbers than the model takes, or fewer.
    """
    taken = sum(weight.numel() for weight in model.parameters())
    factors = header.floats(FACTORS)  # which the config says
    taken += 0 if factors is None else factors.size
    if header.numbers != taken:
        known = ("token_embd", "output", "blk", "rope_freqs")  # what is taken
        odd = [one.name for one in header.tensors if one.name.partition(".")[0] not in known]
        holds = ", ".join(one for one in odd if not one.startswith("output")) or "other tensors"
        raise InputError(
            f"{header.path} holds {holds}, which transformers' model of the architecture "
            f"{header.architecture!r} does not take ({taken:,} of {header.numbers:,} numbers): "
            "give its safetensors instead"
        )
    for holder in (model.config, model):
        for name in ("quantization_config", "hf_quantizer", "is_quantized", "quantization_method"):
            if name in vars(holder):
                delattr(holder, name)
    ends = {header.settings[key] for key in _END_TOKENS if key in header.settings}
    if model.generation_config is not None and ends:
        model.generation_config.eos_token_id = sorted(ends) if len(ends) > 1 else next(iter(ends))
    formats = header.formats()
    return {"format": "gguf", "file": header.path.name, "packed_as": formats[0].lower()}


def save_unpacked(path: Path, folder: Path) -> dict[str, object]:
    """Save an unpacked GGUF file in FP32, with its config and tokenizer, as a folder of files.

    Args:
        path: The file.
        folder: An empty folder.

    Returns:
        What is to be said of the weights.
    """
    header = checked_header(path)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, dtype=torch.float32, local_files_only=True, **loading_options(header)
    )
    about = settle(model, header)
    model.save_pretrained(folder)
    load_tokenizer(header).save_pretrained(folder)
    return about
