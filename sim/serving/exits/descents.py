"""Recorded descents, one by one, and what passes of several sequences through them take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.core.scheduler import Round
from adadecode.sim.serving.exits.expected_rate import LoadPoint, prompt_seconds
from adadecode.sim.serving.latency.segment_times import SegmentTimes, TypicalStep

FEWEST = 8
"""Passes that are made at least, however many sequences run."""

_Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Descents:
    """Descents in the order of their texts. Build it with `of`.

    Attributes:
        tokens: Tokens of each in each segment, ``[descents, segments]``; 0 where it was not run.
        checks: Heads asked behind each segment, likewise.
        gates: Gates asked behind each segment, likewise.
        verified: Rows that the last layer was asked about, ``[descents]``.
        committed: Tokens that were committed, likewise.
    """

    tokens: _Counts
    checks: _Counts
    gates: _Counts
    verified: _Counts
    committed: _Counts

    @classmethod
    def of(cls, rounds: Iterable[Round], boundaries: Sequence[int]) -> Descents:
        """Return the descents of some rounds, one or more.

        Args:
            rounds: The rounds.
            boundaries: The segment boundaries 0..L of their design.
        """
        tokens: list[list[int]] = []
        asked: dict[str, list[list[int]]] = {"checks": [], "gates": []}
        verified: list[int] = []
        committed: list[int] = []
        width = len(boundaries) - 1
        for one in rounds:
            left = {"checks": list(one.checks), "gates": list(one.gates)}
            for segment, count in one.work:
                if segment == 0:
                    for rows in (tokens, *asked.values()):
                        rows.append([0] * width)
                    verified.append(0)
                    committed.append(0)
                tokens[-1][segment] = count
                for kind, depths in left.items():
                    if depths and depths[0] == boundaries[segment + 1]:
                        depths.pop(0)
                        asked[kind][-1][segment] = 1
            verified[-1], committed[-1] = len(one.exits) + 1, one.committed
        return cls(
            tokens=np.array(tokens, dtype=np.int64),
            checks=np.array(asked["checks"], dtype=np.int64),
            gates=np.array(asked["gates"], dtype=np.int64),
            verified=np.array(verified, dtype=np.int64),
            committed=np.array(committed, dtype=np.int64),
        )

    def seconds_per_token(
        self, times: SegmentTimes, layers: Sequence[int], load: LoadPoint
    ) -> float:
        """Return the seconds that a committed token takes, of all sequences together.

        Each sequence begins at a place of its own, all as far from each other, and makes one
        descent in a pass, until all descents were made. What a prompt takes alone where a step runs
        all layers is left out, the same for every design: what it takes more in segments counts.

        Args:
            times: What steps take.
            layers: Layers of each segment.
            load: How many sequences run.
        """
        count, known = load.sequences, len(self.tokens)
        passes = max(known // count, FEWEST)
        begun = np.arange(count) * known // count
        places = (begun + np.arange(passes)[:, None]) % known
        seconds = 0.0
        for segment, n_layers in enumerate(layers):
            for step, times_made in self._steps(places, segment, n_layers, load):
                seconds += times_made * times.typical(step)
        if load.prompt:
            seconds -= passes * prompt_seconds(times, sum(layers), load.prompt)
        return seconds / max(int(self.committed[places].sum()), 1)

    def _steps(
        self, places: _Counts, segment: int, n_layers: int, load: LoadPoint
    ) -> Iterable[tuple[TypicalStep, int]]:
        """Yield the steps of a segment in passes of these descents, and how often each is made."""
        tokens = self.tokens[places, segment]
        last = segment == self.tokens.shape[1] - 1
        sums = [
            (tokens > 0).sum(1),
            tokens.sum(1),
            self.checks[places, segment].sum(1),
            self.gates[places, segment].sum(1),
            last * self.verified[places].sum(1),
        ]
        rows, made = np.unique(np.stack(sums, 1), axis=0, return_counts=True)
        for (running, total, checks, gates, verified), count in zip(
            rows.tolist(), made.tolist(), strict=True
        ):
            if running or load.prompt:
                step = TypicalStep(
                    first=segment == 0,
                    n_layers=n_layers,
                    sequences=running,
                    tokens=total / max(running, 1),
                    context=load.context,
                    prompt=load.prompt,
                    gates=gates,
                    checks=checks,
                    verified=verified,
                )
                yield step, count


PLAIN = Descents(
    tokens=np.ones((1, 1), dtype=np.int64),
    checks=np.zeros((1, 1), dtype=np.int64),
    gates=np.zeros((1, 1), dtype=np.int64),
    verified=np.ones(1, dtype=np.int64),
    committed=np.ones(1, dtype=np.int64),
)
"""The descents of vanilla."""
