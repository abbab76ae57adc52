"""Where the matrices of exit heads start: the closed form, a ridge regression at each depth.

T is the matrix that takes the normed hidden states of a depth nearest to those of the last layer.
One pass over the positions adds up the products X'X and X'Y; a solve of d equations then gives T in
seconds. How strongly T is held to the identity, which a few positions need, is chosen on positions
that were left out of the sums, by how far the *logits* are off: a hidden state matters by what the
LM head makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from adadecode.engine.runtime.tensor_file import read_tensors, write_tensors
from adadecode.engine.training.continuation_store import Advance
from adadecode.engine.training.hidden_state_store import States
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.profiles.errors import InputError

START = "start.safetensors"

ROWS = 4096
"""Positions in a batch. A batch is multiplied in 32 bits, and added up in 64."""
LEFT_OUT = 8
"""One batch in so many is left out of the sums, for the choice of the ridge."""
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
"""Ridges to choose from, as shares of the mean square of a coordinate."""
SUMS_BYTES = 2**30
"""The sums of as many depths are added up in one pass as take this much, and of one at least."""
SOLVING = 9
"""Matrices of d x d in FP64 that a solve takes beside the sums, with the metric of the logits."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over positions, in FP64.

    Attributes:
        xx: X'X of a depth, (d, d).
        xy: X'Y of the depth with the last layer, (d, d).
    """

    xx: torch.Tensor
    xy: torch.Tensor

    @classmethod
    def none(cls, width: int, device: torch.device) -> Moments:
        """Return the sums over no positions."""
        xx, xy = torch.zeros(2, width, width, dtype=torch.float64, device=device)
        return cls(xx=xx, xy=xy)

    def __add__(self, other: Moments) -> Moments:
        return Moments(xx=self.xx + other.xx, xy=self.xy + other.xy)


def kept_closed_form(
    folder: Path,
    about: Mapping[str, str],
    depths: Sequence[int],
    states: States,
    vocabulary: Vocabulary,
    advance: Advance,
    *,
    run: Path,
) -> list[torch.Tensor]:
    """Return the closed form as an earlier call kept it, or find it and keep it.

    Args:
        folder: Where it is kept, in ``start.safetensors``.
        about: What tells the training from others.
        depths: Depths of the heads.
        states: The hidden states of all depths and of the last layer.
        vocabulary: The model's LM head.
        advance: Called once, when it is there.
        run: The folder of the training run, for messages.

    Raises:
        InputError: The states leave it undetermined, or it cannot be written.
    """
    path, width = folder / START, vocabulary.weight.shape[1]
    layouts = {str(depth): (torch.float32, (width, width)) for depth in depths}
    found = _read(path, layouts, about)
    if found is None:
        matrices = closed_form(states, vocabulary, run=run)
        found = {str(depth): one for depth, one in zip(depths, matrices, strict=True)}
        write_tensors(path, found, about)
    advance(1)
    return [found[str(depth)] for depth in depths]


def _read(
    path: Path, layouts: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], about: Mapping[str, str]
) -> dict[str, torch.Tensor] | None:
    """Return the matrices of a file where it is there, whole, and the one that is wanted."""
    if not path.exists():
        return None
    numbers = sum(math.prod(shape) for _, shape in layouts.values())
    try:
        found = read_tensors(path, "it is written again", numbers=numbers)
    except InputError:
        return None
    whole = found.claimed == found.digest() and found.about == about
    finite = all(bool(one.isfinite().all()) for one in found.tensors.values())
    return found.tensors if whole and finite and found.layouts() == layouts else None


def closed_form(
    states: States, vocabulary: Vocabulary, *, run: Path | None = None
) -> list[torch.Tensor]:
    """Return the matrix T (d, d) of each depth in FP32, on the device of the LM head.

    Args:
        states: The hidden states of all depths and of the last layer.
        vocabulary: The model's LM head.
        run: The folder of the training run, whose continuations another run can use.

    Raises:
        InputError: The states leave T undetermined.
    """
    metric = logit_metric(vocabulary)
    found: list[torch.Tensor] = []
    depths = next(iter(states.batches(ROWS))).shape[1] - 1
    for chosen in _groups(depths, len(metric)):
        sums = _moments(states, chosen, vocabulary.weight.device)
        while sums:  # what is solved makes room
            matrix = _solution(*sums.pop(0), metric)
            if matrix is None:
                elsewhere = f", with --out OTHER --reuse {run}" if run is not None else ""
                raise InputError(
                    f"wanted hidden states of about {len(metric)} positions or more, the width of "
                    f"the model, that determine the closed form, got {states.rows} that leave it "
                    "undetermined: train on more prompts, or with --start identity" + elsewhere
                )
            found.append(matrix)
    return found


def closed_form_bytes(width: int, depths: int) -> int:
    """Return the bytes that finding the closed form takes at most.

    Args:
        width: The width d of the model.
        depths: How many depths have a head.
    """
    together = len(_groups(depths, width)[0])
    square = width**2
    batch = 4 * ROWS * (together + 1) * width
    return 8 * square * (4 * together + SOLVING) + 4 * square * depths + batch


def _groups(depths: int, width: int) -> list[range]:
    """Return the numbers of the depths whose sums are added up in one pass over the positions."""
    size = max(1, SUMS_BYTES // (4 * 8 * width**2))
    return [range(start, min(start + size, depths)) for start in range(0, depths, size)]


def _solution(kept: Moments, rest: Moments, metric: torch.Tensor) -> torch.Tensor | None:
    """Return T (d, d) in FP32, with the ridge that is best on what was left out.

    It is None where the states leave T undetermined, whatever the ridge.

    Args:
        kept: The sums of most batches.
        rest: Those of the batches that were left out.
        metric: See `logit_metric`.
    """
    misses = {
        share: _miss(matrix, rest, metric)
        for share in RIDGES
        if (matrix := ridge_solution(kept, share)) is not None
    }
    for ridge in sorted(misses, key=lambda share: misses[share]):
        found = ridge_solution(kept + rest, ridge)
        if found is not None:
            return found.to(torch.float32)
    return None


def ridge_solution(moments: Moments, share: float) -> torch.Tensor | None:
    """Return the T (d, d) that minimises |X T' - Y|^2 + ridge |T - I|^2, in FP64.

    It is None where so small a ridge leaves T undetermined: where there are few positions, and sums
    in FP32 are off by more than the ridge.

    Args:
        moments: The sums over the positions.
        share: The ridge, as a share of the mean of X'X's diagonal.
    """
    eye = torch.eye(len(moments.xx), dtype=torch.float64, device=moments.xx.device)
    held = moments.xx + share * moments.xx.diagonal().mean() * eye
    factor, failed = torch.linalg.cholesky_ex(held)
    if failed:
        return None
    return eye + torch.cholesky_solve(moments.xy - moments.xx, factor).T


def logit_metric(vocabulary: Vocabulary) -> torch.Tensor:
    """Return E'E / V (d, d) in FP64, E the LM head's rows less their mean.

    A change of all logits by the same amount changes no distribution.
    """
    weight = vocabulary.weight
    total = torch.zeros(weight.shape[1], dtype=torch.float64, device=weight.device)
    square = torch.zeros(len(total), len(total), dtype=torch.float64, device=weight.device)
    for part in vocabulary.parts:
        rows = weight[part].float()
        total += rows.double().sum(0)
        square += (rows.T @ rows).double()
    mean = total / len(weight)
    return square / len(weight) - torch.outer(mean, mean)


def _miss(matrix: torch.Tensor, rest: Moments, metric: torch.Tensor) -> float:
    """Return the square error of the logits on positions left out, less what no T changes."""
    weighted = metric @ matrix
    return float((weighted * (matrix @ rest.xx)).sum() - 2 * (weighted * rest.xy.T).sum())


def _moments(states: States, chosen: range, device: torch.device) -> list[tuple[Moments, Moments]]:
    """Return for each of these depths the sums over most batches, and over those left out.

    Few positions make no batch that is left out; then both are the same.
    """
    sums: tuple[list[Moments], list[Moments]] = ([], [])
    size = min(ROWS, max(1, states.rows // LEFT_OUT))
    for number, batch in enumerate(states.batches(size)):
        final = batch[:, -1].to(device).float()
        into = sums[number % LEFT_OUT == LEFT_OUT - 1]
        if not into:
            into += [Moments.none(final.shape[1], device) for _ in chosen]
        rows = batch[:, chosen.start : chosen.stop].to(device).float()
        for one, x in zip(into, rows.unbind(1), strict=True):
            one.xx.add_(x.T @ x)
            one.xy.add_(x.T @ final)
    return list(zip(sums[0], sums[1] or sums[0], strict=True))
