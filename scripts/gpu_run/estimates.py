"""How much each recording records, and an estimate of its seconds, so that calls can be planned.

Seconds follow from the bytes that are read. Nothing that ``setup`` might have to install is
imported at the top of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PLANNED_FOR = "h200-sxm"
"""The device that the sizes were chosen for."""
BANDWIDTH_SHARE = 0.7
"""Assumed: the share of its bandwidth that decoding reaches."""
START_S = 15.0
"""Assumed: seconds to start a process and import torch and transformers."""
COMPILE_S = 90.0
"""Assumed: seconds to compile and capture the layers and heads of one shape, for all stages."""
CAPTURE_S = 20.0
"""Assumed: seconds of the same once all is compiled."""
EAGER_LAYER_S = 1e-3
"""Assumed: seconds of a layer that is run kernel by kernel, as in the paper."""
BUILD_BYTES_PER_S = 1e11
"""Assumed: how fast random weights are made on the device."""
WALKS_PER_VISIT = 4 * 6 * 2
"""Timed walks of the layers in one visit to a context: depths, batch sizes, laps."""
VISITS = 15
"""Visits to the contexts of the latency table."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much one recording records.

    Attributes:
        prompts: Of each domain.
        domains: How many.
        tokens: New tokens of each prompt.
        gammas: Thresholds, each with every placement.
        placements: How many sets of heads.
        single: How many of them are one head alone, which the policy ``fixed`` runs at too.
        repeats: Timed runs of each design and prompt.
    """

    prompts: int
    domains: int
    tokens: int
    gammas: Sequence[float]
    placements: int
    single: int
    repeats: int

    @property
    def designs(self) -> int:
        """Number of designs, vanilla included."""
        return 1 + self.placements * len(self.gammas) + self.single

    @property
    def decoded(self) -> int:
        """Tokens that are decoded: in each repeat, and once more with instruments."""
        return self.prompts * self.domains * self.tokens * self.designs * (self.repeats + 1)

    @property
    def options(self) -> list[str]:
        """Options of ``adadecode-profile``, except where the heads are."""
        values = {
            "--limit": self.prompts,
            "--max-new-tokens": self.tokens,
            "--gammas": ",".join(f"{gamma:g}" for gamma in self.gammas),
            "--repeats": self.repeats,
        }
        return [word for name, value in values.items() for word in (name, str(value))]


PAPER = Size(
    prompts=2, domains=2, tokens=128, gammas=(0.6, 0.75), placements=2, single=1, repeats=2
)
"""Llama-3.1-8B at the paper's rates: its gamma of 0.75, and the 0.6 of its figure 5."""
HEAD_FORMS = Size(
    prompts=1, domains=2, tokens=128, gammas=(0.6, 0.75), placements=3, single=1, repeats=2
)
"""The same with cheaper heads."""
LARGE = Size(prompts=1, domains=2, tokens=64, gammas=(0.75,), placements=3, single=1, repeats=3)
"""CodeLlama-34B."""
BASELINES = Size(prompts=1, domains=2, tokens=64, gammas=(0.75,), placements=1, single=0, repeats=2)
"""The 8B shape in turn with ``generate``."""
DEMO = Size(
    prompts=1, domains=4, tokens=64, gammas=(0.5, 0.75, 0.9), placements=3, single=1, repeats=2
)
"""The demo model with its own heads."""
DEMO_BASELINES = Size(
    prompts=1, domains=4, tokens=64, gammas=(0.5,), placements=1, single=1, repeats=2
)
"""The demo model in turn with all baselines."""
DRY = Size(prompts=1, domains=1, tokens=8, gammas=(0.5,), placements=1, single=0, repeats=1)
"""On a CPU, to see that it runs."""


def weight_bytes(shape: str) -> float:
    """Return the bytes of a shape's weights in 16 bits."""
    from adadecode.profiles.catalog.models import find_model

    return 2.0 * find_model(shape).total_parameters


def token_s(shape: str) -> float:
    """Return the seconds of a token: the time to read all weights at the bandwidth assumed."""
    from adadecode.profiles.catalog.devices import find_device

    return weight_bytes(shape) / (BANDWIDTH_SHARE * find_device(PLANNED_FOR).bandwidth)


def recording_s(size: Size, shape: str, *, compiled: bool = False) -> float:
    """Return the seconds of a recording.

    Args:
        size: How much is recorded.
        shape: The model's name in the catalogue.
        compiled: Whether an earlier stage has compiled the shape.
    """
    compile_s = CAPTURE_S if compiled else COMPILE_S
    ready_s = START_S + weight_bytes(shape) / BUILD_BYTES_PER_S + compile_s
    return ready_s + token_s(shape) * (size.decoded + VISITS * WALKS_PER_VISIT)


def eager_s(shape: str, tokens: int) -> float:
    """Return the seconds of ``tokens`` tokens by a model that is run kernel by kernel."""
    from adadecode.profiles.catalog.models import find_model

    return tokens * EAGER_LAYER_S * find_model(shape).n_layers
