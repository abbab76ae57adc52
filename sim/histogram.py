"""How much work of which kind a design makes: the part of a what-if that does not depend on hardware. Priced as a dot product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.design import Design
from sim.pricing import Latencies

RUN, CHECK, VERIFY = 0, 1, 2
_BITS = {"kind": 4, "place": 12, "n_tokens": 12, "reuse": 12, "context": 22}  # 62 in all, highest first


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts of one prompt. tokens: outputs, the prefill's included. tested: positions that at least one head was asked about.

    drafts, accepted: by head, shallowest first. differs: whether an unverified text is not the model's own.
    """

    rounds: int
    tokens: int
    tested: int
    checks: int
    drafts: tuple[int, ...]
    accepted: tuple[int, ...]
    differs: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkHistogram:
    """What one design does on some prompts, as `sim.pricing.Pricer` tells work apart.

    Arrays with one entry for each prompt and kind of work: prompt (its place in ``prompts``); kind (RUN, CHECK, VERIFY); place (segment, or depth of a
    head); n_tokens; context; reuse (0 where it means nothing); count; modelled (how many of them in rounds that rest on drawn branches).
    n_prompt: tokens of each prompt.
    """

    design: Design
    boundaries: tuple[int, ...]
    prompts: tuple[int, ...]
    n_prompt: tuple[int, ...]
    tallies: tuple[Tally, ...]
    prompt: NDArray[np.int64]
    kind: NDArray[np.int64]
    place: NDArray[np.int64]
    n_tokens: NDArray[np.int64]
    reuse: NDArray[np.int64]
    context: NDArray[np.int64]
    count: NDArray[np.float64]
    modelled: NDArray[np.float64]

    def total(self, kind: int) -> float:
        """Pieces of work of one kind."""
        return float(self.count[self.kind == kind].sum())


def pack(kind: int, place: int, n_tokens: int, reuse: int, context: int) -> int:
    """One piece of work as a number. As the compiled replay keeps it; `unpack` undoes it."""
    return (((kind << 12 | place) << 12 | n_tokens) << 12 | reuse) << 22 | context


def unpack(keys: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The columns of packed pieces of work."""
    columns: dict[str, NDArray[np.int64]] = {}
    for name, bits in reversed(_BITS.items()):
        columns[name], keys = keys & ((1 << bits) - 1), keys >> bits
    return columns


@dataclass(frozen=True, kw_only=True)
class Priced:
    """Seconds of each prompt's decoding, and of its rounds that rest on drawn branches."""

    seconds: NDArray[np.float64]
    modelled: NDArray[np.float64]


@dataclass(kw_only=True)
class Pricing:
    """Prices histograms with one device's latencies; what was priced once is kept. contexts: where latencies bend; straight in between.

    Raises what the latencies raise for work that was not measured.
    """

    latency: Latencies
    contexts: Sequence[int]
    _known: dict[tuple[int, ...], float] = field(default_factory=dict, init=False, repr=False)

    def price(self, work: WorkHistogram) -> Priced:
        """Seconds of all this work."""
        seconds = np.empty(len(work.kind))
        runs = work.kind == RUN
        seconds[~runs] = self._others(work, ~runs)
        if runs.any():
            seconds[runs] = self._runs(work, runs)
        return Priced(seconds=_per_prompt(work, seconds * work.count), modelled=_per_prompt(work, seconds * work.modelled))

    def _others(self, work: WorkHistogram, which: NDArray[np.bool_]) -> list[float]:
        rows = zip(*(column[which].tolist() for column in (work.kind, work.place, work.n_tokens, work.reuse)), strict=True)
        return [self._asked(*row) for row in rows]

    def _asked(self, kind: int, place: int, n_tokens: int, reuse: int) -> float:
        key = (kind, place, n_tokens, reuse)
        if key not in self._known:
            latency = self.latency
            self._known[key] = (latency.head(place, reuse) if kind == CHECK else latency.verify(n_tokens)) + latency.host()
        return self._known[key]

    def _runs(self, work: WorkHistogram, which: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Runs lie between two contexts at which latencies bend, nearer to the one or the other."""
        context = work.context[which]
        marks = np.unique([*self.contexts, context.min(), context.max()])
        above = np.clip(np.searchsorted(marks, context), 1, len(marks) - 1) if len(marks) > 1 else np.zeros(len(context), dtype=np.int64)
        below = np.maximum(above - 1, 0)
        width = np.maximum(marks[above] - marks[below], 1)
        share = (context - marks[below]) / width
        segment, n_tokens, reuse = (column[which].tolist() for column in (work.place, work.n_tokens, work.reuse))
        low = [self._run(work.boundaries, *row) for row in zip(segment, n_tokens, marks[below].tolist(), reuse, strict=True)]
        high = [self._run(work.boundaries, *row) for row in zip(segment, n_tokens, marks[above].tolist(), reuse, strict=True)]
        return np.asarray(low, dtype=np.float64) * (1 - share) + np.asarray(high, dtype=np.float64) * share  # type: ignore[no-any-return]

    def _run(self, boundaries: tuple[int, ...], segment: int, n_tokens: int, context: int, reuse: int) -> float:
        start, stop = boundaries[segment], boundaries[segment + 1]
        key = (start, stop, n_tokens, context, reuse)
        if key not in self._known:
            latency = self.latency
            embedding = latency.embed(n_tokens) if segment == 0 else 0.0
            self._known[key] = latency.layers(start, stop, n_tokens, context, reuse) + embedding + latency.host()
        return self._known[key]


def _per_prompt(work: WorkHistogram, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(len(work.prompts))
    np.add.at(sums, work.prompt, seconds)
    return sums
