"""The parameters of heads that a fit may change, as a vector of numbers that may take any value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr, ndtri

from adadecode.sim.synthetic.head_model import CORRELATIONS, HeadModel, SyntheticError

_Array = NDArray[np.float64]

CURVES = ("agreement", "confidence", "concentration")
"""Parameters by depth; the others are CORRELATIONS."""

FREE: Mapping[str, int] = {"agreement": 2, "confidence": 2, "concentration": 1}
"""What is fitted by default, and how many numbers of it."""

START: Mapping[str, tuple[float, float]] = {
    "agreement": (0.7, 0.95),
    "confidence": (0.5, 0.9),
    "concentration": (3.0, 3.0),
}
"""Where a fit begins, at the shallowest head and at the deepest: heads like those of the paper.

Correlations begin at their defaults.
"""

STEP = 0.1
"""Step of a derivative, in normal scores.

Replays are made of whole tokens, so that smaller steps would find no slope.
"""

_WIDE_STEP = 0.4
"""Step of a derivative by a correlation, on which rates depend less.

With steps of 0.1 one stayed where it began on 1,000 outputs.
"""

_BOUND = 4.0
"""How far a number may be from 0, in normal scores.

Shares stay within 3e-5 of 0 and 1; a concentration, whose logarithm it is, in 0.02..55.
"""


@dataclass(frozen=True, kw_only=True)
class FreeParameters:
    """Which numbers of a vector are which parameters.

    They are normal scores; of concentrations, logarithms.

    Attributes:
        n_layers: Layers of the model.
        depths: Depths of the heads.
        free: How many numbers are fitted, by name: of a curve 1 for all heads, 2 for one that is
            straight in the depth, or one for each head; of a correlation 1.
        fixed: Values of other parameters.
        begin: Where curves begin, at the shallowest head and at the deepest.

    Raises:
        SyntheticError: If something that cannot be fitted is free.
    """

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
                    f"cannot fit {count} numbers of {name!r}: known are {', '.join(known)}; 1 or 2 "
                    "of the first three or one for each head, 1 of the others"
                )
        if wrong := sorted(set(self.fixed) & set(self.free)):
            raise SyntheticError(f"{wrong[0]} is given and to be fitted: leave it out of one")
        if "agreement" not in {*self.free, *self.fixed}:
            raise SyntheticError("wanted the agreement by depth, or agreement among what is fitted")

    @property
    def count(self) -> int:
        """How many numbers are fitted."""
        return sum(self.free.values())

    def start(self) -> _Array:
        """Return the vector that a fit begins with."""
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
        """Return the step of a derivative for each number."""
        steps = [STEP if name in CURVES else _WIDE_STEP for name in self.free]
        return np.repeat(steps, list(self.free.values()))

    def model(self, vector: _Array) -> HeadModel:
        """Return the heads that a vector stands for."""
        values, at = dict(self.fixed), 0
        for name, count in self.free.items():
            part, at = vector[at : at + count], at + count
            along = np.interp(self.depths, self._anchors(name), part) if name in CURVES else part
            found = np.exp(along) if name == "concentration" else ndtr(along)
            values[name] = found.tolist() if name in CURVES else float(found[0])
        correlations = {name: values.pop(name) for name in CORRELATIONS if name in values}
        return HeadModel.of(self.n_layers, self.depths, **values, correlations=correlations)

    def _anchors(self, name: str) -> tuple[int, ...]:
        """Return the depths at which a curve is given."""
        count = self.free[name]
        if count == len(self.depths):
            return self.depths
        return (self.depths[0], self.depths[-1])[:count]


def _scores(name: str, values: _Array) -> _Array:
    scores: _Array = np.log(values) if name == "concentration" else ndtri(values)
    return scores


def least(residuals: Callable[[_Array], _Array], start: _Array, steps: _Array) -> _Array:
    """Return the vector at which the squares of the residuals of a replay are least.

    Args:
        residuals: Of a vector.
        start: Where to begin.
        steps: Of derivatives, wide enough for whole tokens.
    """

    def slopes(vector: _Array) -> _Array:
        here = residuals(vector)
        return np.stack(
            [(residuals(vector + step) - here) / step.sum() for step in np.diag(steps)], axis=1
        )

    begun = np.clip(start, -_BOUND, _BOUND)
    found: _Array = least_squares(
        residuals, begun, jac=slopes, bounds=(-_BOUND, _BOUND), xtol=1e-3, ftol=1e-4, max_nfev=40
    ).x
    return found
