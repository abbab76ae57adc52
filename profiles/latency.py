"""How long each piece of work takes, from raw samples.

A measured point is returned exactly. Between measured points the time is linear in each of
n_tokens, context and reuse. Beyond them there is no answer but an error that says what to measure.
The one exception is ``reuse``: see `LatencyTable.layers`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from adadecode.profiles.errors import LatencyError, ProfileError
from adadecode.profiles.trimming import usual_visits

_AXES = ["layer", "n_tokens", "context", "reuse"]
_MEANINGLESS: dict[str, dict[str, int]] = {
    "layer": {},
    "head": {"n_tokens": 1, "context": 0},
    "gate": {"n_tokens": 1, "context": 0, "reuse": 0},
    "embed": {"layer": -1, "context": 0, "reuse": 0},
    "verify": {"layer": -1, "context": 0, "reuse": 0},
    "prefill": {"layer": -1, "context": 0, "reuse": 0},
    "host": {"layer": -1, "n_tokens": 1, "context": 0, "reuse": 0},
}
"""For each kind, the axes that its time does not depend on, and their values in a table."""

_FLAGS = {
    "embed": "--max-tokens {}",
    "verify": "--max-tokens {}",
    "prefill": "a prompt of {} tokens",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """Seconds along one axis: linear between rising measured points, held beyond the ends."""

    marks: tuple[int, ...]
    seconds: tuple[float, ...]

    @classmethod
    def through(cls, points: Mapping[int, float]) -> _Line:
        marks = tuple(sorted(points))
        return cls(marks=marks, seconds=tuple(points[x] for x in marks))

    def covers(self, x: int) -> bool:
        return self.marks[0] <= x <= self.marks[-1]

    def value(self, x: int) -> float:
        i = bisect_left(self.marks, x)
        if i == len(self.marks):
            return self.seconds[-1]
        if i == 0 or self.marks[i] == x:
            return self.seconds[i]
        low, high = self.seconds[i - 1], self.seconds[i]
        return low + (high - low) * ((x - self.marks[i - 1]) / (self.marks[i] - self.marks[i - 1]))


_Grid = dict[int, dict[int, _Line]]
"""One layer's seconds along context, by reuse and n_tokens. Runs do not visit every corner."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatencyTable:
    """Seconds for each piece of work of one model on one device. Build it with `from_samples`.

    Every method raises `LatencyError` for what was not measured, and names what was.

    Attributes:
        n_layers: L, the layers of the model.
        points: One row per measured point: kind, layer, n_tokens, context, reuse, seconds, samples.
            Axes that the time of a kind does not depend on hold -1, 1, 0 and 0.
    """

    n_layers: int
    points: pd.DataFrame
    _grids: dict[int, _Grid] = field(repr=False)
    _heads: dict[int, _Line] = field(repr=False)
    _gates: dict[int, float] = field(repr=False)
    _rows: dict[str, _Line] = field(repr=False)
    _curves: dict[tuple[int, int, int, int], _Line] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def from_samples(cls, latency: pd.DataFrame, n_layers: int) -> LatencyTable:
        """Make the table from the samples of a profile.

        The seconds of a point are the mean of its samples in the usual visits
        (`adadecode.profiles.trimming`, decision 0012).

        Args:
            latency: The table ``latency`` of a profile. Without the column ``repeat``, as in
                ``points``, it counts as one visit.
            n_layers: L, the layers of the model.

        Raises:
            ProfileError: If seconds, kinds or layers make no sense.
        """
        points = _points(latency)
        grids: dict[int, dict[int, dict[int, dict[int, float]]]] = {}
        heads: dict[int, dict[int, float]] = {}
        gates: dict[int, float] = {}
        rows: dict[str, dict[int, float]] = {}
        for kind, layer, n_tokens, context, reuse, seconds, _ in points.itertuples(
            index=False, name=None
        ):
            if kind == "layer":
                grids.setdefault(layer, {}).setdefault(reuse, {}).setdefault(n_tokens, {})[
                    context
                ] = seconds
            elif kind == "head":
                heads.setdefault(layer, {})[reuse] = seconds
            elif kind == "gate":
                gates[layer] = seconds
            else:
                rows.setdefault(kind, {})[n_tokens] = seconds
        if strange := [layer for layer in grids if not 0 <= layer < n_layers]:
            raise ProfileError(
                f"wanted layers 0..{n_layers - 1} in the latency table, got layer {strange[0]}: "
                "give the layers of the model it was recorded on"
            )
        return cls(
            n_layers=n_layers,
            points=points,
            _grids={
                layer: {
                    reuse: {n: _Line.through(line) for n, line in lines.items()}
                    for reuse, lines in grid.items()
                }
                for layer, grid in grids.items()
            },
            _heads={depth: _Line.through(line) for depth, line in heads.items()},
            _gates=gates,
            _rows={kind: _Line.through(line) for kind, line in rows.items()},
        )

    @cached_property
    def contexts(self) -> tuple[int, ...]:
        """Every context at which layers were measured; seconds are linear in between."""
        return tuple(sorted(set(self.points.loc[self.points["kind"] == "layer", "context"])))

    @cached_property
    def reuses(self) -> tuple[int, ...]:
        """Every reuse at which layers were measured; beyond either end seconds stay the same."""
        return tuple(sorted(set(self.points.loc[self.points["kind"] == "layer", "reuse"])))

    def layer(self, layer: int, n_tokens: int, context: int, reuse: int) -> float:
        """Return the seconds of one decoder layer; see `layers`."""
        return self.layers(layer, layer + 1, n_tokens, context, reuse)

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """Return the seconds of layers start..stop-1, run one after the other.

        Args:
            start: First layer, counted from 0.
            stop: Layer after the last.
            n_tokens: Tokens computed at once.
            context: Positions that the last of them attends to, itself included.
            reuse: Layers run since this layer last ran, itself included. It alone is held beyond
                what was measured. Above the largest, which is always a walk of the whole stack,
                every cache has already given the layer up. Below the smallest nothing is needed in
                earnest: a schedule walks from layer 0, so layer l does not run again before l + 1
                layers have run, and the smallest reuse recorded is the shallowest exit that can
                bring the walk back.

        Raises:
            LatencyError: If n_tokens or context lies beyond what was measured.
        """
        curve = self._curves.get((start, stop, n_tokens, reuse)) or self._curve(
            start, stop, n_tokens, reuse
        )
        if not curve.marks[0] <= context <= curve.marks[-1]:
            where = f"layer {start}" if stop == start + 1 else f"layers {start}..{stop - 1}"
            measured = f"{curve.marks[0]}..{curve.marks[-1]} at n_tokens={n_tokens}"
            raise LatencyError(
                f"no latency for {where} at context={context} (measured {measured}): "
                f"profile with --contexts {context}"
            )
        return curve.value(context)

    def head(self, depth: int, reuse: int) -> float:
        """Return the seconds of one check of the head at ``depth``; reuse as in `layers`."""
        if depth not in self._heads:
            measured = ", ".join(map(str, sorted(self._heads))) or "none"
            raise LatencyError(
                f"no latency for the head at depth {depth} (measured {measured}): "
                "train a head there and profile again"
            )
        return self._heads[depth].value(reuse)

    @property
    def gate_depths(self) -> tuple[int, ...]:
        """Depths at which a gate was timed, rising."""
        return tuple(sorted(self._gates))

    def gate(self, depth: int) -> float:
        """Return the seconds of one question to the gate before the head at ``depth``."""
        if depth not in self._gates:
            measured = ", ".join(map(str, self.gate_depths)) or "none"
            raise LatencyError(
                f"no latency for the gate at depth {depth} (measured {measured}): "
                "train heads with gates and profile again"
            )
        return self._gates[depth]

    def with_gates(self, seconds: Mapping[int, float]) -> LatencyTable:
        """Return the table with what gates take at more depths, which was not measured.

        Args:
            seconds: Seconds of one question, by depth.
        """
        rows = [("gate", depth, 1, 0, 0, one, 0) for depth, one in seconds.items()]
        added = pd.DataFrame(rows, columns=list(self.points.columns))
        return replace(
            self,
            points=pd.concat([self.points, added], ignore_index=True),
            _gates={**self._gates, **seconds},
        )

    def verify(self, n_tokens: int) -> float:
        """Return the seconds of final norm, LM head and argmax over n_tokens rows."""
        return self._row("verify", n_tokens)

    def embed(self, n_tokens: int) -> float:
        """Return the seconds of the token embedding of n_tokens."""
        return self._row("embed", n_tokens)

    def prefill(self, n_tokens: int) -> float:
        """Return the seconds from a prompt of n_tokens to its first token."""
        return self._row("prefill", n_tokens)

    def host(self) -> float:
        """Return the seconds that one piece of work costs outside the model."""
        return self._row("host", 1)

    def _row(self, kind: str, n_tokens: int) -> float:
        line = self._rows.get(kind)
        if line is None:
            measured = ", ".join(sorted(set(self.points["kind"]))) or "nothing"
            raise LatencyError(f"no latency of kind {kind} (measured {measured}): profile again")
        if not line.covers(n_tokens):
            todo = _FLAGS[kind].format(n_tokens) if kind in _FLAGS else "the same again"
            raise LatencyError(
                f"no latency for {kind} at n_tokens={n_tokens} "
                f"(measured {line.marks[0]}..{line.marks[-1]}): profile with {todo}"
            )
        return line.value(n_tokens)

    def _curve(self, start: int, stop: int, n_tokens: int, reuse: int) -> _Line:
        """Return the seconds of all these layers along context, and keep them.

        A sum of piecewise linear lines is linear between the union of their points.
        """
        if not 0 <= start < stop <= self.n_layers:
            raise LatencyError(
                f"no layers {start}..{stop - 1} in a model with {self.n_layers}: "
                f"layers run from 0 to {self.n_layers - 1}"
            )
        if stop == start + 1:
            curve = self._layer_curve(start, n_tokens, reuse)
        else:
            each = ((layer, layer + 1, n_tokens, reuse) for layer in range(start, stop))
            lines = [self._curves.get(key) or self._curve(*key) for key in each]
            low, high = max(line.marks[0] for line in lines), min(line.marks[-1] for line in lines)
            if low > high:
                raise LatencyError(
                    f"no context at which all layers {start}..{stop - 1} were measured at "
                    f"n_tokens={n_tokens}: profile again"
                )
            contexts = {
                context for line in lines for context in line.marks if low <= context <= high
            }
            curve = _Line.through(
                {context: sum(line.value(context) for line in lines) for context in contexts}
            )
        self._curves[start, stop, n_tokens, reuse] = curve
        return curve

    def _layer_curve(self, layer: int, n_tokens: int, reuse: int) -> _Line:
        """Return the seconds of one layer along context.

        The line has a point at every measured context where n_tokens lies within what was measured.
        """
        if layer not in self._grids:
            measured = ", ".join(map(str, sorted(self._grids))) or "none"
            raise LatencyError(f"no latency for layer {layer} (measured {measured}): profile again")
        grid = self._grids[layer]
        contexts = sorted(
            {
                context
                for lines in grid.values()
                for line in lines.values()
                for context in line.marks
            }
        )
        points = {
            context: seconds
            for context in contexts
            if (seconds := _at(grid, n_tokens, context, reuse)) is not None
        }
        if not points:
            tokens = sorted({n for lines in grid.values() for n in lines})
            where = f"n_tokens={n_tokens}" + (
                f" and reuse={reuse}" if tokens[0] <= n_tokens <= tokens[-1] else ""
            )
            raise LatencyError(
                f"no latency for layer {layer} at {where} (measured {tokens[0]}..{tokens[-1]}): "
                f"profile with --max-tokens {n_tokens}"
            )
        return _Line.through(points)


