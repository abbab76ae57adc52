"""What a design does on average: how deep it goes, what it asks, and what is committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Outcome, Round
from adadecode.sim.replay.outcomes import TraceOutcomes
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.request import Request

ENOUGH = 10_000
"""Tokens after which the averages of some requests are known well enough."""


@dataclass(frozen=True, kw_only=True)
class DescentShares:
    """Averages over descents.

    A descent begins at the first layer with one more token, and ends at an exit or the last layer.

    Attributes:
        reach: For each segment, the share of descents that run it.
        tokens: For each segment, the tokens of such a descent there: 1, and those that waited.
        checks: For each segment, the heads asked behind it by a descent.
        gates: For each segment, the gates asked behind it by a descent.
        verified: Rows that the last layer is asked about by a descent.
        committed: Tokens that a descent commits.
        ahead: For each segment, the tokens that a descent which runs it commits, from there on.
    """

    reach: tuple[float, ...]
    tokens: tuple[float, ...]
    checks: tuple[float, ...]
    gates: tuple[float, ...]
    verified: float
    committed: float
    ahead: tuple[float, ...]

    @classmethod
    def of(cls, rounds: Iterable[Round], boundaries: Sequence[int]) -> DescentShares:
        """Return the averages of some rounds, one or more.

        Args:
            rounds: The rounds.
            boundaries: The segment boundaries 0..L of their design.
        """
        runs, tokens = Counter[int](), Counter[int]()
        checks, gates, held = Counter[int](), Counter[int](), Counter[int]()
        committed = verified = 0
        segment_of = {depth: place for place, depth in enumerate(boundaries[1:])}
        for one in rounds:
            for segment, count in one.work:
                runs[segment] += 1
                tokens[segment] += count
            checks.update(segment_of[depth] for depth in one.checks)
            gates.update(segment_of[depth] for depth in one.gates)
            held.update(segment_of[depth] for depth in one.exits[: one.accepted])
            held[len(boundaries) - 2] += one.committed - one.accepted
            verified += len(one.exits) + 1
            committed += one.committed
        descents, places = runs[0], range(len(boundaries) - 1)
        return cls(
            reach=tuple(runs[one] / descents for one in places),
            tokens=tuple(tokens[one] / max(runs[one], 1) for one in places),
            checks=tuple(checks[one] / descents for one in places),
            gates=tuple(gates[one] / descents for one in places),
            verified=verified / descents,
            committed=committed / descents,
            ahead=tuple(
                sum(held[later] for later in places if later >= one) / max(runs[one], 1)
                for one in places
            ),
        )


def rounds_of(texts: Texts, design: Design, requests: Iterable[Request]) -> list[Round]:
    """Return the rounds of requests, each alone, until enough is known of them.

    Args:
        texts: The texts.
        design: The design.
        requests: The requests.

    Raises:
        DesignError: If a head was not trained, or has no gate where one is to be asked.
    """
    trace = texts.trace
    trace.require(design.placement, gates=bool(design.gates))
    rounds: list[Round] = []
    tokens = 0
    for request in requests:
        schedule = texts.schedule(request, design)
        outcomes = TraceOutcomes(trace, texts.text_of(request), schedule, texts.model)
        outcome: Outcome = None
        steps = schedule.steps()
        with suppress(StopIteration):
            while True:
                outcome = outcomes(steps.send(outcome))
        rounds += schedule.rounds
        tokens += len(schedule.tokens)
        if tokens > ENOUGH:
            break
    return rounds
