"""Merge a PEFT adapter into the layers of its model, so that it runs as a plain one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from adadecode.engine.loading.model_files import ADAPTER
from adadecode.engine.loading.weight_files import check_whole
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there, read_json

_WEIGHTS = "adapter_model.safetensors"


def check_adapter(folder: str | Path) -> dict[str, Any]:
    """Return an adapter's config, once what it says and where its weights are is in order.

    Raises:
        InputError: It is of another kind of task, its weights are not there or are pickled, or the
            package that merges it is missing.
    """
    place = Path(folder)
    config = read_json(place / ADAPTER)
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise InputError(f"wanted the config of a PEFT adapter in {place / ADAPTER}: copy it again")
    task = config.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise InputError(
            f"the adapter {place} is for the task {task}, wanted CAUSAL_LM: name one that was "
            "trained to write text"
        )
    if not is_there(place / _WEIGHTS):
        raise InputError(
            f"the adapter {place} has no {_WEIGHTS}: copy it, or save the adapter again without "
            "pickle"
        )
    check_whole(place / _WEIGHTS)
    try:
        import peft  # noqa: F401
    except ImportError:
        raise InputError(
            f"{place} is an adapter, and merging it takes the package peft: install "
            "adadecode[adapters]"
        ) from None
    return config


def merge_adapter(model: PreTrainedModel, folder: str | Path) -> dict[str, str]:
    """Merge an adapter into a model, in place.

    Args:
        model: The model that it was trained for.
        folder: The adapter's folder.

    Returns:
        What is to be said of the adapter.

    Raises:
        InputError: It does not fit the model, or is of a kind that cannot be merged.
    """
    config = check_adapter(folder)
    kind = config["peft_type"]
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftModel

    known = {
        str(getattr(one, "value", one)): made for one, made in PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }
    if kind not in known:
        raise InputError(f"the adapter {folder} is of the kind {kind}, which peft does not know")
    if known[kind]().is_prompt_learning:
        raise InputError(
            f"the adapter {folder} is of the kind {kind}, which puts learned positions before a "
            "text and cannot be merged into layers: name one that changes weights, like LORA"
        )
    try:
        whole = PeftModel.from_pretrained(model, str(folder), local_files_only=True)
        merged = whole.merge_and_unload(safe_merge=True)
    except (
        AttributeError,
        KeyError,
        NotImplementedError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        json.JSONDecodeError,
    ) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"the adapter {folder} ({kind}) cannot be merged into its model: {reason}"
        ) from error
    left = {type(part).__module__ for part in merged.modules()}
    if any(name.startswith("peft.") for name in left):
        raise InputError(
            f"the adapter {folder} is of the kind {kind}, whose parts cannot be merged into "
            "layers: merge it with its own library and name the result"
        )
    return {"adapter": Path(folder).name, "adapter_kind": kind}