def _points(latency: pd.DataFrame) -> pd.DataFrame:
    """Return one row per measured point: the mean of its usual samples, and how many they are.

    Raises:
        ProfileError: If there are no samples, or they have absurd seconds or unknown kinds.
    """
    if latency.empty:
        raise ProfileError(
            "wanted latencies, the table holds none: give a profile that adadecode-profile "
            "recorded, and a text alone as --trace"
        )
    seconds = latency["seconds"].to_numpy(dtype=np.float64)
    # A host may cost nothing, where everything is estimated.
    enough = (seconds > 0) | ((seconds == 0) & (latency["kind"] == "host").to_numpy())
    if wrong := np.flatnonzero(~(np.isfinite(seconds) & enough)).tolist():
        raise ProfileError(
            f"wanted finite seconds above 0 in the latency table, got {seconds[wrong[0]]} in row "
            f"{wrong[0]}: record it again"
        )
    if unknown := set(latency["kind"].unique()) - set(_MEANINGLESS):
        raise ProfileError(
            f"unknown latency kind {min(unknown)!r}: known are {', '.join(_MEANINGLESS)}"
        )
    if "repeat" not in latency:
        latency = latency.assign(repeat=0)
    samples = pd.concat(
        [
            part.assign(**_MEANINGLESS[str(kind)])
            for kind, part in latency.groupby("kind", sort=True)
        ]
    )
    axes = samples.groupby(["kind", *_AXES], sort=True)
    usual = samples[usual_visits(samples, axes.ngroup().to_numpy())]
    return (
        usual.groupby(["kind", *_AXES], sort=True)["seconds"]
        .agg(seconds="mean", samples="size")
        .reset_index()
    )


