"""The parameters of a synthetic trace: found from published rates by replaying it, or taken from a recorded trace.

Both are plain least squares on the same random numbers throughout, so that a difference between two models is never luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from profiles.trace import Trace
from sim.compiled import CompiledReplay
from sim.design import DEFAULT_CAP, Design
from sim.head_model import CORRELATIONS, Beta, HeadModel, SyntheticError, calibrated
from sim.synthetic import Prompt, alike, synthetic_trace

_Array = NDArray[np.float64]

CURVES = ("agreement", "confidence")
"""Parameters by depth: when free, two numbers each, straight in the depth as normal scores."""

START: dict[str, Any] = {"agreement": (0.7, 0.95), "confidence": (0.5, 0.9), "concentration": 3.0}
"""Where a fit begins, at the shallowest head and at the deepest: heads like those of the paper. Correlations begin at their defaults."""

_STEP = 0.05
"""Of a derivative, in normal scores: replays are made of whole tokens, so smaller ones would find no slope."""

_FOLLOWED = 2_000
"""Outputs whose wrong drafts are followed in a fit, ten times as fast as all of them; rates move by 0.006 at most (Llama-3.1-8B in figure 5)."""

_FEW = 10
"""So few wrong (or right) outputs say nothing about how confident a head was: `calibrated` says it."""


class Target(NamedTuple):
    """Rates in 0..1 at one gamma, as `Prediction` has them: drafts / tested, and drafts discarded / drafts; None where not known."""

    gamma: float
    early: float | None = None
    rejected: float | None = None


@dataclass(frozen=True, kw_only=True)
class RateFit:
    """A model fitted to rates.

    rows: one for each target: gamma, what (early, rejected), asked, got, residual (got - asked), informative (whether any model could miss it).
    free: numbers that were fitted, by name. The rates that were fitted are no evidence for the model where free is not much less than informative.
    """

    model: HeadModel
    rows: pd.DataFrame
    free: Mapping[str, int]

    @property
    def n_free(self) -> int:
        """Numbers that were fitted."""
        return sum(self.free.values())

    @property
    def informative(self) -> int:
        """Targets that could have been missed."""
        return int(self.rows["informative"].sum())

    @property
    def largest(self) -> float:
        """The largest residual's magnitude."""
        return float(self.rows["residual"].abs().max())

    def __str__(self) -> str:
        names = ", ".join(f"{name} ({count})" for name, count in self.free.items())
        return (
            f"{self.n_free} numbers fitted to {self.informative} rates that could be missed: {names}; largest residual {self.largest:.3f}"
        )


def measured_rates(trace: Trace, designs: Sequence[Design]) -> pd.DataFrame:
    """What designs would do on a trace: gamma (of the shallowest head), early, rejected; a row each. Raises DesignError."""
    work = CompiledReplay.of(trace).count(designs)
    drafts, accepted = (work.drafted[:, row].sum(axis=1) for row in (0, 1))
    columns = {
        "gamma": [design.gammas[0] for design in designs],
        "early": drafts / np.maximum(work.tally("tested"), 1),
        "rejected": (drafts - accepted) / np.maximum(drafts, 1),
    }
    return pd.DataFrame(columns)


def fit_rates(
    targets: Iterable[Target],
    *,
    n_layers: int,
    depths: Sequence[int],
    cap: int = DEFAULT_CAP,
    free: Sequence[str] = (*CURVES, "concentration"),
    fixed: Mapping[str, Any] | None = None,
    prompts: Sequence[Prompt] | None = None,
    seed: int = 0,
) -> RateFit:
    """The heads at these depths whose replays come nearest to these rates.

    free: what is fitted, of agreement, confidence, concentration and the correlations. fixed: values of others; their defaults where not given. prompts:
    what is replayed at every step, 16 of 512 outputs by default. Raises SyntheticError for rates that no model has, and where more numbers are free than
    there are targets that could be missed.
    """
    wanted = [one for one in targets if one.early is not None or one.rejected is not None]
    rows = _rows(wanted)
    sizes = {name: min(2, len(depths)) if name in CURVES else 1 for name in free}
    if unknown := sorted(set(free) - {*CURVES, "concentration", *CORRELATIONS}):
        raise SyntheticError(f"no parameter {unknown[0]!r}: known are {', '.join((*CURVES, 'concentration', *CORRELATIONS))}")
    if sum(sizes.values()) > rows["informative"].sum():
        raise SyntheticError(
            f"{sum(sizes.values())} numbers ({', '.join(free)}) cannot be fitted to {rows['informative'].sum()} rates that could be missed: "
            "give rates at more gammas, or say some of these instead"
        )
    texts = prompts or alike(16)
    designs = [Design.of(gamma=one.gamma, placement=depths, cap=cap) for one in wanted]
    layout = _Layout(n_layers=n_layers, depths=tuple(depths), sizes=sizes, fixed=dict(fixed or {}))

    def got(x: _Array) -> _Array:
        trace = synthetic_trace({texts[0].domain: layout.model(x)}, texts, seed=seed, followed=_FOLLOWED)
        measured = measured_rates(trace, designs).set_index("gamma")
        return np.array([measured.loc[gamma, what] for gamma, what in zip(rows["gamma"], rows["what"], strict=True)], dtype=np.float64)

    x = _solve(lambda x: got(x) - rows["asked"].to_numpy(), layout.start())
    found = got(x)
    told = rows.assign(got=found, residual=found - rows["asked"])
    return RateFit(model=layout.model(x), rows=told[["gamma", "what", "asked", "got", "residual", "informative"]], free=sizes)


