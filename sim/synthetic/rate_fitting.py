"""The parameters of a synthetic trace, found from published rates by replaying it.

Plain least squares on the same random numbers throughout, so that a difference between two models is never luck.
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

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.synthetic.head_model import CORRELATIONS, HeadModel, SyntheticError, check_depths
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike, synthetic_trace

_Array = NDArray[np.float64]

CURVES = ("agreement", "confidence", "concentration")
"""Parameters by depth; the others are CORRELATIONS."""

FREE: Mapping[str, int] = {"agreement": 2, "confidence": 2, "concentration": 1}
"""What is fitted by default."""

START: Mapping[str, tuple[float, float]] = {
    "agreement": (0.7, 0.95),
    "confidence": (0.5, 0.9),
    "concentration": (3.0, 3.0),
}
"""Where a fit begins, at the shallowest head and at the deepest: heads like those of the paper. Correlations begin at their defaults."""

FOLLOWED = 2_000
"""Outputs whose wrong drafts are followed in a fit, twice as fast as all of them; rates move by 0.005 at most (Llama-3.1-8B in figure 5)."""

STEP = 0.1
"""Of a derivative, in normal scores: replays are made of whole tokens, so smaller ones would find no slope."""

_WIDE = 0.4
"""The same of a correlation, on which rates depend less: with steps of 0.1 one stayed where it began on 1,000 outputs."""

_FAR = 4.0
"""Of a number from 0, in normal scores: shares stay within 3e-5 of 0 and 1; a concentration, whose logarithm it is, in 0.02..55."""


class Target(NamedTuple):
    """What is wanted at one gamma; None where not known. early, rejected: in 0..1, drafts / tested and drafts discarded / drafts; speedup: over vanilla."""

    gamma: float
    early: float | None = None
    rejected: float | None = None
    speedup: float | None = None


@dataclass(frozen=True, kw_only=True)
class RateFit:
    """A model fitted to rates.

    rows: one for each figure that was wanted: gamma, what (early, rejected, speedup), asked, got, residual (got - asked; of a speedup, got / asked - 1),
    informative (whether any model could miss it). free: how many numbers were fitted, by name. That rates come out which were fitted says nothing for
    the model unless n_free is well below informative.
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
        """The largest residual of a rate, its magnitude; 0 where no rate was wanted."""
        return max(
            self.rows.loc[self.rows["what"] != "speedup", "residual"].abs().tolist(), default=0.0
        )

    def __str__(self) -> str:
        names = ", ".join(f"{name} ({count})" for name, count in self.free.items())
        return f"{self.n_free} numbers fitted to {self.informative} figures that could be missed: {names}; rates within {self.largest:.3f}"


def evaluated(
    trace: Trace,
    latency: LatencyTable,
    designs: Sequence[Design],
    prompts: Sequence[int] | None = None,
) -> pd.DataFrame:
    """A row for each design on these prompts (all, by default), as `adadecode.sim.prediction.evaluator.Evaluator.evaluate` has them. Raises DesignError, LatencyError."""
    device = DeviceLatencies(device="one", basis="measured", tables={"middle": latency})
    most = 1 + max(design.cap for design in designs)
    return Evaluator.of(
        CompiledReplay.of(trace), [device], prompts=prompts, max_tokens=most
    ).evaluate(designs)


def fit_rates(
    targets: Iterable[Target],
    *,
    n_layers: int,
    depths: Sequence[int],
    cap: int = DEFAULT_CAP,
    free: Mapping[str, int] = FREE,
    fixed: Mapping[str, Any] | None = None,
    start: Mapping[str, tuple[float, float]] | None = None,
    latency: LatencyTable | None = None,
    speedup_weight: float = 1.0,
    prompts: Sequence[SyntheticPrompt] | None = None,
    seed: int = 0,
) -> RateFit:
    """The heads at these depths whose replays come nearest to these rates.

    free: what is fitted, of CURVES (with 1 number for all heads, 2 for a curve that is straight in the depth as normal scores, or one for each head)
    and CORRELATIONS (1). fixed: values of others; their defaults where not given. start: where to begin, for some of CURVES. latency: for targets that are
    speedups; a relative error of one counts as speedup_weight of a rate. prompts: what is replayed at every step, 16 of 512 outputs by default.

    Raises SyntheticError for rates that no model has, and where more numbers are free than there are targets that could be missed.
    """
    check_depths(n_layers, depths)
    wanted = list(targets)
    rows = _rows(wanted, with_speedups=latency is not None)
    layout = _Layout(
        n_layers=n_layers,
        depths=tuple(depths),
        free=dict(free),
        fixed=dict(fixed or {}),
        begin={**START, **(start or {})},
    )
    count, informative = sum(free.values()), int(rows["informative"].sum())
    if count > informative:
        raise SyntheticError(
            f"{count} numbers ({', '.join(free)}) cannot be fitted to {informative} figures that could be missed: "
            "give rates at more gammas, or say some of these instead"
        )
    texts = prompts or alike(16)
    longest = max(one.n_prompt + one.n_output for one in texts)
    table = latency or uniform_latencies(
        n_layers, depths, head=1.0, max_tokens=cap + 1, max_context=longest
    )  # rates do not depend on it
    designs = [Design.of(gamma=one.gamma, placement=depths, cap=cap) for one in wanted]
    columns = {"early": "early_rate", "rejected": "reject_rate", "speedup": "speedup"}
    places = [(rows["gamma"].iloc[k], columns[rows["what"].iloc[k]]) for k in range(len(rows))]
    asked, relative = rows["asked"].to_numpy(), (rows["what"] == "speedup").to_numpy()

    def got(x: _Array) -> _Array:
        trace = synthetic_trace(
            {texts[0].domain: layout.model(x)}, texts, seed=seed, followed=FOLLOWED, cap=cap
        )
        measured = evaluated(trace, table, designs).set_index(
            pd.Index([one.gamma for one in wanted])
        )
        return np.array([measured.loc[gamma, column] for gamma, column in places], dtype=np.float64)

    def residuals(figures: _Array) -> _Array:
        missed: _Array = (figures - asked) / np.where(relative, asked, 1.0)
        return missed

    weights = np.where(relative, speedup_weight, 1.0)
    x = (
        least(lambda x: weights * residuals(got(x)), layout.start(), layout.steps())
        if count
        else layout.start()
    )
    found = got(x)
    told = rows.assign(got=found, residual=residuals(found))
    return RateFit(
        model=layout.model(x),
        rows=told[["gamma", "what", "asked", "got", "residual", "informative"]],
        free=dict(free),
    )


