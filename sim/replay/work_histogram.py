"""How much work of which kind designs make: the part of a what-if that does not depend on hardware."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.core.design import Design
from adadecode.sim.replay.work_columns import KEYS, RUN, SUMS, TALLY


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkHistogram:
    """What some designs do on some prompts together.

    marks: rising contexts; work is told apart by the interval between two of them, the upper end included, and the sum of contexts is kept, so that
    whatever is linear in between is priced exactly. keys: [entries, `adadecode.sim.replay.work_columns.KEYS`]; sums: [entries, `adadecode.sim.replay.work_columns.SUMS`]. tallies: [designs,
    `adadecode.sim.replay.work_columns.TALLY`]. drafted: [designs, 2, heads] drafts and those accepted, by head, shallowest first; 0 beyond a design's heads.
    prefills: tokens of each prompt.
    """

    designs: tuple[Design, ...]
    marks: NDArray[np.int64]
    prefills: tuple[int, ...]
    keys: NDArray[np.int64]
    sums: NDArray[np.int64]
    tallies: NDArray[np.int64]
    drafted: NDArray[np.int64]

    def key(self, name: str) -> NDArray[np.int64]:
        """One column of keys."""
        return self.keys[:, KEYS.index(name)]

    def sum(self, name: str) -> NDArray[np.int64]:
        """One column of sums."""
        return self.sums[:, SUMS.index(name)]

    def tally(self, name: str) -> NDArray[np.int64]:
        """[designs] one count of all prompts.

        tokens: outputs, the prefill's included; tested: positions that at least one head was asked about; differs: prompts whose unverified text is
        not the model's own.
        """
        return self.tallies[:, TALLY.index(name)]

    def total(self, kind: int) -> NDArray[np.int64]:
        """[designs] pieces of work of one kind."""
        which = self.key("kind") == kind
        counts = np.bincount(self.key("design")[which], self.sum("count")[which], len(self.designs))
        return counts.astype(np.int64)

    def __add__(self, other: WorkHistogram) -> WorkHistogram:
        """The same designs on these and other prompts, counted at the same marks; an entry may then be there twice."""
        assert self.designs == other.designs
        assert (self.marks == other.marks).all()
        return replace(
            self,
            prefills=(*self.prefills, *other.prefills),
            keys=np.concatenate([self.keys, other.keys]),
            sums=np.concatenate([self.sums, other.sums]),
            tallies=self.tallies + other.tallies,
            drafted=self.drafted + other.drafted,
        )

    def gaps(self) -> Iterator[tuple[tuple[int, ...], Sequence[int]]]:
        """Every entry as (its key, contexts at which it must be known): one end of its interval where all of it lies there, else both."""
        for key, sums in zip(self.keys.tolist(), self.sums.tolist(), strict=True):
            if key[1] != RUN:
                yield tuple(key), ()
                continue
            low, high = int(self.marks[key[6]]), int(self.marks[key[6] + 1])
            count, context = sums[0], sums[1]
            yield (
                tuple(key),
                [low]
                if context == count * low
                else [high]
                if context == count * high
                else [low, high],
            )
