"""Drives the scheduler with tensors: prefill, then every piece of work that it hands out, until it is done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, SupportsIndex

import torch
from transformers import PreTrainedModel

from adadecode.engine.decoding.sampling import (
    Greedy,
    Sampling,
    TokenSelector,
    make_token_selector,
    packed_draft,
    unpacked_draft,
    verify_greedily,
)
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.canonical import take_apart
from adadecode.engine.model.cuda_graphs import take_apart_static
from adadecode.engine.model.segmented_model import SegmentedModel, most_positions
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import DesignError, InputError
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.core.scheduler import Check, Draft, Outcome, Round, Run, Schedule, Work

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def head_logits(
    parts: SegmentedModel, heads: ExitHeads, depth: int, hidden: torch.Tensor
) -> torch.Tensor:
    """What the head at ``depth`` says after the last position of hidden (1, n, d): logits (V,) in FP32, minus infinity outside its shortlist."""
    return heads.logits(parts, depth, parts.normed(hidden[:, -1:]))[0, -1]


def greedy_draft(
    parts: SegmentedModel, heads: ExitHeads, depth: int, hidden: torch.Tensor
) -> Draft:
    """What the head at ``depth`` proposes after the last position of hidden (1, n, d): its likeliest token, in one read from the device."""

    def work(hidden: torch.Tensor) -> torch.Tensor:
        return packed_draft(head_logits(parts, heads, depth, hidden))[None]

    (both,) = parts.read(work, hidden[:, -1:], heads, f"the draft at depth {depth}")
    return unpacked_draft(both)


def greedy_tokens(parts: SegmentedModel, hidden: torch.Tensor, start: int) -> list[int]:
    """The last layer's likeliest token after each of the positions start.. of hidden (1, n, d), in one read from the device."""
    return parts.read(
        lambda hidden: parts.logits(hidden, start)[0].argmax(-1),
        hidden,
        parts,
        "the verified tokens",
    )


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What ``generate`` returns. tokens: the new tokens, EOS included. rounds: how they came about. seed: gives them again; None if greedy."""

    tokens: list[int]
    rounds: list[Round]
    seed: int | None = None


Watch = Callable[[Work, Outcome], None]
"""Called after each piece of work; the recorder times with it."""


class Decoding:
    """One sequence being decoded: the scheduler's work, done with tensors. Use within ``parts.session()``. chooser: takes tokens from logits."""

    def __init__(
        self,
        parts: SegmentedModel,
        heads: ExitHeads,
        schedule: Schedule,
        chooser: TokenSelector | None = None,
    ) -> None:
        self.parts, self.heads, self.schedule = parts, heads, schedule
        self.chooser: TokenSelector = Greedy() if chooser is None else chooser
        self.bounds = schedule.boundaries
        self.waiting: list[list[torch.Tensor]] = [[] for _ in self.bounds]
        self.clock: Clock | None = None  # marked around every layer

    def steps(self, watch: Watch | None = None) -> Iterator[Work]:
        """Do the work, one piece an iteration."""
        steps = self.schedule.steps()
        outcome: Outcome = None
        while True:
            try:
                work = steps.send(outcome)
            except StopIteration:
                return
            outcome = self.perform(work)
            if watch is not None:
                watch(work, outcome)
            yield work

    def perform(self, work: Work) -> Outcome:
        """One piece of work and its outcome."""
        if isinstance(work, Run):
            self._run(work)
            return None
        if isinstance(work, Check):
            hidden = self.waiting[self.bounds.index(work.depth)][-1]
            if self.chooser.packed:
                return greedy_draft(self.parts, self.heads, work.depth, hidden)
            return self.chooser.draft(
                head_logits(self.parts, self.heads, work.depth, hidden), work.position
            )
        hidden = self.waiting[-1].pop()
        hidden = hidden[:, hidden.shape[1] - (work.stop - work.start) :]
        if self.chooser.packed:
            return verify_greedily(greedy_tokens(self.parts, hidden, work.start), work)
        return self.chooser.verdict(self.parts.logits(hidden, work.start)[0], work)

    def embed(self, start: int) -> torch.Tensor:
        """The newest token, at position ``start``: hidden states (1, 1, d) at depth 0."""
        return self.parts.embed_one(self.schedule.newest, start)

    def _run(self, work: Run) -> None:
        """A segment on everything that waits before it."""
        if work.segment == 0:
            hidden = self.embed(work.start)
        else:
            chunks = self.waiting[work.segment]
            hidden = chunks[0] if len(chunks) == 1 else torch.cat(chunks, 1)
            chunks.clear()
        hidden = self.parts.run(
            self.bounds[work.segment], self.bounds[work.segment + 1], hidden, work.start, self.clock
        )
        self.waiting[work.segment + 1].append(hidden)