def _rows(targets: Sequence[Target], *, with_speedups: bool) -> pd.DataFrame:
    rows = []
    for one in targets:
        if not 0 <= one.gamma <= 1:
            raise SyntheticError(f"gamma is a probability in 0..1, got {one.gamma:g}")
        for what, share in (("early", one.early), ("rejected", one.rejected)):
            if share is None:
                continue
            if not 0 <= share <= 1:
                raise SyntheticError(
                    f"a rate is a share in 0..1, got {share:g} ({what} at gamma {one.gamma:g}): 0.24 for 24 %"
                )
            rows.append(
                (one.gamma, what, share, one.gamma < 1 and (one.gamma > 0 or what == "rejected"))
            )
        if one.speedup is not None:
            if not (with_speedups and one.speedup > 0):
                raise SyntheticError(
                    f"a speedup is above 0 and needs latencies to be fitted to, got {one.speedup:g}: give them, or leave it out"
                )
            rows.append((one.gamma, "speedup", one.speedup, one.gamma < 1))
    if len({one.gamma for one in targets}) < len(targets):
        raise SyntheticError("wanted each gamma once among the rates, got one twice")
    if not rows:
        raise SyntheticError(
            "wanted a rate or more to fit heads to, got none: give one like 0.24 at gamma 0.6"
        )
    return pd.DataFrame(rows, columns=["gamma", "what", "asked", "informative"])


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which numbers of a vector are which parameters: in normal scores, concentrations as their logarithms."""

    n_layers: int
    depths: tuple[int, ...]
    free: Mapping[str, int]
    fixed: Mapping[str, Any]
    begin: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        counts = (1, min(2, len(self.depths)), len(self.depths))
        known = {**dict.fromkeys(CURVES, counts), **dict.fromkeys(CORRELATIONS, (1,))}
        for name, count in self.free.items():
            if count not in known.get(name, ()):
                raise SyntheticError(
                    f"cannot fit {count} numbers of {name!r}: known are {', '.join(known)}; 1 or 2 of the first three or one for each head, 1 of the others"
                )
        if wrong := sorted(set(self.fixed) & set(self.free)):
            raise SyntheticError(f"{wrong[0]} is given and to be fitted: leave it out of one")
        if "agreement" not in {*self.free, *self.fixed}:
            raise SyntheticError("wanted the agreement by depth, or agreement among what is fitted")

    def start(self) -> _Array:
        parts: list[_Array] = []
        for name in self.free:
            if name in CURVES:
                ends = _scores(name, np.array(self.begin[name]))
                parts.append(
                    np.interp(self._anchors(name), (self.depths[0], self.depths[-1]), ends)
                )
            else:
                parts.append(_scores(name, np.array([getattr(HeadModel, name)])))
        return np.concatenate(parts) if parts else np.empty(0)

    def steps(self) -> _Array:
        """Of a derivative."""
        return np.repeat(
            [STEP if name in CURVES else _WIDE for name in self.free], list(self.free.values())
        )

    def model(self, x: _Array) -> HeadModel:
        values, at = dict(self.fixed), 0
        for name, count in self.free.items():
            part, at = x[at : at + count], at + count
            along = np.interp(self.depths, self._anchors(name), part) if name in CURVES else part
            found = np.exp(along) if name == "concentration" else ndtr(along)
            values[name] = found.tolist() if name in CURVES else float(found[0])
        correlations = {name: values.pop(name) for name in CORRELATIONS if name in values}
        return HeadModel.of(self.n_layers, self.depths, **values, correlations=correlations)

    def _anchors(self, name: str) -> tuple[int, ...]:
        """Depths at which a curve is told."""
        count = self.free[name]
        return (
            self.depths if count == len(self.depths) else (self.depths[0], self.depths[-1])[:count]
        )


def _scores(name: str, values: _Array) -> _Array:
    scores: _Array = np.log(values) if name == "concentration" else ndtri(values)
    return scores


def least(residuals: Callable[[_Array], _Array], start: _Array, steps: _Array) -> _Array:
    """Where the squares of residuals of a replay are least, with slopes over steps wide enough for whole tokens. Numbers stay within _FAR."""

    def slopes(x: _Array) -> _Array:
        here = residuals(x)
        return np.stack(
            [(residuals(x + step) - here) / step.sum() for step in np.diag(steps)], axis=1
        )

    begun = np.clip(start, -_FAR, _FAR)
    found: _Array = least_squares(
        residuals, begun, jac=slopes, bounds=(-_FAR, _FAR), xtol=1e-3, ftol=1e-4, max_nfev=40
    ).x
    return found
