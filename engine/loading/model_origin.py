"""What a loaded model was made of, where its files hold other weights than it computes with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel

_origins: WeakKeyDictionary[PreTrainedModel, dict[str, str]] = WeakKeyDictionary()


def remember(model: PreTrainedModel, about: Mapping[str, Any]) -> None:
    """Keep what is to be said of a model, beside what was kept before.

    Args:
        model: The model.
        about: ``format`` and ``packed_as`` of the weights in its files, ``adapter`` and
            ``adapter_base`` where one was merged.
    """
    _origins[model] = {**origin_of(model), **{key: str(value) for key, value in about.items()}}


def origin_of(model: PreTrainedModel) -> dict[str, str]:
    """Return what is to be said of a model; nothing of one that computes with what it was saved."""
    return dict(_origins.get(model, {}))


def limitations_of(model: PreTrainedModel) -> list[str]:
    """Return in sentences what a reader of a recording must know of it."""
    about, found = origin_of(model), []
    if packed := about.get("packed_as"):
        kind = "a GGUF file" if about.get("format") == "gguf" else "a checkpoint"
        found.append(
            f"weights unpacked from {kind} of format {packed}: they are read in the model's dtype, "
            "and took fewer bytes in the file"
        )
    if adapter := about.get("adapter"):
        found.append(f"the adapter {adapter} ({about.get('adapter_kind')}) was merged into layers")
    return found
