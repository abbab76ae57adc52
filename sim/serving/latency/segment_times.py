"""What a step of a server with early exits takes: one segment, and what its rows then ask.

A step runs some layers on tokens of many sequences, and then asks gates, a head or the last layer
about some of them, each by one product over all rows that ask. So its time is a sum of pieces:
layers by tokens, attention by its own law, products by rows, and what the host takes.

Tokens that waited behind an early exit are computed several at once. Keys and values of their
sequence are read once for all of them: they attend as one token does, and take what several tokens
of one sequence were measured to take more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.latency.attention_times import AttentionTimes, one_chunk
from adadecode.sim.serving.latency.step_times import Line, median_lines
from adadecode.sim.serving.latency.unequal_contexts import Contexts, UnequalContexts
from adadecode.sim.serving.scheduling.step import Chunk, StepWork


@dataclass(slots=True)
class SegmentWork:
    """What the time of a step depends on.

    Attributes:
        segment: The segment that it runs.
        n_layers: How many layers that has.
        prompts: Parts of prompts.
        waiting: For each sequence that decodes, its tokens and the positions before them.
        gates: Rows that a gate is asked about.
        checks: Rows that a head is asked about.
        verified: Rows that the last layer is asked about.
        goes_on: Whether it follows the segment below without the host, of the same rows, as they
            asked nothing there.
    """

    segment: int
    n_layers: int
    prompts: StepWork = field(default_factory=StepWork)
    waiting: list[Chunk] = field(default_factory=list)
    gates: int = 0
    checks: int = 0
    verified: int = 0
    goes_on: bool = False

    @property
    def n_tokens(self) -> int:
        """Tokens of the step."""
        return self.prompts.n_tokens + sum(one.n_tokens for one in self.waiting)

    @property
    def n_sequences(self) -> int:
        """Sequences of the step."""
        return self.prompts.n_sequences + len(self.waiting)


@dataclass(frozen=True, kw_only=True)
class TypicalStep:
    """A step of so many sequences on average, to be priced before it happens.

    Attributes:
        first: Whether it runs the first segment.
        n_layers: Layers that it runs.
        sequences: Sequences that decode.
        tokens: Tokens of each of them.
        context: Positions before them.
        prompt: Tokens of a prompt beside them.
        gates: Rows that a gate is asked about.
        checks: Rows that a head is asked about.
        verified: Rows that the last layer is asked about.
    """

    first: bool
    n_layers: int
    sequences: float
    tokens: float
    context: float
    prompt: float = 0.0
    gates: float = 0.0
    checks: float = 0.0
    verified: float = 0.0


@dataclass(kw_only=True, eq=False)
class SegmentTimes:
    """Prices the steps of a server with early exits. Build it with `of`.

    Attributes:
        layer: Seconds of one layer without attention, by tokens.
        ends: Seconds of embedding and final norm, by tokens.
        choice: Seconds of LM head and sampler, by rows.
        check: Seconds of a check of a head, by rows.
        gate: Seconds of a question to a gate, by rows.
        host: Seconds that a step takes outside the model, by sequences; None for none.
        attention: Attention of one layer.
        unequal: What unequal contexts add to it.
        steps: How many steps were priced.
        beyond: How many of them lie beyond what was measured: in tokens, positions, sequences, or
            the rows that ask something.
    """

    layer: Line
    ends: Line
    choice: Line
    check: Line
    gate: Line
    host: Line | None
    attention: AttentionTimes
    unequal: UnequalContexts
    steps: int = 0
    beyond: int = 0

    @classmethod
    def of(cls, serving: pd.DataFrame, *, unequal_contexts: bool = True) -> SegmentTimes:
        """Return the times of a table ``serving`` that has checks and gates too.

        Args:
            serving: The table.
            unequal_contexts: As in `StepTimes.of`.

        Raises:
            LatencyError: If it lacks a piece of a step.
        """
        lines = median_lines(serving)
        for kind in ("layer", "ends", "choice", "check", "gate"):
            if kind not in lines:
                raise LatencyError(
                    f"wanted times of the kind {kind} in the table serving, got none"
                )
        kinds = serving["kind"]
        return cls(
            layer=lines["layer"],
            ends=lines["ends"],
            choice=lines["choice"],
            check=lines["check"],
            gate=lines["gate"],
            host=lines.get("host"),
            attention=AttentionTimes.of(serving[kinds == "attention"]),
            unequal=UnequalContexts.of(serving[(kinds == "unequal") & unequal_contexts]),
        )

    def __call__(self, work: SegmentWork) -> float:
        """Return the seconds of a step."""
        n_tokens = work.n_tokens
        self.steps += 1
        self.beyond += not (
            n_tokens <= self.layer.last
            and work.gates <= self.gate.last
            and work.checks <= self.check.last
            and work.verified <= self.choice.last
            and self._reaches(work)
        )
        seconds = work.n_layers * (self.layer.at(n_tokens) + self._attention(work))
        if work.segment == 0:
            seconds += self.ends.at(n_tokens)
        if self.host is not None and not work.goes_on:
            seconds += self.host.at(work.n_sequences)
        return seconds + self._asked(work.gates, work.checks, work.verified)

    def typical(self, step: TypicalStep) -> float:
        """Return the seconds of a step of so many sequences on average."""
        n_tokens = step.sequences * step.tokens + step.prompt
        attention = self.attention.at(step.prompt, 0.0, step.sequences, step.context)
        if step.tokens > 1:
            attention += self._several(step.sequences, step.tokens, step.context)
        seconds = step.n_layers * (self.layer.at(n_tokens) + attention)
        if step.first:
            seconds += self.ends.at(n_tokens)
        if self.host is not None:
            seconds += self.host.at(max(step.sequences, 1.0))
        return seconds + self._asked(step.gates, step.checks, step.verified)

    def _asked(self, gates: float, checks: float, verified: float) -> float:
        """Return the seconds of what rows ask."""
        lines = ((self.gate, gates), (self.check, checks), (self.choice, verified))
        return sum(line.at(rows) for line, rows in lines if rows)

    def _attention(self, work: SegmentWork) -> float:
        """Return the seconds of the attention of one layer."""
        chunk, cached = one_chunk(work.prompts.chunks)
        contexts = [*work.prompts.contexts, *(one.cached for one in work.waiting)]
        if not contexts:
            return self.attention.at(chunk, cached, 0, 0)
        seconds = self.unequal.seconds(self.attention, chunk, cached, Contexts.of(contexts))
        several = [one for one in work.waiting if one.n_tokens > 1]
        if several:
            count = len(several)
            tokens = sum(one.n_tokens for one in several) / count
            before = sum(one.cached for one in several) / count
            seconds += self._several(count, tokens, before)
        return seconds

    def _reaches(self, work: SegmentWork) -> bool:
        """Return whether attention was measured of no fewer sequences and positions."""
        chunk, cached = one_chunk(work.prompts.chunks)
        contexts = [*work.prompts.contexts, *(one.cached for one in work.waiting)]
        mean = sum(contexts) / max(len(contexts), 1)
        return self.attention.reaches(chunk, cached, len(contexts), mean) and all(
            self.attention.alone.reaches(one.n_tokens, one.cached, 0, 0)
            for one in work.waiting
            if one.n_tokens > 1
        )

    def _several(self, count: float, tokens: float, cached: float) -> float:
        """Return what sequences take more that compute several tokens each, and not one.

        What does not grow with the positions is paid once, all else by each sequence.
        """
        alone, decode = self.attention.alone, self.attention.decode
        start = alone.at(tokens, 0, 0, 0) - decode.at(0, 0, 1, 0)
        whole = alone.at(tokens, cached, 0, 0) - decode.at(0, 0, 1, cached)
        return max(start, 0.0) + count * max(whole - start, 0.0)
