"""Checks of what a user makes exit heads of: a model, depths, matrices, tokens, a folder."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import SupportsIndex

import torch
from torch import nn
from transformers import PreTrainedModel

from adadecode.profiles.errors import HeadsError
from adadecode.profiles.token_ranking import TokenRanking


def check_model(model: PreTrainedModel | None) -> None:
    """Raise HeadsError for what is no model with an LM head."""
    if not isinstance(model, nn.Module) or not hasattr(model, "get_output_embeddings"):
        raise HeadsError(
            "wanted model as the causal LM of transformers that the heads belong to, got a "
            f"{type(model).__name__}: load it first"
        )
    if model.get_output_embeddings() is None:  # type: ignore[operator]
        raise HeadsError(
            f"wanted a model with an LM head, got a {type(model).__name__}, which has none: load "
            "it with AutoModelForCausalLM"
        )


def check_depths(depths: Iterable[int], n_layers: int) -> None:
    """Raise HeadsError where a depth is not one between the layers of a model."""
    if odd := [depth for depth in depths if not 1 <= depth < n_layers]:
        raise HeadsError(
            f"a head lies at a depth 1..{n_layers - 1} of this model, got {odd[0]}: choose one of "
            "these"
        )


def require_depths(wanted: Iterable[int], depths: Iterable[int]) -> None:
    """Raise HeadsError where a wanted depth is none of those at which there are heads."""
    there = list(depths)
    if missing := [depth for depth in wanted if depth not in there]:
        raise HeadsError(
            f"no head at depth {', '.join(map(str, missing))}: heads exist at {there}; train one "
            "with adadecode-train"
        )


def whole_depth(depth: SupportsIndex) -> int:
    """Return a depth as an int."""
    try:
        if not isinstance(depth, bool):
            return operator.index(depth)
    except TypeError:
        pass
    raise HeadsError(f"wanted the depth of a head as a whole number, got {depth!r}: give an int")


def checked_transforms(
    transforms: Mapping[int, torch.Tensor | None], n_layers: int, width: int
) -> dict[int, torch.Tensor | None]:
    """Return the matrices by depth, shallowest first.

    Args:
        transforms: By depth the matrix T; None for the identity.
        n_layers: Layers of the model.
        width: The width d of what its LM head takes.

    Raises:
        HeadsError: A depth or a matrix does not go with the model.
    """
    if not isinstance(transforms, Mapping):
        raise HeadsError(
            "wanted the matrices of heads by depth, {depth: matrix or None}, got a "
            f"{type(transforms).__name__}: give a dict"
        )
    matrices = {whole_depth(depth): matrix for depth, matrix in transforms.items()}
    check_depths(matrices, n_layers)
    for depth, matrix in matrices.items():
        if matrix is not None and not isinstance(matrix, torch.Tensor):
            raise HeadsError(
                f"wanted the head at depth {depth} as a tensor or None, got a "
                f"{type(matrix).__name__}: give a matrix ({width}, {width})"
            )
        if matrix is not None and tuple(matrix.shape) != (width, width):
            raise HeadsError(
                f"the head at depth {depth} is {tuple(matrix.shape)}, wanted ({width}, {width}): "
                "it belongs to another model"
            )
    return dict(sorted(matrices.items()))


def checked_tokens(frequent: Sequence[int], vocabulary: int) -> tuple[int, ...]:
    """Return token ids that are this model's, each once. Raises HeadsError for any others."""
    try:
        tokens = tuple(map(operator.index, frequent))
    except TypeError:
        tokens = (-1,)
    if len(set(tokens)) < len(tokens) or any(not 0 <= token < vocabulary for token in tokens):
        raise HeadsError(
            f"frequent tokens are ids 0..{vocabulary - 1} of this model, each once: they were "
            "counted with another tokenizer"
        )
    return tokens


def checked_shortlist(ranked: TokenRanking, size: int) -> tuple[int, ...]:
    """Return the most frequent tokens, by rising id. Raises HeadsError where those are all."""
    if size >= ranked.vocabulary:
        raise HeadsError(
            f"a shortlist of {size} tokens leaves out none of the {ranked.vocabulary} of this "
            "model: take fewer, or no shortlist"
        )
    return tuple(sorted(ranked.shortlist(size)))


def checked_folder(path: str | PathLike[str]) -> Path:
    """Return a folder as a path."""
    if not isinstance(path, (str, PathLike)):
        raise HeadsError(
            f"wanted the folder of heads as a path, got a {type(path).__name__}: give its name"
        )
    return Path(path)
