"""The designs that a sweep of a space may hold, told from others without making each of them.

A space is known by its axes. How many designs it holds, and whether one is among them, follows
from these with work that the rows of its table bound.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.sweep.head_forms import FormedDesign
from adadecode.sim.sweep.space import Space, schedule

MOST_ALIKE = 20
"""How often schedules may ask for the same thresholds, on average, before a space is refused."""

FEW = 100_000
"""Thresholds that are worked out for any table, however small."""


class PlannedDesigns:
    """The designs that a sweep of a space with a table of so many designs may hold.

    Args:
        space: The space, bound to a model.
        count: Designs of the table.
        searched: Whether the space was searched, so that not all its designs need be there.

    Raises:
        ProfileError: If the space is too large for the table.
    """

    def __init__(self, space: Space, count: int, *, searched: bool) -> None:
        self.space = replace(
            space,
            policies=tuple(dict.fromkeys(space.policies)),
            gammas=tuple(dict.fromkeys(space.gammas)),
            slopes=tuple(dict.fromkeys(space.slopes)),
            caps=tuple(dict.fromkeys(space.caps)),
            forms=tuple(dict.fromkeys(space.forms)),
            gates=tuple(dict.fromkeys(space.gates)),
        )
        self.depths, self.caps = frozenset(space.depths), frozenset(space.caps)
        self.forms = frozenset(space.forms)
        self.gates = frozenset(space.gates)
        places = len(self.depths)
        if not searched and Policy.ADADECODE in self.space.policies:
            places = self._placements
        work = places * len(self.space.gammas) * len(self.space.slopes) * len(self.gates)
        if work > MOST_ALIKE * count + FEW or (not searched and self._least > count):
            raise ProfileError(f"wanted the {space.size:,} designs of its plan, got {count:,}")

    @cached_property
    def size(self) -> int:
        """Designs of the space, those that are alike once."""
        if Policy.ADADECODE not in self.space.policies:
            return self._least
        more = sum(len(one) - 1 for one in self._schedules.values())
        return self._least + self._choices * len(self.gates) * more

    def holds(self, design: Design) -> bool:
        """Return whether a design is one of the space."""
        if not self._is_of_space(design):
            return False
        if design.policy is Policy.ADADECODE:
            alike = len(set(design.gates)) <= 1
            return (
                alike
                and self._has_gates_of_space(design)
                and design.gammas in self._schedules[design.placement]
            )
        return not any(design.gammas)

    def may_be_searched(self, design: Design) -> bool:
        """Return whether a search of the space may have tried a design."""
        asks, gammas = design.policy is Policy.ADADECODE, self.space.gammas
        low, high = (min(gammas), max(gammas)) if asks else (0.0, 0.0)
        return (
            self._is_of_space(design)
            and all(low <= gamma <= high for gamma in design.gammas)
            and (not asks or self._has_gates_of_space(design))
        )

    def may_be_refined(self, design: Design) -> bool:
        """Return whether refinement may have made a design.

        It takes one threshold for each head and gate, from those of the space (see
        `adadecode.sim.sweep.optuna_search.threshold_choices`).
        """
        return (
            design.policy is Policy.ADADECODE
            and self._fits_heads(design)
            and self._has_gates_of_space(design)
            and all(
                any(gamma in self._thresholds[depth] for depth in design.placement)
                for gamma in design.gammas
            )
        )

    def _is_of_space(self, design: Design) -> bool:
        """Return whether all but the thresholds of a design is the space's."""
        if design.policy is Policy.VANILLA:
            return design.policy in self.space.policies and design == Design(policy=Policy.VANILLA)
        return design.policy in self.space.policies and self._fits_heads(design)

    def _has_gates_of_space(self, design: Design) -> bool:
        """Return whether each gate of a design has a threshold of the space; 0 asks none."""
        return self.gates.issuperset(design.gates or (0.0,))

    def _fits_heads(self, design: Design) -> bool:
        """Return whether the heads of a design, their form and its cap are the space's."""
        form = design.form if isinstance(design, FormedDesign) else None
        return (
            1 <= len(design.placement) <= self.space.most
            and self.depths.issuperset(design.placement)
            and design.cap in self.caps
            and design.verify
            and (form in self.forms if self.forms else form is None)
        )

    @property
    def _placements(self) -> int:
        """Number of placements."""
        heads = range(1, self.space.most + 1)
        return sum(math.comb(len(self.depths), count) for count in heads)

    @property
    def _choices(self) -> int:
        """Number of caps and forms for each placement."""
        return len(self.caps) * max(1, len(self.forms))

    @property
    def _least(self) -> int:
        """Designs of the space if all its schedules asked for the same thresholds."""
        places = {
            Policy.FIXED: len(self.depths),
            Policy.ADADECODE: self._placements * len(self.gates),
        }
        return sum(
            1 if policy is Policy.VANILLA else places.get(policy, self._placements) * self._choices
            for policy in self.space.policies
        )

    @cached_property
    def _schedules(self) -> dict[tuple[int, ...], frozenset[tuple[float, ...]]]:
        """The thresholds of each placement, by its schedules; those that are alike once."""
        return {
            placement: frozenset(
                schedule(gamma, slope, placement, self.space.n_layers)
                for slope in self.space.slopes
                for gamma in self.space.gammas
            )
            for placement in self.space.placements
        }

    @cached_property
    def _thresholds(self) -> dict[int, frozenset[float]]:
        """Each threshold that a head at a depth may have, or that all may."""
        n_layers, slopes, gammas = self.space.n_layers, self.space.slopes, self.space.gammas
        return {
            depth: frozenset(gammas).union(
                *(
                    schedule(gamma, slope, (depth,), n_layers)
                    for slope in slopes
                    for gamma in gammas
                )
            )
            for depth in self.depths
        }
