"""Several users on one device: between which two bounds the speedup lies.

A simulated device serves one sequence; how far the work of several falls together depends on who asks what when, and no recording says it. So two bounds,
both of throughput, against a vanilla that always serves all users in one pass:

together  The best case. All users write the same text in step: a piece of work on n tokens is one pass over n tokens of each. Weights are read once,
          every user's keys and values are. What a pass over so many tokens takes is the table's answer.
alone     The worst case. No two pieces of work of two users ever run together: each user has the device to itself in turn.
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
"""How many are tried. A KV cache of 64 users fills most devices, and few batches of one token are larger."""


@dataclass(frozen=True, kw_only=True)
class Together:
    """Latencies of passes in which ``users`` run together, each as many tokens as are asked for, all at the same context.

    A pass over n tokens of each is one over users * n tokens that reads users caches: the table's answer for so many tokens, where attending
    (`adadecode.sim.hardware.attention_latency`) is that of users passes over n tokens. A check of a head is one over so many rows; of heads the table knows one row alone, so it takes
    longer by as much as a verification of so many rows takes longer than of one: their LM head is the same.

    Beyond ``largest`` tokens the table has no answer. Then split says how a pass is bounded: as several of at most largest tokens each, one
    after the other, which an engine may always do; or else as one of largest tokens, as if more took no longer.
    """

    latency: LatencyTable
    attending: Attending
    users: int
    largest: int
    split: bool = True

    @cached_property
    def contexts(self) -> tuple[int, ...]:
        """The table's."""
        return self.latency.contexts

    @cached_property
    def reuses(self) -> tuple[int, ...]:
        """The table's."""
        return self.latency.reuses

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """Decoder layers start..stop-1."""
        if self.users == 1:
            return self.latency.layers(start, stop, n_tokens, context, reuse)
        weights = sum(self._weights(start, stop, n, context, reuse) for n in self._passes(n_tokens))
        return weights + self.users * self.attending.layers(start, stop, n_tokens, context, reuse)

    def _weights(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """What a pass takes besides attending: the same at any context.

        Taken from the shortest known one where this one is shorter, for one user's 64 tokens are measured at no context below 64.
        """
        at = max(context, min(self.attending.known(n_tokens)))
        return self.latency.layers(start, stop, n_tokens, at, reuse) - self.attending.layers(
            start, stop, n_tokens, at, reuse
        )

    def head(self, depth: int, reuse: int) -> float:
        """One check for every user."""
        return self.latency.head(depth, reuse) + max(0.0, self.verify(1) - self.latency.verify(1))

    def verify(self, n_tokens: int) -> float:
        """Of n_tokens rows of every user."""
        return sum(map(self.latency.verify, self._passes(n_tokens)))

    def embed(self, n_tokens: int) -> float:
        """Of n_tokens of every user."""
        return sum(map(self.latency.embed, self._passes(n_tokens)))

    def prefill(self, n_tokens: int) -> float:
        """One prompt after the other."""
        return self.users * self.latency.prefill(n_tokens)

    def host(self) -> float:
        """Once for all users."""
        return self.latency.host()

    def _passes(self, n_tokens: int) -> list[int]:
        asked = self.users * n_tokens
        if self.users == 1 or asked <= self.largest:
            return [asked]
        if not self.split:
            return [self.largest]
        whole, rest = divmod(asked, self.largest)
        return [self.largest] * whole + [rest] * (rest > 0)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What so many users would have of it.

    tokens: of the largest pass in the best case. together: lower and upper bound of the speedup there, the same where the table knows every pass.
    alone: the speedup in the worst case.
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
    window: int | None = None,
) -> Iterator[Load]:
    """As many users as the tables know vanilla's passes for. latency: of one user; wider: of several, the same by default.

    window: of the model, for `Attending`. Raises LatencyError.
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
    """The most tokens at once of which every layer was measured after a walk of the whole stack, and the embedding and verification with them."""
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
