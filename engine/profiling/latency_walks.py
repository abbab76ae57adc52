"""Work timed in place, and the latencies of the stack in walks.

A layer looped alone stays in the cache and looks twice as fast as it is, so a layer is only ever timed within a walk from the
embedding down to some depth, done by the decode loop itself. How soon a walk comes back to a layer (``reuse``) decides whether its
weights are still in the cache, so walks of several depths are timed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
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
    Outcome,
    Run,
    Schedule,
    Verdict,
    Verify,
    Work,
)

Row = dict[str, Any]


def mark_works(decoding: Decoding) -> tuple[list[str], Clock]:
    """Do all the work, marking a clock before it and after each piece; the kind of each piece. Opens the parts' session."""
    clock = Clock(*decoding.parts.devices)
    done = []
    with decoding.parts.session():
        clock.mark()
        for work in decoding.steps():
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
    """Stands in for a schedule: walks from the embedding down to ``depth``, ``laps`` times over the same positions.

    tokens: the n_tokens of a batch, the last at position ``context`` - 1. Below depth L, the head there is checked after each walk (where
    it has one), as a token that stays on would be; at L, the batch is verified.
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
    ) -> None:
        self.boundaries = (0, depth) if depth == n_layers else (0, depth, n_layers)
        self.tokens, self.stop, self.checked, self.laps = list(tokens), context, checked, laps

    def steps(self) -> Generator[Work, Outcome, None]:
        """The work of all laps."""
        start, depth = self.stop - len(self.tokens), self.boundaries[1]
        for _ in range(self.laps):
            yield Run(0, start, self.stop)
            if len(self.boundaries) == 2:
                yield Verify(start, self.stop, tuple(self.tokens[1:]))
            elif self.checked:
                yield Check(depth, self.stop - 1)


class Walking(Decoding):
    """The decode loop on the batches of `Walks`: everything as when decoding, but the tokens of a batch are known. Use within ``parts.session()``."""

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
        self.said: torch.Tensor | None = None
        if (
            isinstance(self.selector, Sampler)
            and walks.boundaries[1] == parts.n_layers
            and len(walks.tokens) > 1
        ):
            self.said = parts.logits(parts.embed(self.tokens[:, :-1], self.first), self.first)[0]

    def embed(self, start: int) -> torch.Tensor:
        """The whole batch, at positions that are new to every lap."""
        self.parts.forget()
        return (
            self.parts.embed(self.tokens, start)
            if self.tokens.shape[1] > 1
            else self.parts.embed_one(self.newest, start)
        )

    def draft(self) -> None:
        """Draw, where texts are sampled, a draft after each position of a batch but the last, as heads would have: the verification to come judges them.

        From what follows the embedding: no head is read on the way, whose weights would then be warm, and nothing waits for the device.
        """
        if isinstance(self.selector, Sampler) and self.said is not None:
            for k, logits in enumerate(self.said):
                self.selector.drafted(logits, self.first + k)


def walk(
    decoder: AdaDecoder,
    depth: int,
    tokens: Sequence[int],
    context: int,
    laps: int,
    repeat: int,
    sampling: Sampling | None = None,
) -> Iterator[Row]:
    """Walk layers [0, depth) in the decode loop, ``laps`` + 1 times on tokens ending at ``context``; the first, cold lap is not counted.

    sampling: how heads and the last layer choose; greedily without.
    """
    parts = decoder.parts
    n_tokens, full = len(tokens), depth == parts.n_layers
    checked = not full and depth in decoder.heads.transforms
    walks = Walks(depth, parts.n_layers, tokens, context, checked=checked, laps=laps + 1)
    decoding = Walking(parts, decoder.heads, walks, make_token_selector(sampling))
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
    )  # embedding, layers, what follows the last layer, and head or last layer
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


def host_seconds(
    decoder: AdaDecoder, depth: int, context: int, rounds: int, sampling: Sampling | None = None
) -> float:
    """What one piece of work costs outside the model: a scripted decode's time, less its layers, embeddings, heads and verifies.

    It is decoded twice, and the first, cold time is not counted: graphs are captured then. depth: where the drafts exit, 0 for vanilla. context:
    position of the first token. sampling: how heads and the last layer choose; greedily without.
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

    def answers(work: Work) -> Outcome:
        """Every token exits at ``depth``, every draft holds; the work before is marked as done."""
        clock.mark()
        if isinstance(work, Check):
            return Draft(confidence=1.0 if work.depth == depth else 0.0, token=0)
        return Verdict(accepted=len(work.drafts), token=0) if isinstance(work, Verify) else None

    decoding = ScriptedDecoding(
        parts, decoder.heads, schedule, answers, make_token_selector(sampling)
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
