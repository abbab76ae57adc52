"""What a step of a server takes, from the pieces that were measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pandas as pd

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.latency.attention_times import AttentionTimes, one_chunk
from adadecode.sim.serving.latency.unequal_contexts import Contexts, UnequalContexts
from adadecode.sim.serving.scheduling.step import StepWork


@dataclass(kw_only=True, eq=False)
class StepTimes:
    """Prices steps. Build it with `of`.

    Attributes:
        n_layers: Layers, all alike.
        by_tokens: Seconds of all layers without attention, embedding and final norm, by tokens.
        by_sequences: Seconds of LM head and sampler, by sequences.
        host: Seconds that a step takes outside the model, by sequences; None for none.
        attention: Attention of one layer.
        unequal: What unequal contexts add to it.
        steps: How many steps were priced.
        beyond: How many of them lie beyond what was measured.
    """

    n_layers: int
    by_tokens: Line
    by_sequences: Line
    host: Line | None
    attention: AttentionTimes
    unequal: UnequalContexts
    steps: int = 0
    beyond: int = 0

    @classmethod
    def of(
        cls, serving: pd.DataFrame, n_layers: int, *, unequal_contexts: bool = True
    ) -> StepTimes:
        """Return the times of a table ``serving``.

        Args:
            serving: The table.
            n_layers: Layers of the model.
            unequal_contexts: Whether sequences of unequal lengths take more than equal ones, where
                that was measured.

        Raises:
            LatencyError: If it lacks a piece of a step.
        """
        kinds = {str(kind): rows for kind, rows in serving.groupby("kind")}
        for kind in ("layer", "ends", "choice", "attention"):
            if kind not in kinds:
                raise LatencyError(
                    f"wanted times of the kind {kind} in the table serving, got none"
                )
        layer, ends, choice = (_medians(kinds[kind]) for kind in ("layer", "ends", "choice"))
        whole = {n: n_layers * layer[n] + ends[n] for n in layer.keys() & ends.keys()}
        if not whole:
            raise LatencyError("wanted layers and ends of as many tokens in the table serving")
        return cls(
            n_layers=n_layers,
            by_tokens=Line.of(whole),
            by_sequences=Line.of(choice),
            host=Line.of(_medians(kinds["host"])) if "host" in kinds else None,
            attention=AttentionTimes.of(kinds["attention"]),
            unequal=UnequalContexts.of(
                kinds["unequal"] if unequal_contexts and "unequal" in kinds else serving.iloc[:0]
            ),
        )

    def __call__(self, work: StepWork) -> float:
        """Return the seconds of a step."""
        chunk, cached = one_chunk(work.chunks)
        if work.contexts:
            contexts = Contexts.of(work.contexts)
            attention = self.unequal.seconds(self.attention, chunk, cached, contexts)
            reached = self.attention.reaches(chunk, cached, contexts.n_decode, contexts.mean)
        else:
            attention = self.attention.at(chunk, cached, 0, 0)
            reached = self.attention.reaches(chunk, cached, 0, 0)
        n_tokens, n_sequences = work.n_tokens, work.n_sequences
        self.steps += 1
        self.beyond += not (
            reached and n_tokens <= self.by_tokens.last and n_sequences <= self.by_sequences.last
        )
        return (
            self.by_tokens.at(n_tokens)
            + self.n_layers * attention
            + self.by_sequences.at(n_sequences)
            + (0.0 if self.host is None else self.host.at(n_sequences))
        )

    def decoding(self, contexts: Sequence[int], n_steps: int) -> list[float]:
        """Return the seconds of steps that follow each other, each sequence with one token.

        Args:
            contexts: For each sequence, the positions before its token in the first step. It has
                one more in every step that follows.
            n_steps: How many steps.
        """
        count, total = len(contexts), sum(contexts)
        tokens, sequences = self.by_tokens.at(count), self.by_sequences.at(count)
        host = 0.0 if self.host is None else self.host.at(count)
        layers = self.n_layers
        if self.unequal.alone is None:
            means = [one / count for one in range(total, total + count * n_steps, count)]
            found = self.attention.decoding(count, means)
            return [tokens + layers * one + sequences + host for one in found]
        groups = islice(Contexts.rising(contexts), n_steps)
        seconds = self.unequal.seconds
        return [
            tokens + layers * seconds(self.attention, 0, 0, one) + sequences + host
            for one in groups
        ]

    def count(self, contexts: Sequence[int], n_steps: int) -> None:
        """Count so many of these steps as priced."""
        count, total = len(contexts), sum(contexts)
        within = count <= self.by_tokens.last and count <= self.by_sequences.last

        def reached(step: int) -> bool:
            return within and self.attention.reaches(0, 0, count, (total + count * step) / count)

        self.steps += n_steps
        if not reached(n_steps - 1):  # nor any step before, or from one on
            self.beyond += sum(not reached(step) for step in range(n_steps))


@dataclass(frozen=True, kw_only=True)
class Line:
    """Seconds by a number, on straight lines between what was measured.

    Below it the first time holds, and beyond it the time per piece of the last one.

    Attributes:
        last: The largest number that was measured.
        marks: The numbers, rising.
        seconds: Their times.
    """

    last: int
    marks: tuple[int, ...]
    seconds: tuple[float, ...]
    _known: dict[float, float] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, seconds: Mapping[int, float]) -> Line:
        """Return the line through some times, one or more."""
        marks = tuple(sorted(seconds))
        return cls(last=marks[-1], marks=marks, seconds=tuple(seconds[one] for one in marks))

    def at(self, count: float) -> float:
        """Return the seconds of so many."""
        found = self._known.get(count)
        if found is None:
            found = float(np.interp(count, self.marks, self.seconds))
            if count > self.last:
                found *= count / self.last
            self._known[count] = found
        return found


def median_lines(serving: pd.DataFrame) -> dict[str, Line]:
    """Return a line for each kind of a table ``serving`` that has a time by number of tokens."""
    return {
        str(kind): Line.of(_medians(rows))
        for kind, rows in serving.groupby("kind")
        if kind not in ("attention", "unequal")
    }


def _medians(rows: pd.DataFrame) -> dict[int, float]:
    """Return the median of the seconds by number of tokens."""
    found = rows.groupby("n_tokens")["seconds"].median()
    return dict(zip(found.index.tolist(), found.tolist(), strict=True))
