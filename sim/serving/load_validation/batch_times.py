"""What the steps of our batched engine take, from steps that were timed in pieces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from adadecode.profiles.errors import LatencyError
from adadecode.sim.core.scheduler import Check, Gate, Verify
from adadecode.sim.serving.batching.attention_groups import group_key
from adadecode.sim.serving.batching.batcher import Question
from adadecode.sim.serving.batching.recorded_load import RECORD, LoadRun
from adadecode.sim.serving.load_validation.simulate import StepAsked

Array = NDArray[np.float64]

ASKED: dict[type, str] = {Gate: "gates", Check: "checks", Verify: "verified"}
"""The column of the table ``load_pieces`` that counts rows of each kind of question."""

_FINER = 2.0
"""Bins of sizes for each power of two."""


class Part(NamedTuple):
    """The part of one sequence in a step.

    Attributes:
        rows: Positions that are computed.
        stop: The position after the last.
        n_prompt: Tokens of its prompt.
    """

    rows: int
    stop: int
    n_prompt: int


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchTimes:
    """Prices steps of one engine, as it was set. Build it with `of`.

    Attributes:
        segments: What a segment takes, by its number.
        asked: Seconds by the rows that are asked, by kind.
        wake: Seconds until an idle engine begins with what arrives.
        block_size: Positions of a block.
    """

    segments: Mapping[int, SegmentTimes]
    asked: Mapping[str, SizeLine]
    wake: float
    block_size: int

    @classmethod
    def of(cls, pieces: pd.DataFrame, block_size: int) -> BatchTimes:
        """Return the times of an engine.

        Args:
            pieces: Rows of the table ``load_pieces`` that were timed with its settings.
            block_size: Positions of a block.

        Raises:
            LatencyError: There is none.
        """
        if pieces.empty or pieces["wake_s"].isna().all():
            raise LatencyError(f"wanted steps that were timed in pieces, got none: {RECORD}")
        asked = {}
        for kind in ASKED.values():
            rows = pieces[pieces[kind] > 0]
            if len(rows):
                asked[kind] = SizeLine.of(rows[kind], rows[f"{kind}_s"])
        return cls(
            segments={
                segment: SegmentTimes.of(pieces[pieces["segment"] == segment], block_size)
                for segment in sorted(set(pieces["segment"].tolist()))
            },
            asked=asked,
            wake=float(pieces["wake_s"].median()),
            block_size=block_size,
        )

    def pricer(self, run: LoadRun) -> Pricer:
        """Return what prices the steps of a run."""
        lengths = {one.request.name: one.request.n_prompt for one in run.served}
        return Pricer(times=self, n_prompts=lengths)


@dataclass(frozen=True, kw_only=True)
class Pricer:
    """Prices the steps of one run.

    Attributes:
        times: What pieces take.
        n_prompts: Tokens of the prompt of each request.
    """

    times: BatchTimes
    n_prompts: Mapping[str, int]

    def __call__(self, step: StepAsked) -> float:
        """Return the seconds of a step. Raises LatencyError for what was never timed."""
        times, batch = self.times, step.batch
        parts = [
            Part(one.stop - one.start, one.stop, self.n_prompts[one.name]) for one in batch.spans
        ]
        if batch.segment not in times.segments:
            raise LatencyError(f"wanted times of segment {batch.segment}, got none: {RECORD}")
        seconds = times.segments[batch.segment].at(parts, times.block_size)
        for questions in step.asked:
            kind = ASKED[type(questions[0][1])]
            if kind not in times.asked:
                raise LatencyError(f"wanted times of {kind}, got none: {RECORD}")
            seconds += times.asked[kind].at(sum(_rows_of(work) for _, work in questions))
        return seconds + times.wake * step.woken


def _rows_of(work: Question) -> int:
    return work.stop - work.start if isinstance(work, Verify) else 1


@dataclass(frozen=True, kw_only=True)
class SizeLine:
    """Seconds by a number of rows: straight lines between the means of bins of sizes.

    Attributes:
        sizes: Mean size of each bin, rising.
        seconds: Mean of the middle half of its times.
    """

    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, sizes: Iterable[float], seconds: Iterable[float]) -> SizeLine:
        """Return the line through samples, one or more."""
        bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for size, one in zip(sizes, seconds, strict=True):
            bins[round(_FINER * np.log2(max(size, 1)))].append((float(size), float(one)))
        points = [np.array(bins[key]) for key in sorted(bins)]
        return cls(
            sizes=tuple(float(one[:, 0].mean()) for one in points),
            seconds=tuple(middle_mean(one[:, 1]) for one in points),
        )

    def at(self, size: float) -> float:
        """Return the seconds of a size; beyond the last bin they grow as the size does."""
        found = float(np.interp(size, self.sizes, self.seconds))
        return found * max(1.0, size / self.sizes[-1])


@dataclass(frozen=True, kw_only=True)
class SegmentTimes:
    """What one segment takes.

    Attributes:
        embed: Of the embedding, by rows.
        layers: Of its layers without attention, by rows.
        attention: Weights of `attention_terms`.
        host: Weights of 1, the sequences and the rows.
    """

    embed: SizeLine
    layers: SizeLine
    attention: tuple[float, ...]
    host: tuple[float, ...]

    @classmethod
    def of(cls, pieces: pd.DataFrame, block_size: int) -> SegmentTimes:
        """Return the times of the segment that these steps ran."""
        steps = [parts_of(row) for row in pieces.to_dict("records")]
        rows = [sum(part.rows for part in parts) for parts in steps]
        terms = np.array([attention_terms(parts, block_size) for parts in steps])
        return cls(
            embed=SizeLine.of(rows, pieces["embed_s"]),
            layers=SizeLine.of(rows, pieces["layers_s"]),
            attention=_weights(terms, pieces["attention_s"].to_numpy(dtype=np.float64)),
            host=_weights(
                np.array([_host_terms(parts) for parts in steps]),
                pieces["host_s"].to_numpy(dtype=np.float64),
            ),
        )

    def at(self, parts: Sequence[Part], block_size: int) -> float:
        """Return the seconds of a step but for what is asked after it."""
        rows = sum(part.rows for part in parts)
        attention = np.dot(self.attention, attention_terms(parts, block_size))
        host = np.dot(self.host, _host_terms(parts))
        return self.embed.at(rows) + self.layers.at(rows) + float(attention + host)


def parts_of(row: Mapping[Any, Any]) -> list[Part]:
    """Return the parts of the sequences of a row of the table ``load_pieces``."""
    return list(map(Part, row["rows"], row["stops"], row["n_prompts"]))


def attention_terms(parts: Sequence[Part], block_size: int) -> list[float]:
    """Return what attention of a step grows with.

    These are 1, the rows; of sequences that attend together the groups, and the slots and scores
    with their padding; and of those that attend by themselves how many there are, their slots, and
    their pairs of a row and a slot.
    """
    groups: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for place, part in enumerate(parts):
        start = part.stop - part.rows
        for first, stop, prompt in (
            (start, min(part.stop, part.n_prompt), True),
            (max(start, part.n_prompt), part.stop, False),
        ):
            if stop > first:
                blocks = -(-stop // block_size)
                key = group_key(stop - first, blocks, prompt=prompt, place=place)
                groups[key].append((stop - first, blocks))
    together = slots = scores = alone = own_slots = pairs = 0.0
    for key, members in groups.items():
        rows = max(one for one, _ in members)
        padded = len(members) * max(blocks for _, blocks in members) * block_size
        if key.alone is None:
            together += 1
            slots += padded
            scores += padded * rows
        else:
            alone += 1
            own_slots += padded
            pairs += rows * (padded - rows / 2)
    total = float(sum(part.rows for part in parts))
    return [1.0, total, together, slots, scores, alone, own_slots, pairs]


def _host_terms(parts: Sequence[Part]) -> list[float]:
    return [1.0, float(len(parts)), float(sum(part.rows for part in parts))]


def _weights(terms: Array, seconds: Array) -> tuple[float, ...]:
    """Return weights of terms, none below 0, that miss times by the least relative errors.

    Times far off are left out of a second fit: the machine was disturbed.
    """
    scale = np.maximum(seconds, max(float(np.median(seconds)) / 10, 1e-9))
    found, _ = nnls(terms / scale[:, None], seconds / scale)
    errors = np.abs(terms @ found / scale - seconds / scale)
    usual = errors <= np.quantile(errors, 0.95)
    found, _ = nnls(terms[usual] / scale[usual, None], seconds[usual] / scale[usual])
    return tuple(found.tolist())


def middle_mean(values: Array) -> float:
    """Return the mean of the middle half of some values (decision 0008)."""
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
