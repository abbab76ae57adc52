"""How much each recording records, as options of ``adadecode-profile``, and how many seconds it should take: estimates from bytes, so that a call can be planned.

Nothing that might have to be installed first is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PLANNED_FOR = "h200-sxm"
"""The device that the sizes were chosen for."""
REACHED = 0.7
"""Assumed: the share of its bandwidth that decoding reaches."""
START_S = 15.0
"""Assumed: a process, torch and transformers imported."""
COMPILE_S = 90.0
"""Assumed: the layers and heads of one shape compiled, which later stages find done, and captured."""
CAPTURE_S = 20.0
"""Assumed: the same once all is compiled."""
EAGER_LAYER_S = 1e-3
"""Assumed: a layer run kernel by kernel, as in the paper."""
BUILD_BYTES_PER_S = 1e11
"""Assumed: random weights made on the device."""
VISIT_LAPS = 4 * 6 * 2
"""Walks of one visit to the latencies: depths, batches, laps."""
VISITS = 15


@dataclass(frozen=True, kw_only=True)
class Size:
    """One recording. prompts: of each domain, of so many domains. tokens: of each. placements: of heads, of which ``single`` are one head alone, which ``fixed`` runs at too."""

    prompts: int
    domains: int
    tokens: int
    gammas: Sequence[float]
    placements: int
    single: int
    repeats: int

    @property
    def designs(self) -> int:
        """Vanilla's included."""
        return 1 + self.placements * len(self.gammas) + self.single

    @property
    def decoded(self) -> int:
        """Tokens that are decoded, in repeats, and once more with instruments."""
        return self.prompts * self.domains * self.tokens * self.designs * (self.repeats + 1)

    @property
    def options(self) -> list[str]:
        """Of ``adadecode-profile``; where heads stand is left to whoever knows the model."""
        gammas = ",".join(f"{gamma:g}" for gamma in self.gammas)
        sizes = {
            "--limit": self.prompts,
            "--max-new-tokens": self.tokens,
            "--gammas": gammas,
            "--repeats": self.repeats,
        }
        return [word for name, value in sizes.items() for word in (name, str(value))]


PAPER = Size(
    prompts=2, domains=2, tokens=128, gammas=(0.6, 0.75), placements=2, single=1, repeats=2
)
"""Llama-3.1-8B at the paper's rates: its 0.75, and the 0.6 of its figure 5."""
FORMS = Size(
    prompts=1, domains=2, tokens=128, gammas=(0.6, 0.75), placements=3, single=1, repeats=2
)
"""The same with cheaper heads."""
LARGE = Size(prompts=1, domains=2, tokens=64, gammas=(0.75,), placements=3, single=1, repeats=3)
"""CodeLlama-34B."""
BESIDE = Size(prompts=1, domains=2, tokens=64, gammas=(0.75,), placements=1, single=0, repeats=2)
"""The 8B shape beside generate."""
DEMO = Size(
    prompts=1, domains=4, tokens=64, gammas=(0.5, 0.75, 0.9), placements=3, single=1, repeats=2
)
"""The demo model with its own heads."""
DEMO_BESIDE = Size(
    prompts=1, domains=4, tokens=64, gammas=(0.5,), placements=1, single=1, repeats=2
)
"""The demo model beside all baselines."""
DRY = Size(prompts=1, domains=1, tokens=8, gammas=(0.5,), placements=1, single=0, repeats=1)
"""On a CPU, to see that it runs."""


def weights_of(shape: str) -> float:
    """Bytes of a shape's weights in 16 bits."""
    from adadecode.profiles.catalog.models import find_model

    return 2.0 * find_model(shape).total_parameters


def token_s(shape: str) -> float:
    """Seconds of a token, all layers at once: its weights read at the bandwidth that is taken to be reached."""
    from adadecode.profiles.catalog.devices import find_device

    return weights_of(shape) / (REACHED * find_device(PLANNED_FOR).bandwidth)


def recording_s(size: Size, shape: str, *, compiled: bool = False) -> float:
    """Seconds of a recording of a shape. compiled: whether an earlier stage did."""
    ready = START_S + weights_of(shape) / BUILD_BYTES_PER_S + (CAPTURE_S if compiled else COMPILE_S)
    return ready + token_s(shape) * (size.decoded + VISITS * VISIT_LAPS)


def eager_s(shape: str, tokens: int) -> float:
    """Seconds of so many tokens by a model that is run kernel by kernel."""
    from adadecode.profiles.catalog.models import find_model

    return tokens * EAGER_LAYER_S * find_model(shape).n_layers
