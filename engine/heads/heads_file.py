"""The files of exit heads: ``heads.safetensors`` with the matrices, ``heads.json`` about them.

``heads.json`` is sealed, and names the digest over all bytes of the tensors. It is the seal of the
folder (`adadecode.profiles.sealed_folder`): the heads that were there are whole until the new ones
are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from adadecode.engine.heads.gates import GATE_BIASES, GATE_WEIGHTS, LARGEST_WEIGHT, Gates
from adadecode.engine.heads.heads_description import (
    AGAIN,
    CONFIG,
    GATES,
    WEIGHTS_DIGEST,
    HeadsDescription,
    read_description,
    sealed_description,
)
from adadecode.engine.heads.model_samples import body_samples, lm_head_samples, samples_match
from adadecode.engine.runtime.fingerprints import of_all_bytes
from adadecode.engine.runtime.tensor_file import read_tensors, tensor_bytes
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.sealed_folder import member, sealing
from adadecode.sim.core.head_form import HeadForm

WEIGHTS = "heads.safetensors"
FREQUENT = "frequent"
"""The name of the tensor of frequent tokens."""


class Bound(NamedTuple):
    """The largest number that a tensor may hold.

    Attributes:
        largest: The number, with either sign.
        why: Why none is larger, for a message.
    """

    largest: float
    why: str


OF_MATRICES = Bound(1000, "as a head is near the identity")
"""A matrix takes normed states to normed states."""
OF_GATES = Bound(LARGEST_WEIGHT, "as a score saturates long before")


@dataclass(frozen=True, kw_only=True)
class HeadsContent:
    """What the files of exit heads hold.

    Attributes:
        transforms: By depth the matrix T, shape ``(d, d)`` in FP32; None for the identity.
        form: The form of the heads.
        frequent: Token ids, the most frequent first; empty where they were not counted.
        metrics: What training measured, a row a depth.
        coverage: What the form loses, where training measured it.
        gates: The gates of the heads; None where they have none.
    """

    transforms: dict[int, torch.Tensor | None]
    form: HeadForm
    frequent: tuple[int, ...]
    metrics: list[dict[str, Any]] | None
    coverage: dict[str, Any] | None
    gates: Gates | None


def write_heads(
    folder: Path,
    tensors: Mapping[int, torch.Tensor | None],
    frequent: tuple[int, ...],
    about: Mapping[str, Any],
    gates: Gates | None = None,
) -> None:
    """Write both files. The heads that were there stay whole until the new ones are.

    Args:
        folder: Where to write; made where it is missing.
        tensors: By depth the matrix T, written in 16 bits; None for the identity.
        frequent: Token ids, the most frequent first.
        about: The rest of ``heads.json``.
        gates: The gates of the heads, written in FP32.

    Raises:
        InputError: The files cannot be written there.
        HeadsError: A number is not finite.
    """
    matrices = {
        _name(depth): matrix.detach().to("cpu", torch.float16, copy=True)
        for depth, matrix in tensors.items()
        if matrix is not None
    }
    check_numbers(
        matrices, OF_MATRICES, "the heads to save", "train them again with a lower learning rate"
    )
    if frequent:
        matrices[FREQUENT] = torch.tensor(frequent, dtype=torch.int32)
    said: dict[str, Any] = {}
    if gates is not None:
        matrices |= gates.tensors()
        said[GATES] = {"confidence": gates.confidence, "metrics": gates.metrics}
        check_numbers(gates.tensors(), OF_GATES, "the gates to save", "train them again")
    description = sealed_description(
        {
            "depths": list(tensors),
            "identity": [depth for depth, matrix in tensors.items() if matrix is None],
            **about,
            **said,
            WEIGHTS_DIGEST: of_all_bytes(matrices, {}),
        }
    )
    with sealing(folder, CONFIG, (WEIGHTS,)) as files:
        files.write(WEIGHTS, tensor_bytes(matrices))
        files.finish(f"{json.dumps(description, indent=1, ensure_ascii=False)}\n".encode())


def read_heads(folder: Path, model: PreTrainedModel) -> HeadsContent:
    """Read both files, and check that they are whole and this model's.

    Raises:
        HeadsError: They are missing, newer than this program, damaged, or another model's.
    """
    places = (folder / CONFIG, member(folder, CONFIG, WEIGHTS))
    if missing := [place.name for place in places if not place.exists()]:
        verb = "are" if len(missing) > 1 else "is"
        raise HeadsError(
            f"no heads in {folder}: wanted the files {WEIGHTS} and {CONFIG} that adadecode-train "
            f"writes, {' and '.join(missing)} {verb} missing"
        )
    description = read_description(folder)
    _check_owner(folder, description, model)
    width = model.get_output_embeddings().weight.shape[1]
    tensors = _whole_tensors(folder, description, width)
    frequent = tensors.pop(FREQUENT, torch.zeros(0, dtype=torch.int32))
    gates = _gates(folder, description, tensors, width)
    _check_layout(folder, description, tensors, frequent)
    check_numbers(tensors, OF_MATRICES, f"the heads in {folder}", AGAIN)
    return HeadsContent(
        transforms={
            depth: None if depth in description.identity else tensors[_name(depth)].float()
            for depth in description.depths
        },
        form=description.form,
        frequent=tuple(frequent.tolist()),
        metrics=description.metrics,
        coverage=description.coverage,
        gates=gates,
    )


def _whole_tensors(
    folder: Path, description: HeadsDescription, width: int
) -> dict[str, torch.Tensor]:
    """Return the tensors, once they are those that the description names by their digest.

    Args:
        folder: The folder of the heads.
        description: What it says of them.
        width: Rows and columns of a matrix.

    Raises:
        HeadsError: They are not, or cannot be read.
    """
    path = member(folder, CONFIG, WEIGHTS)
    heads = len(description.depths)
    numbers = heads * (width**2 + width + 1) + description.shape["vocab_size"]
    found = read_tensors(path, AGAIN, numbers=numbers, error=HeadsError)
    if description.sha256 is not None and {found.digest(), found.claimed} - {
        description.sha256,
        None,
    }:
        raise HeadsError(
            f"{path} is damaged, its numbers are not those that {CONFIG} describes: {AGAIN}"
        )
    return found.tensors


def _gates(
    folder: Path, description: HeadsDescription, tensors: dict[str, torch.Tensor], width: int
) -> Gates | None:
    """Take the gates out of the tensors; None where the description tells of none.

    Raises:
        HeadsError: They are not a row and a bias for each head, in FP32.
    """
    if description.gates is None:
        return None
    depths = sorted(description.depths)
    shapes = {GATE_WEIGHTS: (len(depths), width), GATE_BIASES: (len(depths),)}
    found = {name: tensors.pop(name, torch.zeros(0)) for name in shapes}
    for name, shape in shapes.items():
        if found[name].dtype != torch.float32 or tuple(found[name].shape) != shape:
            raise HeadsError(
                f"the heads in {folder} are damaged: wanted {name} as {shape} in 32 bits, got "
                f"{found[name].dtype} {tuple(found[name].shape)}; {AGAIN}"
            )
    check_numbers(found, OF_GATES, f"the heads in {folder}", AGAIN)
    return Gates(
        dict(zip(depths, found[GATE_WEIGHTS], strict=True)),
        dict(zip(depths, found[GATE_BIASES].tolist(), strict=True)),
        confidence=description.gates["confidence"],
        metrics=description.gates["metrics"],
    )


def _check_layout(
    folder: Path,
    description: HeadsDescription,
    tensors: Mapping[str, torch.Tensor],
    frequent: torch.Tensor,
) -> None:
    """Raise HeadsError unless there is one matrix a depth, and the tokens are ids."""
    wanted = {_name(depth): depth for depth in description.depths}
    with_matrix = {name for name, depth in wanted.items() if depth not in description.identity}
    if missing := sorted(wanted[name] for name in with_matrix - tensors.keys()):
        raise HeadsError(
            f"the heads in {folder} are damaged: depths {missing} are listed, but have no weights; "
            f"{AGAIN}"
        )
    if foreign := sorted(tensors.keys() - with_matrix):
        raise HeadsError(
            f"the heads in {folder} are damaged: {WEIGHTS} holds {foreign[0]!r}, which {CONFIG} "
            f"does not list; {AGAIN}"
        )
    for name, matrix in tensors.items():
        if not matrix.is_floating_point() or matrix.dtype.itemsize < 2:
            raise HeadsError(
                f"the heads in {folder} are damaged: wanted {name} as numbers of 16 or 32 bits, "
                f"got {matrix.dtype}; {AGAIN}"
            )
    if frequent.ndim != 1 or frequent.dtype not in (torch.int32, torch.int64):
        raise HeadsError(
            f"the heads in {folder} are damaged: wanted {FREQUENT} as a list of token ids, got "
            f"{frequent.dtype} {tuple(frequent.shape)}; {AGAIN}"
        )


def check_numbers(tensors: Mapping[str, torch.Tensor], bound: Bound, what: str, todo: str) -> None:
    """Raise HeadsError unless all numbers are finite and within their bound.

    Args:
        tensors: The numbers, by name.
        bound: The largest that there may be.
        what: What holds them, for the message.
        todo: What to do, for the message.
    """
    for name, matrix in tensors.items():
        if not matrix.numel():
            continue  # its shape is refused where it becomes a head
        found = float(matrix.float().abs().max())
        if not math.isfinite(found):
            raise HeadsError(
                f"{what} are damaged: {name} holds numbers that are not finite; {todo}"
            )
        if found > bound.largest:
            raise HeadsError(
                f"{what} are damaged: {name} holds {found:.6g}, wanted numbers of at most "
                f"{bound.largest:g}, {bound.why}; {todo}"
            )


def _check_owner(folder: Path, description: HeadsDescription, model: PreTrainedModel) -> None:
    """Raise HeadsError unless these heads are the model's own."""
    own = model.config.get_text_config()
    for key, value in (
        ("hidden_size", own.hidden_size),
        ("n_layers", own.num_hidden_layers),
        ("vocab_size", own.vocab_size),
    ):
        if description.shape[key] != value:
            raise HeadsError(
                f"the heads in {folder} belong to another model: their {key} is "
                f"{description.shape[key]}, this model's {value}; train heads for this one"
            )
    samples = [(description.signature, lm_head_samples(model), "LM head has")]
    if description.body is not None and (own_body := body_samples(model)):
        samples.append((description.body, own_body, "layers have"))
    for theirs, ours, which in samples:
        if not samples_match(theirs, ours):
            raise HeadsError(
                f"the heads in {folder} belong to another model of the same shape: its {which} "
                "other weights; train heads for this one"
            )


def _name(depth: int) -> str:
    """Return the name of the matrix of a depth."""
    return f"depth.{depth}"
