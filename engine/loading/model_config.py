"""The configuration of a model alone, whatever its files are."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download
from transformers import AutoConfig, PretrainedConfig

from adadecode.engine.loading import gguf_model
from adadecode.engine.loading.gguf_header import GgufHeader
from adadecode.engine.loading.hub import from_here
from adadecode.engine.loading.model_files import ModelFiles, find_files


def read_config(name_or_path: str | Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """Return the configuration of a model.

    Raises:
        InputError: A file of it is not there, or is damaged. Other errors are those of libraries.
    """
    files = find_files(name_or_path)
    if header := gguf_header(files):
        return gguf_model.load_config(header)
    config: PretrainedConfig = AutoConfig.from_pretrained(
        files.place, trust_remote_code=trust_remote_code, local_files_only=from_here(files.place)
    )
    return config


def gguf_header(files: ModelFiles) -> GgufHeader | None:
    """Return the head of a model's GGUF file, fetched where it is on the hub.

    Returns:
        None where the model has none.

    Raises:
        InputError: As `adadecode.engine.loading.gguf_model.checked_header`. Other errors are those
            of the hub.
    """
    if files.gguf is None:
        return None
    folder = Path(files.place)
    if not folder.is_dir():
        here = from_here(files.place, files=(files.gguf,))
        path = hf_hub_download(files.place, files.gguf, local_files_only=here)
        return gguf_model.checked_header(Path(path))
    return gguf_model.checked_header(folder / files.gguf)
