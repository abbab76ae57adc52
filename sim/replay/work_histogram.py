"""How much work of each kind designs make, which does not depend on hardware."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.core.design import Design
from adadecode.sim.replay.work_columns import KEYS, RUN, SUMS, TALLY


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkHistogram:
    """The work of some designs on some prompts together.

    The columns of its arrays are those of `adadecode.sim.replay.work_columns`.

    Attributes:
        designs: The designs.
        marks: Rising contexts. Work is counted by the interval between two of them, the upper end
            included, with the sum of contexts, so that what is linear in between is priced exactly.
        prefills: Tokens of each prompt.
        keys: The kind of each entry, ``[entries, KEYS]``.
        sums: The counts of each entry, ``[entries, SUMS]``.
        tallies: The counts of each design, ``[designs, TALLY]``.
        drafted: Drafts and accepted ones by head, shallowest first, ``[designs, 2, heads]``; 0
            beyond a design's heads.
    """

    designs: tuple[Design, ...]
    marks: NDArray[np.int64]
    prefills: tuple[int, ...]
    keys: NDArray[np.int64]
    sums: NDArray[np.int64]
    tallies: NDArray[np.int64]
    drafted: NDArray[np.int64]

    def key(self, name: str) -> NDArray[np.int64]:
        """Return one column of keys."""
        return self.keys[:, KEYS.index(name)]

    def sum(self, name: str) -> NDArray[np.int64]:
        """Return one column of sums."""
        return self.sums[:, SUMS.index(name)]

    def tally(self, name: str) -> NDArray[np.int64]:
        """Return one count over all prompts, ``[designs]``.

        ``tokens`` are outputs, the prefill's included; ``tested`` are positions at which at least
        one gate or head was asked; ``differs`` are prompts whose unverified text is not the model's
        own.
        """
        return self.tallies[:, TALLY.index(name)]

    def total(self, kind: int) -> NDArray[np.int64]:
        """Return the pieces of work of one kind, ``[designs]``."""
        which = self.key("kind") == kind
        counts = np.bincount(self.key("design")[which], self.sum("count")[which], len(self.designs))
        return counts.astype(np.int64)

    def __add__(self, other: WorkHistogram) -> WorkHistogram:
        """Add the same designs on other prompts, counted at the same marks.

        An entry may then be there twice.
        """
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
        """Iterate over the entries with the contexts at which their latency must be known.

        These are one end of the interval where all of an entry lies there, and else both.

        Yields:
            The key of an entry, and its contexts.
        """
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
