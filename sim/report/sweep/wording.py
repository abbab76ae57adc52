"""How a report on a sweep words a design and its choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.sim.report import formatting
from adadecode.sim.report.document import Choice
from adadecode.sim.report.sweep.sweep_data import SweepData
from adadecode.sim.sweep.head_forms import NO_HEADS


def describe(design: Mapping[str, Any]) -> str:
    """Describe a design, and the form of its heads if there were several to choose from."""
    form = design.get("form", NO_HEADS)
    words = formatting.describe_design(design)
    return words if form == NO_HEADS else f"{words} (form {form})"


def gain(design: Mapping[str, Any]) -> str:
    """Write the predicted speedup of a design with its interval."""
    return formatting.gain(design["speedup"], design["speedup_low"], design["speedup_high"])


def device_choice(data: SweepData) -> Choice:
    """Return the drop-down of devices."""
    return Choice(dimension="device", label="Device", options=tuple(data.devices))


def policy_choice(policies: list[str]) -> Choice:
    """Return the drop-down of policies."""
    return Choice(dimension="policy", label="Policy", options=tuple(policies))
