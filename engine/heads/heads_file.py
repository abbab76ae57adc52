"""The files of exit heads: ``heads.safetensors`` with the matrices, ``heads.json`` about them.

Format 2 added the form of the heads and the frequent tokens; files of format 1 have neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from adadecode.engine.heads.model_samples import body_samples, lm_head_samples, samples_match
from adadecode.profiles.atomic_write import write_json, write_with
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.output_path import check_output_directory
from adadecode.sim.core.head_form import HeadForm

WEIGHTS, CONFIG = "heads.safetensors", "heads.json"
FORMAT = 2
"""The newest format, which is the one that is written."""


@dataclass(frozen=True, kw_only=True)
class HeadsContent:
    """What the files of exit heads hold.

    Attributes:
        transforms: By depth the matrix T, shape ``(d, d)`` in FP32; None for the identity.
        form: The form of the heads.
        frequent: Token ids, the most frequent first; empty where they were not counted.
        metrics: What training measured, a row a depth.
        coverage: What the form loses, where training measured it.
    """

    transforms: dict[int, torch.Tensor | None]
    form: HeadForm
    frequent: tuple[int, ...]
    metrics: list[dict[str, Any]] | None
    coverage: dict[str, Any] | None


def write_heads(
    folder: Path,
    tensors: Mapping[int, torch.Tensor | None],
    frequent: tuple[int, ...],
    about: Mapping[str, Any],
) -> None:
    """Write both files, each of them whole or not at all.

    Args:
        folder: Where to write; made where it is missing.
        tensors: By depth the matrix T, written in 16 bits; None for the identity.
        frequent: Token ids, the most frequent first.
        about: The rest of ``heads.json``.

    Raises:
        InputError: The files cannot be written there.
    """
    check_output_directory(folder, "folder")
    matrices = {
        f"depth.{depth}": matrix.detach().to("cpu", torch.float16).contiguous()
        for depth, matrix in tensors.items()
        if matrix is not None
    }
    if frequent:
        matrices["frequent"] = torch.tensor(frequent, dtype=torch.int32)
    config = {
        "format": FORMAT,
        "depths": list(tensors),
        "identity": [depth for depth, matrix in tensors.items() if matrix is None],
        **about,
    }

    def write_matrices(path: Path) -> None:
        save_file(matrices, path)
        path.chmod(0o644)  # safetensors leaves it to its owner alone

    write_with(folder / WEIGHTS, write_matrices)
    write_json(folder / CONFIG, config)


def read_heads(folder: Path, model: PreTrainedModel) -> HeadsContent:
    """Read both files, and check that they are whole and this model's.

    Raises:
        HeadsError: They are newer than this program, incomplete, or another model's.
        Exception: Whatever else malformed files make the libraries raise.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    tensors = load_file(folder / WEIGHTS)
    if int(config["format"]) > FORMAT:
        raise HeadsError(
            f"the heads in {folder} have format {config['format']}, this program reads up to "
            f"{FORMAT}: upgrade it"
        )
    _check_owner(folder, config, model)
    depths, identity = [int(depth) for depth in config["depths"]], set(config["identity"])
    if missing := [d for d in depths if d not in identity and f"depth.{d}" not in tensors]:
        raise HeadsError(
            f"the heads in {folder} are damaged: depths {missing} are listed, but have no weights; "
            "copy or train them again"
        )
    frequent = tensors.pop("frequent", torch.zeros(0)).flatten().long().tolist()
    form = HeadForm(**config.get("form", {}))
    if absurd := [name for name, matrix in tensors.items() if not matrix.isfinite().all()]:
        raise HeadsError(
            f"the heads in {folder} are damaged: {absurd[0]} holds numbers that are not finite; "
            "copy or train them again"
        )
    return HeadsContent(
        transforms={
            depth: None if depth in identity else tensors[f"depth.{depth}"].float()
            for depth in depths
        },
        form=form,
        frequent=tuple(frequent),
        metrics=config.get("metrics"),
        coverage=config.get("coverage"),
    )


def _check_owner(folder: Path, config: dict[str, Any], model: PreTrainedModel) -> None:
    """Raise HeadsError unless these heads are the model's own."""
    own = model.config.get_text_config()
    about = config["model"]
    for key, value in (
        ("hidden_size", own.hidden_size),
        ("n_layers", own.num_hidden_layers),
        ("vocab_size", own.vocab_size),
    ):
        if about[key] != value:
            raise HeadsError(
                f"the heads in {folder} belong to another model: their {key} is {about[key]}, this "
                f"model's {value}; train heads for this one"
            )
    samples = [("signature", lm_head_samples(model), "LM head has")]
    own_body = body_samples(model) if "body" in config else []  # absent from the oldest files
    if own_body:
        samples.append(("body", own_body, "layers have"))
    for name, expected, which in samples:
        if not samples_match(config[name], expected, f"{name} in {CONFIG}"):
            raise HeadsError(
                f"the heads in {folder} belong to another model of the same shape: its {which} "
                "other weights; train heads for this one"
            )
