"""A policy with early exits as the user describes it, and the servers that follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from adadecode.profiles.errors import DesignError, ProfileError, nearest
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.prediction.caveats import hypothetical_notes, luck_notes
from adadecode.sim.serving.batching.segment_order import (
    DEFAULT_AGE_LIMIT,
    ORDERS,
    SegmentOrder,
    Worth,
    segment_order,
)
from adadecode.sim.serving.exits.descent_shares import DescentShares, rounds_of
from adadecode.sim.serving.exits.exit_server import ExitDecoding
from adadecode.sim.serving.exits.expected_rate import LoadPoint, worth
from adadecode.sim.serving.exits.found_exits import FoundExits
from adadecode.sim.serving.exits.load_rule import DraftingByLoad
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.latency.found_segments import find_segments
from adadecode.sim.serving.latency.found_steps import FoundSteps
from adadecode.sim.serving.latency.segment_times import SegmentTimes
from adadecode.sim.serving.request import Request

ADAPTIVE = "adaptive"
"""The policy that drafts by load."""

EXIT_POLICIES = (str(Policy.ADADECODE), str(Policy.FIXED), ADAPTIVE)
"""The policies of servers with early exits."""

ALL_ORDERS = (*ORDERS, "worth")
"""The orders of segments that a simulated server knows."""

MENU = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Gammas that the policy adaptive chooses from, besides the one that is given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExitPolicy:
    """How servers with early exits decode.

    Attributes:
        policy: One of `EXIT_POLICIES`.
        gamma: Confidence that a draft must exceed, one for all heads or one for each.
        heads: Depths of the heads in use; None for all that were trained.
        gate: As ``gamma``, for the gates before the heads; 0 asks none.
        cap: Most drafts in a round.
        order: Which segment runs next, one of `ALL_ORDERS`.
        age_limit: Steps that nobody waits longer than, under the orders ``largest`` and ``worth``.
        trace: The profile whose texts are replayed; None for that of the latencies.
        heads_at: Where each head of the texts stands in the model, by the depth it was trained at.
        seed: What the texts of requests are drawn with, beside the seed of the requests.
    """

    policy: str = str(Policy.ADADECODE)
    gamma: float | Sequence[float] = 0.75
    heads: tuple[int, ...] | None = None
    gate: float | Sequence[float] = 0.0
    cap: int = DEFAULT_CAP
    order: str = "lockstep"
    age_limit: int = DEFAULT_AGE_LIMIT
    trace: Profile | None = None
    heads_at: Mapping[int, int] | None = None
    seed: int = 0

    def design(self, trained: Sequence[int]) -> Design:
        """Return the design; of the policy adaptive, the one that it begins with.

        Args:
            trained: Depths of the heads to use where none are named.

        Raises:
            DesignError: If it makes no sense.
        """
        return self._design(trained, self.gamma)

    def found(
        self,
        profile: Profile | None,
        requests: Sequence[Request],
        steps: FoundSteps,
        *,
        seed: int | None = None,
    ) -> FoundExits:
        """Return how servers decode that answer some requests.

        Args:
            profile: Where the latencies come from; None for a datasheet.
            requests: The requests.
            steps: What steps take.
            seed: What the requests were drawn with, for what is known of their texts in advance;
                None of recorded ones, and of those of several seeds.

        Raises:
            ProfileError: If there is no text to replay.
            DesignError: If the design makes no sense, or needs heads or gates that are not there.
            ShapeError: If heads were not timed, and nobody knows the model.
            LatencyError: If the table lacks a piece of a step.
        """
        texts = self._texts(profile, requests, steps)
        times, notes = find_segments(steps)
        design = self.design(texts.trace.depths)
        texts.trace.require(design.placement, gates=bool(design.gates))
        own = texts.drawn(seed)
        decoding = ExitDecoding(
            design=design,
            texts=texts,
            price=times,
            order=self._order(own, times, design, requests),
            rule=self._rule(own, times, design, requests) if self.policy == ADAPTIVE else None,
        )
        return FoundExits(
            decoding=decoding,
            times=times,
            order=self.order,
            context=_mean_context(requests),
            notes=(*self._text_notes(profile, steps), *notes),
        )

    def _design(self, trained: Sequence[int], gamma: float | Sequence[float]) -> Design:
        if self.policy not in EXIT_POLICIES:
            raise DesignError(
                f"unknown policy of early exits {self.policy!r}: "
                f"{nearest(self.policy, EXIT_POLICIES)}"
            )
        return Design.of(
            Policy.FIXED if self.policy == Policy.FIXED else Policy.ADADECODE,
            gamma=gamma,
            placement=trained if self.heads is None else self.heads,
            cap=self.cap,
            gate=self.gate,
        )

    def _text(self, profile: Profile | None) -> Profile:
        """Return the profile whose texts are replayed."""
        text = self.trace or profile
        if text is None or text.prompts.empty:
            raise ProfileError(
                "early exits are replayed from a recorded text, and there is none where the "
                "latencies are from: name a recording or a synthetic trace with --trace"
            )
        return text

    def _text_notes(self, profile: Profile | None, steps: FoundSteps) -> list[str]:
        """Return what is assumed of the texts, a sentence each."""
        text = self._text(profile)
        origin = Provenance.of(text, None, None)
        notes = [*hypothetical_notes(origin), *luck_notes(origin)]
        theirs, ours = str(text.manifest["model"]["name"]), steps.shape
        if text is not profile and not origin.is_synthetic:
            layers = "the model of the latencies" if ours is None else ours.name
            notes.append(
                f"the texts, and what their heads said, are of {theirs}, the layers of {layers}: "
                "what one of them says the other may not"
            )
        return notes

    def _texts(
        self, profile: Profile | None, requests: Sequence[Request], steps: FoundSteps
    ) -> Texts:
        return Texts.of(
            self._text(profile),
            max(one.n_output for one in requests),
            seed=self.seed,
            heads_at=self.heads_at,
            n_layers=steps.price.n_layers,
        )

    def _rule(
        self, texts: Texts, times: SegmentTimes, design: Design, requests: Sequence[Request]
    ) -> DraftingByLoad:
        """Return what drafts by load: at the given gamma, or another one."""
        bounds = design.boundaries(texts.trace.n_layers)
        others = (self._design(texts.trace.depths, gamma) for gamma in MENU)
        alike = [one for one in others if one.boundaries(texts.trace.n_layers) == bounds]
        return DraftingByLoad.of(texts, times, tuple(dict.fromkeys((design, *alike))), requests)

    def _order(
        self, texts: Texts, times: SegmentTimes, design: Design, requests: Sequence[Request]
    ) -> Callable[[], SegmentOrder]:
        """Return what makes the rule that picks the segment of each step."""
        if self.order not in ALL_ORDERS:
            raise DesignError(
                f"unknown order of segments {self.order!r}: {nearest(self.order, ALL_ORDERS)}"
            )
        if self.order != "worth":
            return lambda: segment_order(self.order, self.age_limit)
        bounds = design.boundaries(texts.trace.n_layers)
        shares = DescentShares.of(rounds_of(texts, design, requests), bounds)
        layers = [stop - start for start, stop in pairwise(bounds)]
        context = _mean_context(requests)
        known: dict[tuple[int, int], float] = {}

        def worth_of(segment: int, count: int) -> float:
            if (segment, count) not in known:
                load = LoadPoint(sequences=count, context=context)
                known[segment, count] = worth(times, shares, layers, load, segment)
            return known[segment, count]

        return lambda: Worth(worth_of, self.age_limit)


def _mean_context(requests: Sequence[Request]) -> float:
    """Return the positions that a request has half way through its answer, on average."""
    return sum(one.n_prompt + one.n_output / 2 for one in requests) / len(requests)
