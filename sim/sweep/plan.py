"""The plan of a sweep: what is evaluated, and what decides its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import DesignError
from adadecode.sim.sweep.space import Space

RECORDED = "recorded"
"""Names the machine of the profile among the devices."""

SCHEMA_VERSION = 1
"""Version of the directory that a sweep is written to."""

SOURCES = ("profile", "trace", "devices", "prompts")
"""What decides the figures of a sweep besides its space."""

KEYS = ("version", "space", "objectives", "trials", *SOURCES)
"""Everything that a plan holds."""

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
        sources: What else decides the figures, by `SOURCES`: digests of profile and trace, devices
            with the notes on their latencies, prompts.
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
        return digest_of(self.to_dict())


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the digest of the plan in a document, which may hold other things too."""
    plan = {key: document[key] for key in KEYS if key in document}
    return sha256_hex(json.dumps(plan, sort_keys=True).encode())
