"""The space of designs that a sweep goes through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from adadecode.profiles.errors import DesignError
from adadecode.profiles.trace import require_heads
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.sweep.head_forms import in_forms

GAMMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Thresholds to try, closer together where heads are confident.

Outputs of heads differ more between 0.9 and 1 than between 0.1 and 0.2.
"""


NO_GATES = (0.0,)
"""The thresholds of gates where none is asked."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Every combination of depths, thresholds, schedules, caps and policies.

    The policies fixed (one head, no gamma), oracle (no gamma) and vanilla (neither) take what means
    something to them. A space without ``n_layers`` is not bound to a model yet: a sweep binds it to
    the heads of its text.

    Attributes:
        n_layers: Layers of the model; 0 before the space is bound.
        depths: Depths of the heads to choose from; before the space is bound, none stands for all
            trained ones.
        policies: Decoding policies.
        gammas: Thresholds, each the same for all heads of a design.
        slopes: How much more confident shallow heads must be than deep ones, 0 for not at all; see
            `schedule`.
        gates: Thresholds of gates, each the same for all heads of a design; 0 asks none.
        caps: Most drafts in a round.
        max_heads: Heads of the largest placement.
        forms: Forms of the heads, where there are several to choose from.

    Raises:
        DesignError: If there is nothing to choose from, or something that no design can have.
    """

    n_layers: int = 0
    depths: tuple[int, ...] = ()
    policies: tuple[Policy, ...] = (Policy.ADADECODE,)
    gammas: tuple[float, ...] = GAMMAS
    slopes: tuple[float, ...] = (0.0,)
    caps: tuple[int, ...] = (DEFAULT_CAP,)
    max_heads: int = 3
    forms: tuple[HeadForm, ...] = ()
    gates: tuple[float, ...] = NO_GATES

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", tuple(map(Policy.named, self.policies)))
        optional = set()
        if not self.is_bound or not set(self.policies) - {Policy.VANILLA}:
            optional.add("depths")
        for name in ("depths", "policies", "gammas", "slopes", "gates", "caps"):
            if not getattr(self, name) and name not in optional:
                raise DesignError(f"wanted one or more {name} to go through, got none")
        if self.max_heads < 1:
            raise DesignError(f"wanted placements of 1 head or more, got at most {self.max_heads}")
        if wrong := [slope for slope in self.slopes if not (math.isfinite(slope) and slope >= 0)]:
            raise DesignError(
                f"a slope is 0 or more, got {wrong[0]}: 0 asks every head for the same confidence"
            )
        for gamma in self.gammas:
            for cap in self.caps:
                Design.of(gamma=gamma, cap=cap)
        for gate in self.gates:
            Design.of(gate=gate)

    @classmethod
    def among(
        cls,
        trained: Sequence[int],
        n_layers: int,
        *,
        depths: Sequence[int] | None = None,
        policies: tuple[Policy, ...] = (Policy.ADADECODE,),
        gammas: tuple[float, ...] = GAMMAS,
        slopes: tuple[float, ...] = (0.0,),
        caps: tuple[int, ...] = (DEFAULT_CAP,),
        max_heads: int = 3,
        forms: tuple[HeadForm, ...] = (),
        gates: tuple[float, ...] = NO_GATES,
    ) -> Space:
        """Make a space of trained heads.

        Args:
            trained: Depths of the heads there are.
            n_layers: Layers of the model.
            depths: Depths to choose from; by default all.
            policies: See the class, as for the others.
            gammas: See the class.
            slopes: See the class.
            caps: See the class.
            max_heads: See the class.
            forms: See the class.
            gates: See the class.

        Raises:
            DesignError: If a depth has no trained head.
        """
        chosen = tuple(sorted(set(trained if depths is None else depths)))
        require_heads(chosen, trained)
        return cls(
            n_layers=n_layers,
            depths=chosen,
            policies=policies,
            gammas=gammas,
            slopes=slopes,
            caps=caps,
            max_heads=max_heads,
            forms=forms,
            gates=gates,
        )

    @property
    def has_gates(self) -> bool:
        """Whether some of its designs ask gates."""
        return any(self.gates)

    @property
    def is_bound(self) -> bool:
        """Whether the space knows the layers of its model."""
        return self.n_layers > 0

    def bound(self, trained: Sequence[int], n_layers: int) -> Space:
        """Return the space for these heads, at the depths it names or at all.

        Args:
            trained: Depths of the heads there are.
            n_layers: Layers of the model.

        Raises:
            DesignError: If a depth has no trained head, or the space is bound to another model.
        """
        if self.is_bound and self.n_layers != n_layers:
            raise DesignError(
                f"the space is of a model with {self.n_layers} layers, the text's heads stand in "
                f"one with {n_layers}: leave n_layers out"
            )
        depths = tuple(sorted(set(self.depths or trained)))
        require_heads(depths, trained)
        return replace(self, n_layers=n_layers, depths=depths)

    @property
    def most(self) -> int:
        """Heads of the largest placement that there is."""
        return min(self.max_heads, len(self.depths))

    @property
    def size(self) -> int:
        """Number of designs.

        Where a schedule asks for nothing new, a design may be there twice.
        """
        placements = sum(math.comb(len(self.depths), heads) for heads in range(1, self.most + 1))
        counts = {
            Policy.VANILLA: 1,
            Policy.FIXED: len(self.depths) * len(self.caps),
            Policy.ORACLE: placements * len(self.caps),
            Policy.ADADECODE: placements
            * len(self.caps)
            * len(self.gammas)
            * len(self.slopes)
            * len(self.gates),
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
        """Yield all designs, in an order that never changes."""
        for policy in self.policies:
            for design in self._designs_of(policy):
                yield from in_forms(design, self.forms)

    def _designs_of(self, policy: Policy) -> Iterator[Design]:
        """Yield the designs of one policy, whatever the form of their heads."""
        if policy is Policy.VANILLA:
            yield Design(policy=policy)
        elif policy is Policy.FIXED:
            for depth in self.depths:
                for cap in self.caps:
                    yield Design.of(policy, placement=(depth,), cap=cap)
        else:
            for placement in self.placements:
                for cap in self.caps:
                    if policy is Policy.ORACLE:
                        yield Design.of(policy, placement=placement, cap=cap)
                    else:
                        yield from self._thresholds_of(placement, cap)

    def _thresholds_of(self, placement: tuple[int, ...], cap: int) -> Iterator[Design]:
        for slope in self.slopes:
            for gamma in self.gammas:
                gammas = schedule(gamma, slope, placement, self.n_layers)
                for gate in self.gates:
                    yield Design.of(
                        Policy.ADADECODE, placement=placement, gamma=gammas, cap=cap, gate=gate
                    )

    def to_dict(self) -> dict[str, Any]:
        """Return the space as JSON holds it; without forms and gates where there are none."""
        parts = {**asdict(self), "policies": list(map(str, self.policies)), "designs": self.size}
        del parts["forms"], parts["gates"]
        if self.has_gates:
            parts["gates"] = self.gates
        return {**parts, "forms": [form.label for form in self.forms]} if self.forms else parts


def schedule(
    gamma: float, slope: float, placement: Sequence[int], n_layers: int
) -> tuple[float, ...]:
    """Return one threshold per head: 1 - (1 - gamma) / (1 + slope (1 - d/L)).

    SpecBound (arXiv 2604.12247) divides the logits of shallow heads by 1 + a (1 - d/L), so that the
    shallower a head is, the more confident it must be. A trace holds probabilities; here the doubt
    that is left, 1 - gamma, is divided instead.
    """
    return tuple(
        1 - (1 - gamma) / (1 + slope * (1 - depth / n_layers)) if slope else gamma
        for depth in placement
    )
