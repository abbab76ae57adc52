"""A small recording of heads with gates, on a device of the catalogue, with measured runs."""

from __future__ import annotations

from pathlib import Path

from adadecode.profiles import Profile
from adadecode.sim.core.design import Design
from tests.support.recordings import on_a100

GATED = Design.of(gamma=0.5, placement=(2, 6), gate=(0.4, 0.2))
PLAIN = Design.of(gamma=0.5, placement=(2, 6))

DESIGNS = (Design.of("vanilla"), PLAIN, GATED, Design.of(gamma=0.2, placement=(4,), gate=0.3))


def gated_profile(path: Path) -> Profile:
    """Write the recording, and read it back."""
    return on_a100(path, runs=True, designs=DESIGNS, gates=True, prompts=4)
