"""Several users on one device: between which two bounds the speedup lies.

A simulated device serves one sequence. How far the work of several users falls together depends on
who sends what when, and no recording holds that. So there are two bounds, both of throughput,
against a vanilla that always serves all users in one pass:

together
    The best case. All users write the same text in step: a piece of work on n tokens is one pass
    over n tokens of each. Weights are read once, and every user's keys and values are. What a pass
    over the tokens of all users takes is read from the table.
alone
    The worst case. No two pieces of work of two users ever run together: each user has the device
    to itself in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adadecode.profiles.latency import LatencyTable
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.attention_latency import Attending
from adadecode.sim.limits.time_breakdown import Billing
from adadecode.sim.replay.compiled import CompiledReplay

USERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""How many users are tried.

A KV cache of 64 users fills most devices, and few batches of one token are larger.
"""


@dataclass(frozen=True, kw_only=True)
class Together:
    """Latencies of passes in which several users run together, all at the same context.

    A pass over n tokens of each user is one over users * n tokens that reads the cache of every
    user. It takes what the table holds for users * n tokens, with the attention
    (`adadecode.sim.hardware.attention_latency`) of one pass over n tokens for each user.

    A check of a head has a row for each user, but the table holds a head of a single row. What a
    verification of that number of rows takes more than one of a single row is added: both have the
    same LM head.

    Attributes:
        latency: What passes of a single sequence take.
        attending: What attention takes of that.
        users: How many users run together.
        largest: Tokens beyond which the table holds nothing.
        split: How a larger pass is bounded: as several of at most ``largest`` tokens, one after the
            other, which an engine may always do; or else as one of ``largest`` tokens, as if more
            took no longer.
    """

    latency: LatencyTable
    attending: Attending
    users: int
    largest: int
    split: bool = True

    @cached_property
    def contexts(self) -> tuple[int, ...]:
        """Contexts that the table holds."""
        return self.latency.contexts

    @cached_property
    def reuses(self) -> tuple[int, ...]:
        """Reuses that the table holds."""
        return self.latency.reuses

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """Price decoder layers start..stop-1."""
        if self.users == 1:
            return self.latency.layers(start, stop, n_tokens, context, reuse)
        weights = sum(self._weights(start, stop, n, context, reuse) for n in self._passes(n_tokens))
        return weights + self.users * self.attending.layers(start, stop, n_tokens, context, reuse)

    def _weights(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """Price a pass without its attention, which is the same at any context.

        It is taken from the shortest known context where this one is shorter, as 64 tokens of one
        user are measured at no context below 64.
        """
        at = max(context, min(self.attending.known(n_tokens)))
        return self.latency.layers(start, stop, n_tokens, at, reuse) - self.attending.layers(
            start, stop, n_tokens, at, reuse
        )

    def head(self, depth: int, reuse: int) -> float:
        """Price one check for every user."""
        return self.latency.head(depth, reuse) + max(0.0, self.verify(1) - self.latency.verify(1))

    def gate(self, depth: int) -> float:
        """Price one question to a gate for every user: a row each of a product that is all host."""
        return self.latency.gate(depth)

    def verify(self, n_tokens: int) -> float:
        """Price the verification of n_tokens rows of every user."""
        return sum(map(self.latency.verify, self._passes(n_tokens)))

    def embed(self, n_tokens: int) -> float:
        """Price the embedding of n_tokens of every user."""
        return sum(map(self.latency.embed, self._passes(n_tokens)))

    def prefill(self, n_tokens: int) -> float:
        """Price the prefill of one prompt after the other."""
        return self.users * self.latency.prefill(n_tokens)

    def host(self) -> float:
        """Price the host's work, once for all users."""
        return self.latency.host()

    def _passes(self, n_tokens: int) -> list[int]:
        tokens = self.users * n_tokens
        if self.users == 1 or tokens <= self.largest:
            return [tokens]
        if not self.split:
            return [self.largest]
        whole, rest = divmod(tokens, self.largest)
        return [self.largest] * whole + [rest] * (rest > 0)


@dataclass(frozen=True, kw_only=True)
class Load:
    """The speedup for several users at once.

    Attributes:
        users: How many users.
        tokens: Tokens of the largest pass in the best case.
        together: Lower and upper bound of the speedup in the best case; equal where the table holds
            every pass.
        alone: The speedup in the worst case.
    """

    users: int
    tokens: int
    together: tuple[float, float]
    alone: float


def loads(
    replay: CompiledReplay,
    prompts: Sequence[int],
    design: Design,
    latency: LatencyTable,
    wider: LatencyTable | None = None,
    *,
    window: int | tuple[int, ...] | None = None,
) -> Iterator[Load]:
    """Yield the speedup for every number of users that the tables hold vanilla's passes for.

    Args:
        replay: The text, compiled.
        prompts: Which prompts to replay.
        design: The design.
        latency: What work takes for one user.
        wider: The same for several users; by default ``latency``.
        window: Positions that a layer of the model sees at most, for `Attending`.

    Raises:
        LatencyError: If a latency is not known.
    """
    shared = wider or latency
    largest, attending = largest_batch(shared), Attending(shared, window)

    def tpots(users: int, *, split: bool) -> tuple[float, float, int]:
        table = latency if users == 1 else shared
        together = Together(
            latency=table, attending=attending, users=users, largest=largest, split=split
        )
        bill = Billing.of(replay, prompts, together, design.cap + 1).bill([design])
        return (*(bill.tpots / users).tolist(), int(bill.work.key("n_tokens").max()))

    _, lonely, most = tpots(1, split=True)
    for users in (users for users in USERS if users <= largest):
        vanilla, slow, _ = tpots(users, split=True)
        fast = slow if users * most <= largest else tpots(users, split=False)[1]
        yield Load(
            users=users,
            tokens=users * most,
            together=(vanilla / slow, vanilla / fast),
            alone=vanilla / lonely,
        )


def largest_batch(latency: LatencyTable) -> int:
    """Return the most tokens at once that a pass was measured with.

    Every layer must have been measured after a walk of the whole stack, and so must the embedding
    and the verification.
    """
    points = latency.points
    layers = points[(points["kind"] == "layer") & (points["reuse"] == max(latency.reuses))]
    others = points[points["kind"].isin(["verify", "embed"])]
    return int(
        np.concatenate(
            [
                part.groupby(by)["n_tokens"].max()
                for part, by in ((layers, "layer"), (others, "kind"))
            ]
        ).min()
    )
