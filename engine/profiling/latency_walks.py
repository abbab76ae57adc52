"""Latencies in place: each piece of work within a decode, and layers within walks.

A layer looped alone stays in the cache and looks twice as fast as it is. So a layer is only ever
timed within a walk from the embedding down to some depth, done by the decode loop itself. How soon
a walk comes back to a layer (``reuse``) decides whether its weights are still in the cache, so
walks of several depths are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampler, Sampling, TokenSelector, make_token_selector
from adadecode.engine.decoding.scripted import ScriptedDecoding
from adadecode.engine.decoding.sequence import Decoding
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime.timer import Clock
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import (
    WORK_NAMES,
    Check,
    Draft,
    Gate,
    Outcome,
    Run,
    Schedule,
    Verdict,
    Verify,
    Work,
)

Row = dict[str, Any]

Take = Callable[[Outcome], None]
"""Called with the outcome of a piece of work."""


def mark_works(decoding: Decoding, take: Take | None = None) -> tuple[list[str], Clock]:
    """Do all the work of a decoding, and mark a clock before it and after each piece.

    The session of the model's parts is opened here.

    Args:
        decoding: What is to be done.
        take: Called with the outcome of each piece, within its time.

    Returns:
        The kind of each piece, and the clock.
    """
    clock = Clock(*decoding.parts.devices)
    done = []
    with decoding.parts.session():
        clock.mark()
        for work in decoding.steps(None if take is None else lambda _, outcome: take(outcome)):
            clock.mark()
            done.append(WORK_NAMES[type(work)])
    return done, clock


def latency_row(
    kind: str,
    seconds: float,
    repeat: int,
    *,
    layer: int = -1,
    n_tokens: int = 1,
    context: int = 0,
    reuse: int = 0,
) -> Row:
    """Return a row of the table latency.

    Args:
        kind: What was timed: embed, layer, head, gate, verify, prefill or host.
        seconds: How long it took.
        repeat: The number of the visit.
        layer: The layer, or the depth of the head or gate; -1 for other kinds.
        n_tokens: The size of the batch.
        context: How many positions the last token of the batch sees.
        reuse: The depth of the walk.
    """
    return {
        "kind": kind,
        "layer": layer,
        "n_tokens": n_tokens,
        "context": context,
        "reuse": reuse,
        "repeat": repeat,
        "seconds": seconds,
    }


class Walks:
    """Walks from the embedding down to a depth, in the place of a schedule.

    Below depth L, the head there is checked after each walk, as for a token that stays on, and
    before it the gate is asked where there is one. At L, the batch is verified.

    Args:
        depth: Where each walk ends.
        n_layers: The number of layers L.
        tokens: The tokens of the batch, the last one at position ``context - 1``.
        context: How many positions the last token sees.
        checked: Whether there is a head at this depth.
        laps: How many walks there are over the same positions.
        gated: Whether the gate before that head is asked too.
    """

    def __init__(
        self,
        depth: int,
        n_layers: int,
        tokens: Sequence[int],
        context: int,
        *,
        checked: bool,
        laps: int,
        gated: bool = False,
    ) -> None:
        self.boundaries = (0, depth) if depth == n_layers else (0, depth, n_layers)
        self.tokens, self.stop, self.laps = list(tokens), context, laps
        self.checked, self.gated = checked, gated

    def steps(self) -> Generator[Work, Outcome, None]:
        """Yield the work of all laps."""
        start, depth = self.stop - len(self.tokens), self.boundaries[1]
        for _ in range(self.laps):
            yield Run(0, start, self.stop)
            if len(self.boundaries) == 2:
                yield Verify(start, self.stop, tuple(self.tokens[1:]))
            elif self.checked:
                if self.gated:
                    yield Gate(depth, self.stop - 1)
                yield Check(depth, self.stop - 1)


class Walking(Decoding):
    """The decode loop on the batches of `Walks`, whose tokens are known. Use within a session.

    Args:
        parts: The model.
        heads: Its exit heads.
        walks: The work.
        selector: How heads and the last layer choose tokens; greedily where None.
    """

    def __init__(
        self,
        parts: SegmentedModel,
        heads: ExitHeads,
        walks: Walks,
        selector: TokenSelector | None = None,
    ) -> None:
        super().__init__(parts, heads, walks, selector)  # type: ignore[arg-type]  # hands out work as a schedule does
        self.newest = walks.tokens[0]
        self.tokens = torch.tensor([walks.tokens], device=parts.device)
        self.first = walks.stop - len(walks.tokens)
        self.batch_logits: torch.Tensor | None = None
        if (
            isinstance(self.selector, Sampler)
            and walks.boundaries[1] == parts.n_layers
            and len(walks.tokens) > 1
        ):
            self.batch_logits = parts.logits(
                parts.embed(self.tokens[:, :-1], self.first), self.first
            )[0]

    def check_own_text(self) -> None:
        """Check nothing: laps write over one another, and nobody reads what they write."""

    def embed(self, start: int) -> torch.Tensor:
        """Embed the whole batch, at positions that are new to every lap."""
        self.parts.forget()
        return (
            self.parts.embed(self.tokens, start)
            if self.tokens.shape[1] > 1
            else self.parts.embed_one(self.newest, start)
        )

    def draft(self) -> None:
        """Draw a draft after each position of a batch but the last, where texts are sampled.

        The verification to come judges these drafts, as those of heads. They are drawn from what
        follows the embedding: so no head is read on the way, whose weights would then be warm, and
        nothing waits for the device.
        """
        if isinstance(self.selector, Sampler) and self.batch_logits is not None:
            for k, logits in enumerate(self.batch_logits):
                self.selector.drafted(logits, self.first + k)


def walk(
    decoder: AdaDecoder,
    depth: int,
    tokens: Sequence[int],
    context: int,
    laps: int,
    repeat: int,
    sampling: Sampling | None = None,
    *,
    heads: ExitHeads | None = None,
) -> Iterator[Row]:
    """Time walks through the layers [0, depth) in the decode loop.

    One more lap than ``laps`` is walked; the first, cold one is not counted.

    Args:
        decoder: The model with its heads.
        depth: Where each walk ends.
        tokens: The tokens of the batch.
        context: How many positions the last token sees.
        laps: How many walks are timed.
        repeat: The number of the visit.
        sampling: How heads and the last layer choose tokens; greedily where None.
        heads: The heads that are checked; the decoder's own by default.

    Yields:
        Rows of the table latency.
    """
    parts, heads = decoder.parts, decoder.heads if heads is None else heads
    n_tokens, full = len(tokens), depth == parts.n_layers
    checked = not full and depth in heads.transforms
    gated = checked and n_tokens == 1 and heads.gates is not None
    walks = Walks(
        depth, parts.n_layers, tokens, context, checked=checked, laps=laps + 1, gated=gated
    )
    decoding = Walking(parts, heads, walks, make_token_selector(sampling))
    clock = Clock(*parts.devices)
    decoding.clock = clock
    clock.mark()
    for work in decoding.steps():
        if isinstance(work, Run):
            decoding.waiting[1][:-1] = []  # what a real schedule would catch up with later
            decoding.draft()  # in the interval after the last layer, of which nothing is made
        clock.mark()
    intervals = clock.intervals()
    each = len(intervals) // (
        laps + 1
    )  # embedding, layers, what follows the last layer, gate, and head or last layer
    for lap in range(1, laps + 1):
        embedding, *layers = intervals[lap * each : (lap + 1) * each]
        for layer, s in enumerate(layers[:depth]):
            yield latency_row(
                "layer", s, repeat, layer=layer, n_tokens=n_tokens, context=context, reuse=depth
            )
        if full:
            yield latency_row("embed", embedding, repeat, n_tokens=n_tokens)
            yield latency_row("verify", layers[-1], repeat, n_tokens=n_tokens)
        elif checked and n_tokens == 1:
            yield latency_row("head", layers[-1], repeat, layer=depth, reuse=depth)
            if gated:
                yield latency_row("gate", layers[-2], repeat, layer=depth, reuse=depth)


def host_seconds(
    decoder: AdaDecoder, depth: int, context: int, rounds: int, sampling: Sampling | None = None
) -> float:
    """Return the seconds that a piece of work costs outside the model, on average.

    This is the time of a scripted decode, less its layers, embeddings, heads and verifications. It
    is decoded twice, and the first, cold time is not counted: graphs are captured then.

    Args:
        decoder: The model with its heads.
        depth: Where the drafts exit, 0 for vanilla.
        context: Position of the first token.
        rounds: How many rounds are decoded.
        sampling: How heads and the last layer choose tokens; greedily where None.
    """
    _host_seconds(decoder, depth, context, rounds, sampling)
    return _host_seconds(decoder, depth, context, rounds, sampling)


def _host_seconds(
    decoder: AdaDecoder, depth: int, context: int, rounds: int, sampling: Sampling | None
) -> float:
    parts = decoder.parts
    parts.forget()
    design = (
        Design.of("adadecode", gamma=0.5, placement=(depth,)) if depth else Design.of("vanilla")
    )
    schedule = Schedule(
        design=design,
        n_layers=parts.n_layers,
        n_prompt=context,
        first_token=0,
        max_new_tokens=rounds * (design.cap + 1 if depth else 1) + 1,
        sampled=sampling is not None,
    )
    clock = Clock(*parts.devices)

    def outcome_of(work: Work) -> Outcome:
        """Let every token exit at ``depth`` and every draft hold; mark the work before as done."""
        clock.mark()
        if isinstance(work, Check):
            return Draft(confidence=1.0 if work.depth == depth else 0.0, token=0)
        return Verdict(accepted=len(work.drafts), token=0) if isinstance(work, Verify) else None

    decoding = ScriptedDecoding(
        parts, decoder.heads, schedule, outcome_of, make_token_selector(sampling)
    )
    decoding.clock = clock
    clock.mark()
    works = list(decoding.steps())
    clock.mark()
    intervals = iter(clock.intervals())
    host = 0.0
    for work in works:
        if isinstance(work, Run):
            before = next(intervals)  # embedding or concatenation, and the layers' arguments
            host += before if work.segment else 0.0
            for _ in range(decoding.bounds[work.segment], decoding.bounds[work.segment + 1]):
                next(intervals)
            host += next(intervals)
        else:
            next(intervals)
    return (host + sum(intervals)) / len(works)
