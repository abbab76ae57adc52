"""One decoder layer, as far as its weights, its keys and values, and its products go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from adadecode.profiles.errors import ShapeError

MOST_NUMBERS = 10**15
"""More numbers than one layer of any model has."""


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """What one layer costs, whatever it is made of.

    A *number* is a weight, or a number of the cache; how many bytes it takes is said elsewhere.

    Attributes:
        shared: Parameters that every token multiplies with: attention, router, shared experts, and
            an MLP without experts.
        norms: Parameters of the norms over the hidden state.
        n_experts: Experts of which a token uses some; 0 where there is no mixture.
        experts_per_token: How many it uses.
        expert_parameters: Parameters of one expert.
        cache: Numbers of keys and values that the layer keeps of a position; 0 where it keeps none.
        reads: Numbers of keys and values that a token reads of a position. It is more than
            ``cache`` where a layer attends to the keys and values of another one.
        expanded: Numbers of a position that an engine keeps which unfolds latent keys and values,
            as ``transformers`` does; 0 where they are not latent.
        products: Multiplications of a token with one position: heads times the widths of a key and
            of a value.
        window: Positions that it sees, or None for all.
        state: Numbers of a recurrent state, which every step reads and writes.
        attention_width: Numbers of a token's queries and keys.
        mlp_width: Width of the MLP, or of all experts that a token uses.

    Raises:
        ShapeError: If a number is impossible.
    """

    shared: int
    norms: int = 0
    n_experts: int = 0
    experts_per_token: int = 0
    expert_parameters: int = 0
    cache: int = 0
    reads: int = 0
    expanded: int = 0
    products: int = 0
    window: int | None = None
    state: int = 0
    attention_width: int = 0
    mlp_width: int = 0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "window" and value is None:
                continue
            low = 1 if one.name == "window" else 0
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ShapeError(f"{one.name} of a layer is {value!r}: wanted a whole number")
            if value > MOST_NUMBERS:
                raise ShapeError(f"{one.name} of a layer is over {MOST_NUMBERS}: check it")
        if self.experts_per_token > self.n_experts or bool(self.n_experts) != bool(
            self.experts_per_token
        ):
            raise ShapeError(
                f"a layer has {self.n_experts} experts, of which a token uses "
                f"{self.experts_per_token}: check both"
            )

    @property
    def parameters(self) -> int:
        """All parameters of the layer."""
        return self.matrices + self.norms

    @property
    def matrices(self) -> int:
        """All of them but the norms over the hidden state."""
        return self.shared + self.experts

    @property
    def experts(self) -> int:
        """Parameters of all experts."""
        return self.n_experts * self.expert_parameters

    @property
    def multiplied(self) -> int:
        """Parameters that one token multiplies with."""
        return self.shared + self.experts_per_token * self.expert_parameters

    def touched(self, n_tokens: int) -> float:
        """Return how many experts some tokens use together, as expected.

        Each token chooses k of E experts at random: E (1 - (1 - k/E)^n). Tokens that are alike
        choose alike, and read fewer.
        """
        if not self.n_experts:
            return 0.0
        return self.n_experts * (1 - (1 - self.experts_per_token / self.n_experts) ** n_tokens)

    def seen(self, context: int) -> int:
        """Return how many of so many positions the layer sees."""
        return min(context, self.window or context)

    def held(self, context: int, n_tokens: int) -> int:
        """Return of how many positions it holds keys and values.

        These are those of the window, and of the batch that may yet be rolled back.
        """
        return context if self.window is None else min(context, self.window + n_tokens)

    def same_work(self, other: LayerShape) -> bool:
        """Return whether two layers move the same bytes for any batch, but for how they say it."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("parameters", "experts", "multiplied", "cache", "window", "state")
        )

    def record(self) -> dict[str, Any]:
        """Return the layer as JSON holds it: what is 0 or None is left out."""
        return {key: value for key, value in asdict(self).items() if value}


def layers_of_record(runs: object) -> tuple[LayerShape, ...]:
    """Return the layers that a list of runs holds, as `record_of_layers` writes it.

    Raises:
        ShapeError: If it is no such list.
    """
    known = {one.name for one in fields(LayerShape)}
    if not isinstance(runs, list):
        raise ShapeError(f"layers of a recorded shape are {runs!r:.99}: wanted a list of objects")
    found: list[LayerShape] = []
    for run in runs:
        count = run.get("layers") if isinstance(run, Mapping) else None
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1000:
            raise ShapeError(
                f"wanted an object with a number of layers in a recorded shape, got {run!r:.99}: "
                "record it again"
            )
        numbers = {key: value for key, value in run.items() if key != "layers"}
        if unknown := sorted(numbers.keys() - known):
            raise ShapeError(
                f"a layer of a recorded shape has {', '.join(map(str, unknown))[:99]}, which means "
                "nothing here: record it again"
            )
        if "shared" not in numbers:
            raise ShapeError("a layer of a recorded shape lacks shared: record it again")
        found += [LayerShape(**numbers)] * count
    return tuple(found)


def record_of_layers(layers: tuple[LayerShape, ...]) -> list[dict[str, Any]]:
    """Return layers as JSON holds them: layers in a row that are alike, once, with their number."""
    runs: list[dict[str, Any]] = []
    before: LayerShape | None = None
    for layer in layers:
        if layer == before:
            runs[-1]["layers"] += 1
        else:
            runs.append({"layers": 1, **layer.record()})
        before = layer
    return runs
