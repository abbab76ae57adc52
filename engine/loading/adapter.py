"""Merge a PEFT adapter into the layers of its model, so that it runs as a plain one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from adadecode.engine.loading.model_files import ADAPTER
from adadecode.engine.loading.quantization import packed_matrices
from adadecode.engine.loading.weight_files import check_whole
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there, read_json

if TYPE_CHECKING:
    from peft import PeftModel

_WEIGHTS = "adapter_model.safetensors"

_TOKENS = 8
"""How many tokens are put to a model before and after an adapter is merged."""

_UNTOUCHED, _WIDE, _STEPS, _STEPS_OF_ALL, _PACKED_AGAIN = 1e-6, 1e-3, 2, 16, 0.25
"""How far numbers may be off by rounding, by their spread.

The first where nothing was merged into a layer, as its numbers stay the same. Else at least the
second, and in 16 bits so many steps of the dtype, for one layer and for all; the last where packed
matrices were packed again. Measured: 3e-6 in FP32; in 16 bits half a step for a layer, and five
steps for thirty layers.
"""


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
        InputError: It does not fit the model, is of a kind that cannot be merged, or the model
            computes something else once it is merged.
    """
    kind = check_adapter(folder)["peft_type"]
    _check_kind(kind, folder)
    step, packed = torch.finfo(model.dtype).eps, packed_matrices(model)[0] > 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what they warn of is refused here
            whole = _applied(model, folder, kind)
            rounding = _rounding(whole, step, packed=packed)
            wanted = _answers(whole)
            merged = whole.merge_and_unload(safe_merge=True)
            got = _answers(merged)
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
    for what, answer in wanted.items():
        off = _distance(got[what], answer)
        if not off <= rounding[what]:
            raise InputError(
                f"the adapter {folder} ({kind}) cannot be merged into its model: wanted the same "
                f"{what} as beside its layers, got others by {off:.2g} of their spread, as where "
                "one of two layers that share a matrix is changed, the LM head or the embeddings: "
                "merge it with its own library, untie them, and name the result"
            )
    return {"adapter": Path(folder).name, "adapter_kind": kind}


def _check_kind(kind: str, folder: str | Path) -> None:
    """Refuse a kind of adapter that is not known, or changes no weights."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

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


def _applied(model: PreTrainedModel, folder: str | Path, kind: str) -> PeftModel:
    """Return a model with an adapter beside its layers, all of whose tensors found their place.

    Raises:
        InputError: The file lacks a tensor, or holds one that the model has no place for. Other
            errors are those of libraries.
    """
    from peft import PeftModel

    whole = PeftModel.from_pretrained(model, str(folder), local_files_only=True)
    # It says only when it loads again which tensors found no place.
    renamed = getattr(model, "_checkpoint_conversion_mapping", {})
    found = whole.load_adapter(
        str(folder), whole.active_adapter, key_mapping=renamed, local_files_only=True
    )
    for names, what in (
        (found.missing_keys, "lacks {}, which its config tells of"),
        (found.unexpected_keys, "holds {}, for which there is no place"),
    ):
        if names:
            name = min(names).replace(f".{whole.active_adapter}", "")
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                f"the adapter {folder} ({kind}) does not fit its model: {_WEIGHTS} "
                f"{what.format(name + more)}: copy it again, or name the model that it was trained "
                "for"
            )
    return whole


def _answers(model: PreTrainedModel | PeftModel) -> dict[str, torch.Tensor]:
    """Return what a model and its first and last part say, each ``(positions, numbers)``, FP32."""
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.linspace(0, vocabulary - 1, _TOKENS).long()[None].to(model.device)
    head = model.get_output_embeddings()
    states = torch.linspace(-2, 2, _TOKENS * head.in_features).reshape(_TOKENS, -1).sin()
    with torch.no_grad():
        found = {
            "embeddings": model.get_input_embeddings()(ids)[0],
            "LM head": head(states.to(model.device, model.dtype)),
            "logits": model(input_ids=ids, use_cache=False).logits[0],
        }
    return {what: answer.float() for what, answer in found.items()}


def _distance(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return how far numbers are off, by the spread of those at their position.

    It is the median over positions: where experts are chosen, rounding may choose another at one.
    """
    off = (got - wanted).square().mean(-1).sqrt() / wanted.std(-1)
    return float(off.median())


def _rounding(whole: PeftModel, step: float, *, packed: bool) -> dict[str, float]:
    """Return how far `_answers` may be off by rounding, by their spread.

    Args:
        whole: The model with the adapter beside its layers.
        step: The step of the model's dtype.
        packed: Whether matrices of it are packed.
    """
    parts = {"embeddings": whole.get_input_embeddings(), "LM head": whole.get_output_embeddings()}
    changed = {what: type(part).__module__.startswith("peft.") for what, part in parts.items()}
    return {
        **{what: max(_WIDE, _STEPS * step) if changed[what] else _UNTOUCHED for what in parts},
        "logits": _PACKED_AGAIN if packed else max(_WIDE, _STEPS_OF_ALL * step),
    }