class AdaDecoder:
    """Decoding of a causal LM with exit heads, without loss: greedy, token-equal to the model's own, or sampled, distributed as its own samples.

    graphs: ``eager``, ``static``, ``compile``, ``cuda`` or ``cuda+compile``, how segments are run (see `adadecode.engine.model.cuda_graphs`); what cannot be run so falls back with a
    warning. numerics: ``native``, or ``canonical``: greedily, vanilla and every design agree bit for bit in any dtype, at a cost (see `adadecode.engine.model.canonical`).
    Logits processors are not applied. Raises UnsupportedModel, HeadsError. The model is used as it is and stays usable by itself.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        heads: ExitHeads | None = None,
        *,
        numerics: str = "native",
        graphs: str = "eager",
    ) -> None:
        model.eval()
        _warn_of_settings(model)
        self.numerics, self.graphs = numerics, graphs
        self._warned = False
        self.parts = (
            take_apart(model, numerics)
            if graphs == "eager"
            else take_apart_static(model, graphs, numerics)
        )
        self.heads = heads if heads is not None else ExitHeads.identity(model, ())
        self.eos = _eos_of(model)

    def generate(
        self,
        input_ids: torch.Tensor,
        max_new_tokens: int = 128,
        gamma: float | Sequence[float] = 0.75,
        placement: Sequence[int] | None = None,
        cap: int = DEFAULT_CAP,
        policy: str | Policy = Policy.ADADECODE,
        verify: bool = True,
        eos_token_id: int | Sequence[int] | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Generation:
        """Decode one sequence. input_ids (1, n), n >= 1.

        placement: depths of the heads to use, all by default. eos_token_id: the tokens that end the text, the model's own by
        default; an empty sequence for none. temperature: 0 is greedy; above it the text is sampled, with top_k, top_p and seed as in `Sampling` (a
        random seed by default), and gamma is held against the head's distribution after them. Raises DesignError, HeadsError, SamplingError.
        """
        design = self.design(
            gamma=gamma, placement=placement, cap=cap, policy=policy, verify=verify
        )
        sampling = Sampling.of(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        decoding = self.start(
            input_ids,
            design,
            max_new_tokens=max_new_tokens,
            eos_token_id=eos_token_id,
            sampling=sampling,
        )
        with self.parts.session():
            for _ in decoding.steps():
                pass
        schedule = decoding.schedule
        return Generation(
            tokens=schedule.tokens,
            rounds=schedule.rounds,
            seed=None if sampling is None else sampling.seed,
        )

    def stream(
        self,
        input_ids: torch.Tensor,
        max_new_tokens: int = 128,
        gamma: float | Sequence[float] = 0.75,
        placement: Sequence[int] | None = None,
        cap: int = DEFAULT_CAP,
        policy: str | Policy = Policy.ADADECODE,
        verify: bool = True,
        eos_token_id: int | Sequence[int] | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[int]:
        """The tokens of ``generate``, each as soon as it is committed."""
        design = self.design(
            gamma=gamma, placement=placement, cap=cap, policy=policy, verify=verify
        )
        sampling = Sampling.of(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        decoding = self.start(
            input_ids,
            design,
            max_new_tokens=max_new_tokens,
            eos_token_id=eos_token_id,
            sampling=sampling,
        )
        own = self.parts.detach()  # another text may be decoded between two tokens of this one
        tokens, given = decoding.schedule.tokens, 0
        steps = decoding.steps()
        over = False
        try:
            while True:
                yield from tokens[given:]
                given = len(tokens)
                if over:
                    return
                with (
                    self.parts.attached(own),
                    self.parts.session(),
                ):  # not held while the caller has the token
                    while len(tokens) == given and not over:
                        over = next(steps, None) is None
        finally:
            self.parts.give_back(own)

    def design(
        self,
        *,
        gamma: float | Sequence[float],
        placement: Sequence[int] | None,
        cap: int,
        policy: str | Policy,
        verify: bool = True,
    ) -> Design:
        """The design these options name, its heads known to exist. Raises DesignError, HeadsError."""
        design = Design.of(
            policy,
            gamma=gamma,
            placement=self.heads.depths if placement is None else placement,
            cap=cap,
            verify=verify,
        )
        self.heads.require(design.placement)
        return design

    def prepare(self, designs: Sequence[Design], longest: int, *, sampled: bool = False) -> None:
        """Make ready what else would be made in the first runs of these designs, for positions up to ``longest``, for which there must be room."""
        parts, heads = self.parts, self.heads

        def follow(depth: int, hidden: torch.Tensor) -> None:
            if depth == parts.n_layers:
                parts.logits(hidden) if sampled else greedy_tokens(parts, hidden, 0)
            elif hidden.shape[1] == 1:
                head_logits(parts, heads, depth, hidden) if sampled else greedy_draft(
                    parts, heads, depth, hidden
                )

        bounds = {design.boundaries(parts.n_layers) for design in designs}
        parts.prepare(sorted({pair for each in bounds for pair in pairwise(each)}), longest, follow)

    def start(
        self,
        input_ids: torch.Tensor,
        design: Design,
        *,
        max_new_tokens: int,
        eos_token_id: int | Sequence[int] | None = None,
        sampling: Sampling | None = None,
    ) -> Decoding:
        """Prefill: the prompt through all layers; the first token comes from the last one. Greedy without ``sampling``."""
        if not isinstance(input_ids, torch.Tensor) or input_ids.dtype not in INTEGERS:
            got = (
                f"a tensor of {input_ids.dtype}"
                if isinstance(input_ids, torch.Tensor)
                else f"a {type(input_ids).__name__}"
            )
            raise InputError(
                f"wanted the input ids as a tensor of integers (1, n), got {got}: make one with torch.tensor([ids])"
            )
        if input_ids.ndim != 2 or input_ids.shape[0] != 1 or input_ids.shape[1] < 1:
            raise InputError(
                f"wanted the input ids of one sequence, (1, n) with n >= 1, got {tuple(input_ids.shape)}"
            )
        if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, SupportsIndex):
            raise DesignError(
                f"wanted max_new_tokens as a whole number, got {max_new_tokens!r}: give an int"
            )
        if max_new_tokens < 1:
            raise DesignError(f"wanted at least 1 new token, got max_new_tokens={max_new_tokens}")
        n_prompt = input_ids.shape[1]
        parts = self.parts
        chooser = make_token_selector(sampling)
        check_vocabulary(input_ids[0].tolist(), parts, "of the input")
        with torch.inference_mode():
            parts.allocate(n_prompt + max_new_tokens - 1)  # the last token is not computed
        self._warn_of_length(n_prompt + max_new_tokens - 1)
        with parts.session():
            hidden = parts.run(0, parts.n_layers, parts.embed(input_ids.to(parts.device), 0), 0)
            first = chooser.first(parts.logits(hidden[:, -1:])[0, -1])
        eos = (
            self.eos
            if eos_token_id is None
            else frozenset([eos_token_id] if isinstance(eos_token_id, int) else eos_token_id)
        )
        schedule = Schedule(
            design=design,
            n_layers=parts.n_layers,
            n_prompt=n_prompt,
            first_token=first,
            max_new_tokens=max_new_tokens,
            eos=eos,
            sampled=sampling is not None,
        )
        return Decoding(parts, self.heads, schedule, chooser)

    def _warn_of_length(self, positions: int) -> None:
        """Once: rotary positions go on beyond those that a model was made for, its text need not; learned ones are refused where room is made."""
        limit = most_positions(self.parts.model)
        if limit is None or positions <= limit or self._warned:
            return
        self._warned = True
        warnings.warn(
            f"the text takes {positions} positions, the model was made for {limit}: ask for fewer tokens",
            stacklevel=4,
        )


def check_vocabulary(ids: Sequence[int], parts: SegmentedModel, whose: str) -> None:
    """Raises InputError where a token id is none that the model embeds: the tokenizer belongs to another model."""
    rows = parts.n_embeddings
    if ids and not 0 <= min(ids) <= max(ids) < rows:
        odd = max(ids) if max(ids) >= rows else min(ids)
        raise InputError(
            f"the token id {odd} {whose} is outside the model's {rows} embeddings: use the model's own tokenizer"
        )


def _warn_of_settings(model: PreTrainedModel) -> None:
    """``generate`` obeys settings that change which token is the greediest; this decoder takes the most likely one."""
    settings = model.generation_config
    plain: dict[str, Any] = {
        "repetition_penalty": 1.0,
        "encoder_repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "min_length": 0,
        "min_new_tokens": 0,
    }
    plain |= dict.fromkeys(
        ("suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id")
    )
    plain |= dict.fromkeys(("bad_words_ids", "sequence_bias", "exponential_decay_length_penalty"))
    found = {name: getattr(settings, name, None) for name in plain}
    bending = {
        name: value
        for name, value in found.items()
        if value is not None and value != plain[name] and value != []
    }
    if bending:
        told = ", ".join(f"{name}={value}" for name, value in bending.items())
        warnings.warn(
            f"the model's generation settings bend greedy decoding ({told}); AdaDecoder decodes without them",
            stacklevel=3,
        )


def _eos_of(model: PreTrainedModel) -> frozenset[int]:
    """The tokens that end a text, as the model's generation settings have them."""
    settings = (
        model.generation_config
        if model.generation_config is not None
        else model.config.get_text_config()
    )
    own = getattr(settings, "eos_token_id", None)
    return frozenset() if own is None else frozenset([own] if isinstance(own, int) else own)
