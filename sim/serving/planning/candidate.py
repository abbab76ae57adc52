"""A server that a plan may choose, as many times as it needs."""

from __future__ import annotations

from dataclasses import dataclass

from adadecode.sim.serving.exits.found_exits import FoundExits
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.step_price import StepPrice


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One server: its device, how it forms steps, and what they take.

    Attributes:
        name: Name of its device, or of whatever tells it from the others.
        settings: How it forms its steps.
        price: Returns the seconds of a step.
        devices: Devices of one replica.
        ridge_tokens: Tokens of a step from which on its products are bound by arithmetic and no
            longer by reading the weights; None where nobody knows.
        hourly: What an hour of one device costs; None where nobody says.
        exits: How it decodes with early exits; None for vanilla.
        notes: What its times rest on, a sentence each.
    """

    name: str
    settings: ServerSettings
    price: StepPrice
    devices: int = 1
    ridge_tokens: float | None = None
    hourly: float | None = None
    exits: FoundExits | None = None
    notes: tuple[str, ...] = ()

    @property
    def policy(self) -> str:
        """What decodes, in words."""
        return "vanilla" if self.exits is None else self.exits.label

    @property
    def label(self) -> str:
        """Its name, and the policy where that is not vanilla."""
        return self.name if self.exits is None else f"{self.name}, {self.policy}"
