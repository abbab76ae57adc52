"""The plan of a sweep: what is evaluated, and what decides its figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adadecode.profiles.errors import DesignError
from adadecode.sim.sweep.space import Space

RECORDED = "recorded"
"""Names the machine of the profile among the devices."""

SCHEMA_VERSION = 1
"""Version of the directory that a sweep is written to."""

EXHAUSTIVE_LIMIT = 100_000
"""Designs up to which the method "auto" goes through a whole space.

It takes half a minute on two cores for the text of the demo profile. A larger space is searched.
"""

TRIALS = 2000
"""Designs that a search tries, by default."""

METHODS = ("auto", "exhaustive", "optuna")
"""How a space is gone through."""


def trials_for(method: str, trials: int, size: int) -> int:
    """Return how many designs of a space to try; 0 for all of them.

    Args:
        method: One of METHODS.
        trials: Designs that a search tries.
        size: Designs of the space.

    Raises:
        DesignError: If the method is unknown, or ``trials`` is not above 0.
    """
    if method not in METHODS:
        raise DesignError(f"wanted --method auto, exhaustive or optuna, got {method!r}")
    if trials < 1:
        raise DesignError(f"wanted one trial or more, got {trials}")
    searched = method == "optuna" or (method == "auto" and size > EXHAUSTIVE_LIMIT)
    return trials if searched else 0


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What is swept.

    Attributes:
        space: The designs.
        objectives: What makes a design good; the first decides which is best.
        sources: What else decides the figures: digests of profile and trace, prompts, devices.
        trials: Designs that a search tries; 0 goes through all of the space.
    """

    space: Space
    objectives: tuple[str, ...]
    sources: Mapping[str, Any]
    trials: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON holds it."""
        return {
            "version": SCHEMA_VERSION,
            "space": self.space.to_dict(),
            "objectives": list(self.objectives),
            "trials": self.trials,
            **self.sources,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()
