"""Where the files of a model are, and how they are read, by what a user calls it.

=========================  ====================================================================
``FOLDER``                 a folder with ``config.json``, with one GGUF file, or of a PEFT adapter
``owner/name``             the same on the hub
``FILE.gguf``              a GGUF file
``FOLDER::FILE.gguf``      one of the GGUF files of a folder, or of a name on the hub
``BASE::ADAPTER``          a PEFT adapter's folder, applied to this model
``smollm2``                the model that ``make smollm2`` fetches
=========================  ====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from adadecode.engine.loading import smollm2
from adadecode.engine.loading.gguf_header import SUFFIX, is_gguf
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_folder, is_there, read_json

BETWEEN = "::"
"""What stands between a folder and its GGUF file, and between a model and its adapter."""

ADAPTER = "adapter_config.json"
_PLAIN = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where the files of a model are.

    Attributes:
        place: A folder, or a name on the hub.
        gguf: The GGUF file of it that holds the weights; None where other files do.
        adapter: The folder of a PEFT adapter to apply; None where there is none.
        origin: What its plain files were made of (`adadecode.engine.loading.model_origin`).
    """

    place: str
    gguf: str | None = None
    adapter: str | None = None
    origin: Mapping[str, str] = field(default_factory=dict)


def find_files(name_or_path: str | Path) -> ModelFiles:
    """Return where the files of a model are.

    Raises:
        InputError: A file or a folder of it is not there, is one of several, or is damaged.
    """
    name = str(name_or_path)
    if name == smollm2.NAME:
        folder = smollm2.unpacked_folder()
        return ModelFiles(place=str(folder), origin=smollm2.origin(folder))
    left, between, right = name.partition(BETWEEN)
    if between and right.endswith(SUFFIX):
        return _named_gguf(left, right)
    if between:
        return _adapted(left, right)
    if is_gguf(name):
        return ModelFiles(place=str(Path(name).parent), gguf=Path(name).name)
    if name and is_folder(name):
        return _in_folder(Path(name))
    return ModelFiles(place=name)


def _named_gguf(place: str, file: str) -> ModelFiles:
    """Return the files of ``FOLDER::FILE.gguf``."""
    if is_folder(place) and not is_there(Path(place) / file):
        raise InputError(f"no file {file} in {place}: it holds {_listed(_ggufs(Path(place)))}")
    return ModelFiles(place=place, gguf=file)


def _adapted(base: str, adapter: str) -> ModelFiles:
    """Return the files of ``BASE::ADAPTER``."""
    if not is_there(Path(adapter) / ADAPTER):
        raise InputError(
            f"no adapter in {adapter}: wanted a folder with {ADAPTER} after {BETWEEN}, or a file "
            f"that ends in {SUFFIX}"
        )
    if _is_adapter(base):
        if _is_same(base, adapter) and _holds_model(Path(adapter)):
            raise InputError(
                f"{adapter} holds an adapter and the model that it was trained for: move {ADAPTER} "
                f"and the adapter's weights into a folder of their own, and name both, as "
                f"{base}{BETWEEN}FOLDER"
            )
        raise InputError(f"{base} is an adapter itself: name the model that it was trained for")
    return replace(find_files(base), adapter=adapter)


def _is_adapter(name: str) -> bool:
    """Whether a name is that of an adapter, or of a model with one."""
    _, between, right = name.partition(BETWEEN)
    if between:
        return not right.endswith(SUFFIX)
    return bool(name) and is_folder(name) and is_there(Path(name) / ADAPTER)


def _is_same(base: str, adapter: str) -> bool:
    return Path(base).resolve() == Path(adapter).resolve()


def _holds_model(folder: Path) -> bool:
    return is_there(folder / "config.json")


def _in_folder(folder: Path) -> ModelFiles:
    """Return the files of a folder."""
    if is_there(folder / ADAPTER):
        return _adapted(_base_of(folder), str(folder))
    if any(next(folder.glob(pattern), None) for pattern in _PLAIN):
        return ModelFiles(place=str(folder))
    found = _ggufs(folder)
    if len(found) > 1:
        raise InputError(
            f"{folder} holds {len(found)} GGUF files ({_listed(found)}): name one of them, like "
            f"{folder}{BETWEEN}{found[0]}"
        )
    return ModelFiles(place=str(folder), gguf=found[0] if found else None)


def _base_of(adapter: Path) -> str:
    """Return which model an adapter's config says that it was trained for."""
    config = read_json(adapter / ADAPTER)
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str) or not base:
        raise InputError(
            f"{adapter / ADAPTER} does not say for which model the adapter was trained: name it, "
            f"as MODEL{BETWEEN}{adapter}"
        )
    return base


def _ggufs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{SUFFIX}"))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "") or "no GGUF file"