def _rows(targets: Sequence[Target]) -> pd.DataFrame:
    rows = []
    for one in targets:
        if not 0 <= one.gamma <= 1:
            raise SyntheticError(f"gamma is a probability in 0..1, got {one.gamma:g}")
        for what, share in (("early", one.early), ("rejected", one.rejected)):
            if share is None:
                continue
            if not 0 <= share <= 1:
                raise SyntheticError(f"a rate is a share in 0..1, got {share:g} ({what} at gamma {one.gamma:g}): 0.24 for 24 %")
            rows.append((one.gamma, what, share, one.gamma < 1 and (one.gamma > 0 or what == "rejected")))
    if len({one.gamma for one in targets}) < len(targets):
        raise SyntheticError("wanted each gamma once among the rates, got one twice")
    return pd.DataFrame(rows, columns=["gamma", "what", "asked", "informative"])


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which numbers of a vector are which parameters; in normal scores, the concentration as its logarithm."""

    n_layers: int
    depths: tuple[int, ...]
    sizes: Mapping[str, int]
    fixed: Mapping[str, Any]

    def start(self) -> _Array:
        parts: list[float] = []
        for name, size in self.sizes.items():
            if name == "concentration":
                parts.append(float(np.log(START[name])))
            else:
                begin = START[name][:size] if name in START else (getattr(HeadModel, name),)
                parts += ndtri(np.array(begin)).tolist()
        return np.array(parts)

    def model(self, x: _Array) -> HeadModel:
        values: dict[str, Any] = dict(self.fixed)
        at = 0
        for name, size in self.sizes.items():
            part, at = x[at : at + size], at + size
            if name in CURVES:
                values[name] = ndtr(np.interp(self.depths, (self.depths[0], self.depths[-1]), (part[0], part[-1]))).tolist()
            else:
                values[name] = float(np.exp(part[0]) if name == "concentration" else ndtr(part[0]))
        if "agreement" not in values:
            raise SyntheticError("wanted the agreement by depth, or agreement among what is free")
        correlations = {name: values.pop(name) for name in CORRELATIONS if name in values}
        return HeadModel.of(self.n_layers, self.depths, **values, correlations=correlations)


def _solve(residuals: Callable[[_Array], _Array], start: _Array) -> _Array:
    """Least squares, with steps wide enough for replays of whole tokens."""

    def slopes(x: _Array) -> _Array:
        here = residuals(x)
        return np.stack([(residuals(x + _STEP * unit) - here) / _STEP for unit in np.eye(len(x))], axis=1)

    found: _Array = least_squares(residuals, start, jac=slopes, bounds=(-4.0, 4.0), xtol=1e-3, ftol=1e-4, max_nfev=40).x
    return found


def fit_trace(trace: Trace, prompts: Sequence[int] | None = None, *, seed: int = 0) -> HeadModel:
    """The parameters of a recorded trace (of these prompts; all, by default).

    Agreements and Betas are those of each head by itself, the latter by mean and variance. The four correlations are those with which scores drawn anew
    show the same correlations as the trace, of agreements and confidences, along the text and between heads. Raises SyntheticError where there is too little text.
    """
    chosen = trace.prompts if prompts is None else tuple(prompts)
    lengths = np.array([trace.n_output(prompt) - 1 for prompt in chosen])
    if lengths.sum() < 30:
        raise SyntheticError(f"wanted 30 outputs or more to fit heads to, got {lengths.sum()}: record longer outputs or more prompts")
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
        got, _ = _moments(*guess.said(scores[:, 0], scores[:, 1]), again)
        return np.nan_to_num(weight * (got - wanted))

    start = ndtri(np.array([getattr(HeadModel, name) for name in CORRELATIONS]))
    return model(_solve(missed, start))


def _betas(right: NDArray[np.bool_], confidence: _Array) -> tuple[Beta, Beta]:
    """Of one head: confidence where it is right, and where it is wrong."""
    whole = _beta(confidence)
    share = float(np.clip(right.mean(), 0.5 / len(right), 1 - 0.5 / len(right)))
    rough = calibrated(share, whole.mean, whole.concentration)
    of_right, of_wrong = (rough[k] if which.sum() < _FEW else _beta(confidence[which]) for k, which in enumerate((right, ~right)))
    return of_right, of_wrong


def _beta(confidence: _Array) -> Beta:
    """By mean and variance."""
    mean = float(np.clip(confidence.mean(), 1e-6, 1 - 1e-6))
    return Beta.of(mean, max(mean * (1 - mean) / max(float(confidence.var()), 1e-9) - 1, 1e-3))


def _moments(right: NDArray[np.bool_], confidence: _Array, follows: NDArray[np.bool_]) -> tuple[_Array, _Array]:
    """Correlations that a trace shows, and the weight of each: in all, the four kinds weigh the same.

    right, confidence: [outputs, heads + 1]; follows: whether an output follows the one before it in the same text.
    """
    heads = right.shape[1] - 1
    agrees = right[:, :heads].astype(np.float64)
    scores = ndtri((rankdata(confidence[:, :heads], axis=0) - 0.5) / len(confidence))
    later = np.flatnonzero(follows)
    both = _correlations(np.concatenate([agrees, scores], axis=1), np.concatenate([agrees, scores], axis=1))
    along = _correlations(np.concatenate([agrees, scores], axis=1)[later - 1], np.concatenate([agrees, scores], axis=1)[later])
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
    """[columns, columns] between the columns of two tables; NaN where one never changes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = [(x - x.mean(axis=0)) / np.where(x.std(axis=0) > 1e-12, x.std(axis=0), np.nan) for x in (one, other)]
    result: _Array = standard[0].T @ standard[1] / len(one)
    return result
