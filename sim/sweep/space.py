"""The space of designs that a sweep goes through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from adadecode.profiles.errors import DesignError
from adadecode.profiles.trace import require_heads
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.sweep.head_forms import in_forms

GAMMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Closer together where heads are sure: what they say between 0.9 and 1 differs more than between 0.1 and 0.2."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Every combination of these.

    depths: of the heads to choose from. gammas: thresholds, one for all heads of a design. slopes: how much surer a
    shallow head must be than a deep one, 0 for not at all, see `schedule`. max_heads: largest placement. forms: of the heads, where there are
    several to choose from. The policies fixed (one head, no gamma), oracle (no gamma) and vanilla (neither) take what means something to them.
    Raises DesignError.
    """

    n_layers: int
    depths: tuple[int, ...]
    policies: tuple[Policy, ...] = (Policy.ADADECODE,)
    gammas: tuple[float, ...] = GAMMAS
    slopes: tuple[float, ...] = (0.0,)
    caps: tuple[int, ...] = (DEFAULT_CAP,)
    max_heads: int = 3
    forms: tuple[HeadForm, ...] = ()

    def __post_init__(self) -> None:
        for name in ("depths", "policies", "gammas", "slopes", "caps"):
            if not getattr(self, name) and (
                name != "depths" or set(self.policies) - {Policy.VANILLA}
            ):
                raise DesignError(f"wanted one or more {name} to go through, got none")
        if self.max_heads < 1:
            raise DesignError(f"wanted placements of 1 head or more, got at most {self.max_heads}")
        if strange := [slope for slope in self.slopes if not (math.isfinite(slope) and slope >= 0)]:
            raise DesignError(
                f"a slope is 0 or more, got {strange[0]}: 0 asks every head for the same confidence"
            )
        for gamma in self.gammas:
            for cap in self.caps:
                Design.of(gamma=gamma, cap=cap)

    @classmethod
    def among(
        cls,
        trained: Sequence[int],
        n_layers: int,
        *,
        depths: Sequence[int] | None = None,
        **given: Any,
    ) -> Space:
        """Of the trained heads, all or those at ``depths``. Raises DesignError for one that was not trained."""
        chosen = tuple(sorted(set(trained if depths is None else depths)))
        require_heads(chosen, trained)
        return cls(n_layers=n_layers, depths=chosen, **given)

    @property
    def most(self) -> int:
        """Heads of the largest placement."""
        return min(self.max_heads, len(self.depths))

    @property
    def size(self) -> int:
        """How many designs there are; where a schedule asks for nothing new, a design may be there twice."""
        placements = sum(math.comb(len(self.depths), heads) for heads in range(1, self.most + 1))
        counts = {
            Policy.VANILLA: 1,
            Policy.FIXED: len(self.depths) * len(self.caps),
            Policy.ORACLE: placements * len(self.caps),
            Policy.ADADECODE: placements * len(self.caps) * len(self.gammas) * len(self.slopes),
        }
        forms = max(1, len(self.forms))
        return sum(
            counts[policy] * (1 if policy is Policy.VANILLA else forms) for policy in self.policies
        )

    @property
    def placements(self) -> Iterator[tuple[int, ...]]:
        """Every placement, small ones first."""
        for heads in range(1, self.most + 1):
            yield from combinations(self.depths, heads)

    def designs(self) -> Iterator[Design]:
        """All of them, in an order that never changes."""
        for design in self._bare():
            yield from in_forms(design, self.forms)

    def _bare(self) -> Iterator[Design]:
        """Whatever the form of their heads."""
        for policy in self.policies:
            if policy is Policy.VANILLA:
                yield Design(policy=policy)
            elif policy is Policy.FIXED:
                yield from (
                    Design.of(policy, placement=(depth,), cap=cap)
                    for depth in self.depths
                    for cap in self.caps
                )
            elif policy is Policy.ORACLE:
                yield from (
                    Design.of(policy, placement=placement, cap=cap)
                    for placement in self.placements
                    for cap in self.caps
                )
            else:
                for placement in self.placements:
                    for cap in self.caps:
                        for slope in self.slopes:
                            for gamma in self.gammas:
                                yield Design.of(
                                    policy,
                                    placement=placement,
                                    gamma=schedule(gamma, slope, placement, self.n_layers),
                                    cap=cap,
                                )

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without forms where there are none to choose from."""
        told = {**asdict(self), "policies": list(map(str, self.policies)), "designs": self.size}
        del told["forms"]
        return {**told, "forms": [form.label for form in self.forms]} if self.forms else told


def schedule(
    gamma: float, slope: float, placement: Sequence[int], n_layers: int
) -> tuple[float, ...]:
    """One threshold per head: 1 - (1 - gamma) / (1 + slope (1 - d/L)).

    SpecBound (arXiv 2604.12247) divides the logits of shallow heads by 1 + a (1 - d/L), so that the shallower a head is, the surer it must be. A trace holds
    probabilities; here the doubt that is left, 1 - gamma, is divided instead.
    """
    return tuple(
        1 - (1 - gamma) / (1 + slope * (1 - depth / n_layers)) if slope else gamma
        for depth in placement
    )