def _at(grid: _Grid, n_tokens: int, context: int, reuse: int) -> float | None:
    """Return the seconds at one context, from what was measured around it.

    Where a walk that comes back soon was not measured, the next longer one stands for it, never a
    shorter one for a longer. Return None where n_tokens lies outside what was measured.
    """
    exact = _at_tokens(grid.get(reuse, {}), n_tokens, context)
    if exact is not None:
        return exact
    by_reuse = {
        measured: seconds
        for measured, lines in grid.items()
        if (seconds := _at_tokens(lines, n_tokens, context)) is not None
    }
    if not by_reuse or max(by_reuse) < min(reuse, max(grid)):
        return None
    return _Line.through(by_reuse).value(reuse)


def _at_tokens(lines: Mapping[int, _Line], n_tokens: int, context: int) -> float | None:
    """Return the seconds of n_tokens at one context and reuse.

    Return None where n_tokens lies outside the batches that were measured there.
    """
    if n_tokens in lines and lines[n_tokens].covers(context):
        return lines[n_tokens].value(context)
    by_tokens = {n: line.value(context) for n, line in lines.items() if line.covers(context)}
    if not by_tokens or not min(by_tokens) <= n_tokens <= max(by_tokens):
        return None
    return _Line.through(by_tokens).value(n_tokens)
