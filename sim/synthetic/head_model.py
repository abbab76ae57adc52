"""The outputs of a model's heads as a distribution: a few rates instead of a recording.

Every head, at every output, has two standard normal scores. Its *ease* decides whether it is right,
and its *sureness*, which follows the ease, how confident it is. Both are correlated along the text
(an easy token follows an easy one) and across depths (deep heads are right where shallow ones are).
Each head's shares and confidences come out as given, whatever the correlations (a Gaussian copula).
Off the text, after a wrong draft, both scores just go on: heads of the demo model are, to 0.1 in
the mean of each domain, as confident after a wrong draft as on the text after such a place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.special import betaincinv, betaln, ndtr, ndtri

from adadecode.profiles.errors import InputError
from adadecode.profiles.trace import require_heads

SUREST = 1 - 1e-9
"""The largest confidence.

It is below 1, so that a head with a gamma between this and 1 is checked and never confident.
"""

_GRID = np.linspace(-6.0, 6.0, 2049)
"""Normal scores between which quantiles are linear. Beyond 6 lie two of 10^9 draws."""

_RARE = 1e-6
"""Share below which an event has no distribution of its own.

No text is long enough to show one, and differences of moments drown in rounding.
"""

_Array = NDArray[np.float64]


class SyntheticError(InputError):
    """Raised for a synthetic trace that cannot be.

    Rates lie outside 0..1, for instance, or their number does not fit the heads.
    """


class Beta(NamedTuple):
    """A Beta distribution of confidences."""

    a: float
    b: float

    @classmethod
    def of(cls, mean: float, concentration: float) -> Beta:
        """Make a distribution of its mean and its concentration.

        Args:
            mean: In (0, 1).
            concentration: How closely confidences lie about the mean: a + b, above 0.

        Raises:
            SyntheticError: If one of them is out of range.
        """
        if not 0 < mean < 1:
            raise SyntheticError(
                f"a mean confidence lies between 0 and 1, got {mean:g}: give one like 0.8"
            )
        if not 0 < concentration < math.inf:
            raise SyntheticError(
                f"a concentration is a number above 0, got {concentration:g}: 1 for either sure or "
                "not, 10 for much alike"
            )
        return cls(mean * concentration, (1 - mean) * concentration)

    @property
    def mean(self) -> float:
        """The mean confidence, in (0, 1)."""
        return self.a / (self.a + self.b)

    @property
    def concentration(self) -> float:
        """How closely confidences lie about the mean."""
        return self.a + self.b


@lru_cache(maxsize=256)
def _quantiles(beta: Beta) -> _Array:
    """Return the confidences at the scores of _GRID.

    They are kept: one model needs the same ones on the text and at every step off it, and they take
    milliseconds.
    """
    confidences: _Array = betaincinv(*beta, ndtr(_GRID))
    confidences.flags.writeable = False
    return confidences


LAST = Beta.of(0.9, 3.0)
"""Confidence of a last layer of which nothing is known: no verified design ever needs it."""

CORRELATIONS = ("along_text", "agreement_across", "confidence_across", "ease")


def calibrated(agreement: float, confidence: float, concentration: float) -> tuple[Beta, Beta]:
    """Return the confidences of a head where it is right, and where it is wrong.

    Confidences c are Beta with this mean and concentration, and the head is right with probability
    c^theta, with the theta that gives the agreement. Theta 1 (confidence = agreement) is a
    calibrated head; below 1, a head is right more often than it is confident. Where it is right,
    that is a Beta; where it is wrong, the Beta of the same mean and variance stands for it. Where
    a head is so overconfident that no theta fits, it is as confident when it is wrong as when it is
    right.

    Args:
        agreement: Share of outputs at which the head is right.
        confidence: Its mean confidence.
        concentration: How closely confidences lie about the mean.

    Raises:
        SyntheticError: If one of them is out of range.
    """
    whole = Beta.of(confidence, concentration)
    if not _RARE < agreement < 1 - _RARE:
        return whole, whole  # the one that next to never happens does not matter

    def moment(power: float) -> float:
        return float(
            np.exp(betaln(whole.a + power, whole.b) - betaln(whole.a, whole.b))
        )  # of c^power

    least, most = -25.0, 25.0  # logarithms of theta
    if not moment(math.exp(most)) < agreement < moment(math.exp(least)):
        return whole, whole
    theta = math.exp(brentq(lambda log: moment(math.exp(log)) - agreement, least, most))
    first, second = ((moment(k) - moment(k + theta)) / (1 - agreement) for k in (1, 2))
    spread = max(second - first**2, 1e-12)
    return Beta(whole.a + theta, whole.b), Beta.of(
        first, max(first * (1 - first) / spread - 1, 1e-3)
    )


def check_depths(n_layers: int, depths: Sequence[int]) -> None:
    """Check that these are depths of heads, one or more, in a model of ``n_layers`` layers.

    Raises:
        SyntheticError: If they are not.
    """
    if (
        list(depths) != sorted(set(depths))
        or not all(0 < depth < n_layers for depth in depths)
        or not depths
    ):
        raise SyntheticError(
            f"wanted rising depths of heads within 1..{n_layers - 1}, got {list(depths)}: list "
            "each once"
        )


def check_shares(agreement: Sequence[float]) -> None:
    """Check that these are agreements. Raises SyntheticError where one is out of range."""
    for share in agreement:
        if not 0 <= share <= 1:
            raise SyntheticError(
                f"an agreement is a share in 0..1, got {share:g}: 0.9 for nine outputs in ten"
            )


def check_qualities(gates: Sequence[float]) -> None:
    """Check that these are qualities of gates. Raises SyntheticError where one is out of range."""
    if wrong := [one for one in gates if not 0.5 <= one <= 1]:
        raise SyntheticError(
            f"the quality of a gate is a share in 0.5..1, got {wrong[0]:g}: 0.9 was measured, "
            "1 knows every good exit, 0.5 knows nothing"
        )


@dataclass(frozen=True, kw_only=True)
class HeadModel:
    """The distribution of the outputs of a model's heads.

    The correlations are in 0..1. Their defaults are what
    `adadecode.sim.synthetic.trace_fitting.fit_trace` finds on the demo model, the middle of its
    four domains.

    Attributes:
        n_layers: L, the layers of the model.
        depths: Depths of the heads, rising, in 1..L-1.
        agreement: By depth, the share of outputs at which the head's top-1 token is the last
            layer's.
        right: By depth, the confidence where it is.
        wrong: By depth, the confidence where it is not.
        last: The last layer's own confidence.
        gates: By depth, the quality of the head's gate (`adadecode.sim.synthetic.gate_model`);
            empty where heads have none.
        along_text: Correlation of the scores of one output and the next; below 1.
        agreement_across: Correlation of the ease of two heads a quarter of the stack apart; it is a
            power of the distance. With 1, and agreement that rises, a token is right from its
            earliest available depth on.
        confidence_across: The same of the sureness.
        ease: How far confidence follows the ease of the token.

    Raises:
        SyntheticError: If something is out of range, or does not fit the depths.
    """

    n_layers: int
    depths: tuple[int, ...]
    agreement: tuple[float, ...]
    right: tuple[Beta, ...]
    wrong: tuple[Beta, ...]
    last: Beta = LAST
    along_text: float = 0.15
    agreement_across: float = 0.9
    confidence_across: float = 0.98
    ease: float = 0.7
    gates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_depths(self.n_layers, self.depths)
        for name in ("agreement", "right", "wrong"):
            if len(values := getattr(self, name)) != len(self.depths):
                raise SyntheticError(
                    f"wanted {len(self.depths)} values of {name}, one for each of the depths "
                    f"{list(self.depths)}, got {len(values)}"
                )
        check_shares(self.agreement)
        self._check_gates()
        for name in CORRELATIONS:
            if not 0 <= (value := getattr(self, name)) <= 1 or (
                name == "along_text" and value == 1
            ):
                bound = " and below 1" if name == "along_text" else ""
                raise SyntheticError(
                    f"{name} is a correlation in 0..1{bound}, got {value:g}: try 0.15 or 0.7"
                )

    def _check_gates(self) -> None:
        if self.gates and len(self.gates) != len(self.depths):
            raise SyntheticError(
                f"wanted the quality of {len(self.depths)} gates, one for each of the depths "
                f"{list(self.depths)}, got {len(self.gates)}"
            )
        check_qualities(self.gates)

    @classmethod
    def of(
        cls,
        n_layers: int,
        depths: Sequence[int],
        agreement: Sequence[float],
        confidence: Sequence[float] | None = None,
        concentration: float | Sequence[float] = 3.0,
        correlations: Mapping[str, float] | None = None,
    ) -> HeadModel:
        """Make a model of agreements and mean confidences, by `calibrated`.

        Args:
            n_layers: Layers of the model.
            depths: Depths of the heads.
            agreement: By depth.
            confidence: Mean confidence by depth; by default heads are as confident as right.
            concentration: How closely confidences lie about the mean: one for all heads, or by
                depth.
            correlations: Of CORRELATIONS, by name.

        Raises:
            SyntheticError: If something is out of range, or does not fit the depths.
        """
        check_shares(agreement)
        means = tuple(
            np.clip(agreement, _RARE, 1 - _RARE).tolist() if confidence is None else confidence
        )
        spreads = (
            [concentration] * len(means)
            if isinstance(concentration, int | float)
            else list(concentration)
        )
        if not len(depths) == len(agreement) == len(means) == len(spreads):
            raise SyntheticError(
                "wanted an agreement, a confidence and a concentration for each of the depths "
                f"{list(depths)}, got {len(agreement)}, {len(means)} and {len(spreads)}: give as "
                "many of each"
            )
        pairs = [calibrated(*each) for each in zip(agreement, means, spreads, strict=True)]
        right, wrong = (tuple(pair[k] for pair in pairs) for k in (0, 1))
        given: dict[str, Any] = dict(correlations or {})
        return cls(
            n_layers=n_layers,
            depths=tuple(depths),
            agreement=tuple(agreement),
            right=right,
            wrong=wrong,
            **given,
        )

    def shifted(self, shift: float) -> HeadModel:
        """Return the model with every token easier by ``shift`` standard deviations of ease.

        All agreements move together.
        """
        return replace(
            self, agreement=tuple(float(ndtr(ndtri(share) + shift)) for share in self.agreement)
        )

    def only(self, depths: Sequence[int]) -> HeadModel:
        """Return the model with the heads at these depths. Raises DesignError without a head."""
        require_heads(depths, self.depths)
        kept = [place for place, depth in enumerate(self.depths) if depth in depths]
        values: dict[str, Any] = {
            name: tuple(by_depth[place] for place in kept)
            for name in ("depths", "agreement", "right", "wrong", "gates")
            if (by_depth := getattr(self, name))
        }
        return replace(self, **values)

    def with_gates(self, quality: Sequence[float]) -> HeadModel:
        """Return the model with gates of these qualities, one for all heads or one for each.

        Raises:
            SyntheticError: If they are out of range, or of another number.
        """
        return replace(self, gates=tuple(quality) * (len(self.depths) if len(quality) == 1 else 1))

    def to_dict(self) -> dict[str, Any]:
        """Return the model as JSON holds it; Betas as [a, b]; gates only where there are any."""
        parts = asdict(self)
        if not self.gates:
            del parts["gates"]
        return parts

    def outputs(self, ease: _Array, sureness: _Array) -> tuple[NDArray[np.bool_], _Array]:
        """Return which heads are right, and how confident they are.

        Args:
            ease: Scores, shape ``(..., heads + 1)``, the last layer's last.
            sureness: Scores of the same shape.

        Returns:
            Two arrays of that shape.
        """
        shares = np.array([*self.agreement, 1.0])
        right = ndtr(-ease) < shares  # a share of all tokens, the easiest ones
        right[..., -1] = True
        below = ndtr(ease)  # share of tokens that are harder
        with np.errstate(divide="ignore", invalid="ignore"):
            # The same share among the right ones or the wrong ones.
            rank = np.where(right, (below - (1 - shares)) / shares, below / (1 - shares))
        followed = ndtri(np.clip(rank, 1e-9, 1 - 1e-9))
        score = self.ease * followed + math.sqrt(1 - self.ease**2) * sureness
        confidence = np.empty(score.shape)
        for column, (sure, unsure) in enumerate(
            zip((*self.right, self.last), (*self.wrong, self.last), strict=True)
        ):
            of_right, of_wrong = (
                np.interp(score[..., column], _GRID, _quantiles(beta)) for beta in (sure, unsure)
            )
            confidence[..., column] = np.where(right[..., column], of_right, of_wrong)
        return right, np.clip(confidence, 0.0, SUREST)

    def across(self, noise: _Array) -> _Array:
        """Correlate scores across depths.

        Args:
            noise: Independent scores, ease and then sureness, shape ``(..., 2, heads + 1)``.
        """
        scores = noise.copy()
        gaps = np.diff((*self.depths, self.n_layers)) * 4 / self.n_layers
        for row, quarter in enumerate((self.agreement_across, self.confidence_across)):
            for column, gap in enumerate(gaps, start=1):
                kept = quarter**gap
                scores[..., row, column] = (
                    kept * scores[..., row, column - 1]
                    + math.sqrt(1 - kept**2) * noise[..., row, column]
                )
        return scores

    def along(self, scores: _Array) -> _Array:
        """Correlate scores along the text.

        Args:
            scores: Independent ones, shape ``(prompts, outputs, ...)``.
        """
        scores = scores.copy()
        fresh = math.sqrt(1 - self.along_text**2)
        scores[:, 1:] *= fresh
        followed: _Array = lfilter([1.0], [1.0, -self.along_text], scores, axis=1)
        return followed
