"""The parameters of a synthetic trace, taken from a recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from adadecode.profiles.trace import Trace
from adadecode.sim.synthetic.free_parameters import STEP, least
from adadecode.sim.synthetic.gate_model import good_exits, quality_of
from adadecode.sim.synthetic.head_model import (
    CORRELATIONS,
    Beta,
    HeadModel,
    SyntheticError,
    calibrated,
)

_Array = NDArray[np.float64]

_FEW = 10
"""Fewer wrong (or right) outputs do not show how confident a head was.

`calibrated` gives it then.
"""


def fit_trace(trace: Trace, prompts: Sequence[int] | None = None, *, seed: int = 0) -> HeadModel:
    """Fit the parameters of a model of heads to a recorded trace.

    Agreements and Betas are those of each head by itself, the latter by mean and variance. The four
    correlations are those with which scores drawn anew show the same correlations as the trace: of
    a head's confidence along the text, and between heads of agreement, of confidence, and of one
    with the other. A correlation below 0 becomes 0.

    Args:
        trace: The recorded text.
        prompts: Which prompts to fit to; by default all.
        seed: Of the draws.

    Raises:
        SyntheticError: If there is too little text.
    """
    chosen = trace.prompts if prompts is None else tuple(prompts)
    lengths = np.array([trace.n_output(prompt) - 1 for prompt in chosen])
    if lengths.sum() < 30:
        raise SyntheticError(
            f"wanted 30 outputs or more to fit heads to, got {lengths.sum()}: record longer "
            "outputs or more prompts"
        )
    token = np.concatenate([trace.tokens(prompt)[1:] for prompt in chosen])
    confidence = np.concatenate([trace.confidences(prompt)[1:] for prompt in chosen])
    right = token == token[:, -1:]
    agreement = right[:, :-1].mean(axis=0)
    pairs = [_betas(right[:, k], confidence[:, k]) for k in range(len(trace.depths))]
    margins: dict[str, Any] = {
        "n_layers": trace.n_layers,
        "depths": trace.depths,
        "agreement": tuple(agreement.tolist()),
        "right": tuple(pair[0] for pair in pairs),
        "wrong": tuple(pair[1] for pair in pairs),
        "last": _beta(confidence[:, -1]),
    }
    if trace.has_gates:
        score = np.concatenate([trace.gates(prompt)[1:] for prompt in chosen])
        good = good_exits(right, confidence)
        margins["gates"] = tuple(
            max(0.5, quality_of(score[:, k], good[:, k])) for k in range(len(trace.depths))
        )
    follows = np.ones(len(token), dtype=np.bool_)
    follows[np.cumsum(lengths)[:-1][lengths[1:] > 0]] = False
    follows[0] = False
    wanted, weight = _moments(right, confidence, follows)
    noise = np.random.default_rng(seed).standard_normal((16, 512, 2, len(trace.depths) + 1))
    again = np.ones(16 * 512, dtype=np.bool_)
    again[::512] = False

    def model(x: _Array) -> HeadModel:
        return HeadModel(**margins, **dict(zip(CORRELATIONS, ndtr(x).tolist(), strict=True)))

    def missed(x: _Array) -> _Array:
        guess = model(x)
        scores = guess.along(guess.across(noise)).reshape(-1, *noise.shape[2:])
        got, _ = _moments(*guess.outputs(scores[:, 0], scores[:, 1]), again)
        return np.nan_to_num(weight * (got - wanted))

    start = ndtri(np.array([getattr(HeadModel, name) for name in CORRELATIONS]))
    return model(least(missed, start, np.full(len(start), STEP)))


def _betas(right: NDArray[np.bool_], confidence: _Array) -> tuple[Beta, Beta]:
    """Return the confidence of one head where it is right, and where it is wrong."""
    whole = _beta(confidence)
    share = float(np.clip(right.mean(), 0.5 / len(right), 1 - 0.5 / len(right)))
    rough = calibrated(share, whole.mean, whole.concentration)
    of_right, of_wrong = (
        rough[k] if which.sum() < _FEW else _beta(confidence[which])
        for k, which in enumerate((right, ~right))
    )
    return of_right, of_wrong


def _beta(confidence: _Array) -> Beta:
    """Return the Beta of the same mean and variance."""
    mean = float(np.clip(confidence.mean(), 1e-6, 1 - 1e-6))
    return Beta.of(mean, max(mean * (1 - mean) / max(float(confidence.var()), 1e-9) - 1, 1e-3))


def _moments(
    right: NDArray[np.bool_], confidence: _Array, follows: NDArray[np.bool_]
) -> tuple[_Array, _Array]:
    """Return the correlations that a trace shows, and the weight of each.

    Each of the four kinds of correlation has the same weight in all.

    Args:
        right: Whether heads are right, shape ``(outputs, heads + 1)``.
        confidence: Of the same shape.
        follows: Whether an output follows the one before it in the same text.
    """
    heads = right.shape[1] - 1
    agrees = right[:, :heads].astype(np.float64)
    scores = ndtri((rankdata(confidence[:, :heads], axis=0) - 0.5) / len(confidence))
    later = np.flatnonzero(follows)
    both = _correlations(
        np.concatenate([agrees, scores], axis=1), np.concatenate([agrees, scores], axis=1)
    )
    along = _correlations(
        np.concatenate([agrees, scores], axis=1)[later - 1],
        np.concatenate([agrees, scores], axis=1)[later],
    )
    upper = np.triu_indices(heads, 1)
    kinds = [
        np.diag(along)[heads:],
        both[:heads, :heads][upper],
        both[heads:, heads:][upper],
        both[:heads, heads:].ravel(),  # a head right, another (or itself) confident
    ]
    values = np.concatenate(kinds)
    weights = np.concatenate([np.full(len(kind), 1 / np.sqrt(max(len(kind), 1))) for kind in kinds])
    return values, np.where(np.isnan(values), 0.0, weights)


def _correlations(one: _Array, other: _Array) -> _Array:
    """Return the correlations between the columns of two tables, shape ``(columns, columns)``.

    They are NaN where a column never changes.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = [
            (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 1e-12, x.std(axis=0), np.nan)
            for x in (one, other)
        ]
    result: _Array = standard[0].T @ standard[1] / len(one)
    return result
