"""What a recording will run: prompts, designs, walks and contexts, settled before any timing."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from transformers import PreTrainedModel

from adadecode.engine.decoding.arguments import check_vocabulary
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.conversation import Conversation
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.model.end_tokens import warn_of_missing_end
from adadecode.engine.model.segmented_model import most_positions
from adadecode.engine.profiling.head_forms import other_forms
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.profiling.stopped_texts import recorded_stops, stopped_prompts
from adadecode.engine.runtime import fingerprints
from adadecode.engine.runtime.distributed import processes
from adadecode.profiles.errors import InputError
from adadecode.profiles.hashing import dice
from adadecode.sim.core.design import Design, Policy

HOST_ROUNDS = 2
"""Scripted rounds of one host sample."""

USUAL_BATCH = 64
"""Tokens of the largest batch whose cost is not warned of: far more than a round has drafts."""


Asked = TypeVar("Asked", bound=Prompt | Conversation)
"""A text to continue, or a conversation to answer."""


class Interleaving(StrEnum):
    """How latency visits and timed runs take turns."""

    FINE = "fine"
    """A share of a visit after every run; each visit goes to all contexts."""
    COARSE = "coarse"
    """A whole visit, at one context, after the runs of a prompt."""


@dataclass(frozen=True, kw_only=True)
class RecordingPlan:
    """What to record, as far as it is settled before anything is timed.

    Args:
        prompts: The prompts, in the order of their numbers.
        encoded: The token ids of each prompt.
        designs: The designs to run, vanilla first.
        contexts: Positions at which latencies are measured, rising.
        walks: Depths of the timed walks, the number of layers last.
        max_tokens: The largest batch that is timed.
        max_new_tokens: Tokens to generate for each prompt.
        repeats: Timed runs of each design on each prompt.
        samples: Laps of each walk in a visit.
        floor: See `adadecode.engine.profiling.counterfactual.Counterfactual.branches`.
        seed: Of the order of runs and walks.
        settings: The options as the manifest keeps them, with fingerprints of what they name. A
            resumed recording must have the same.
        sampling: How texts are drawn, each prompt's with a seed of its own; None for greedy.
        interleaving: How latency visits and timed runs take turns.
        forms: The heads in other forms, whose checks are timed and which decode nothing.
    """

    prompts: tuple[Prompt, ...]
    encoded: tuple[tuple[int, ...], ...]
    designs: tuple[Design, ...]
    contexts: tuple[int, ...]
    walks: tuple[int, ...]
    max_tokens: int
    max_new_tokens: int
    repeats: int
    samples: int
    floor: float
    seed: int
    settings: dict[str, Any]
    sampling: Sampling | None = None
    interleaving: Interleaving = Interleaving.COARSE
    forms: tuple[ExitHeads, ...] = ()

    def sampling_of(self, prompt: int) -> Sampling | None:
        """Return how the text of a prompt is drawn: the same in every run, so repeats agree."""
        if self.sampling is None:
            return None
        return replace(self.sampling, seed=dice(self.sampling.seed, prompt))

    def budget(self, prompt: int) -> int:
        """Return the most new tokens of a prompt: the plan's, or its own where that is less."""
        own = self.prompts[prompt].max_new_tokens
        return self.max_new_tokens if own is None else min(own, self.max_new_tokens)

    @property
    def longest(self) -> int:
        """How many positions must fit."""
        return max(
            max(map(len, self.encoded)) + self.max_new_tokens,
            self.contexts[-1],
            HOST_ROUNDS * self.max_tokens + 2,
        )


def make_plan(
    decoder: AdaDecoder,
    tokenizer: Any,
    available: Sequence[Prompt],
    options: RecordingOptions,
    *,
    source: ModelSource,
    script: Script | None = None,
) -> RecordingPlan:
    """Settle everything that the options leave open.

    Args:
        decoder: The model with its heads.
        tokenizer: The model's own; None with a script.
        available: The prompts to choose from; with a script, those it has.
        options: What to record.
        source: What the model, its heads and prompts are called, for the manifest.
        script: The decisions of another recording that the runs follow.

    Raises:
        InputError: The options do not fit the model or the prompts.
        HeadsError: A placement has a depth without a head.
        DesignError: A placement is impossible in this model.
    """
    if script is None:
        prompts = choose_prompts(available, options.domains, options.limit)
        encoded = tuple(tuple(encode(tokenizer, prompt)[0].tolist()) for prompt in prompts)
    else:
        prompts = list(available)
        encoded = script.encoded(decoder.parts.n_embeddings, options.seed)
    check_lengths(encoded, options.max_new_tokens, decoder.parts.model)
    for prompt, ids in zip(prompts, encoded, strict=True):
        check_vocabulary(ids, decoder.parts, f"of the prompt {prompt.text[:40]!r}")
    warn_of_cost(options)
    designs = make_designs(
        decoder,
        placements=options.placements,
        gammas=options.gammas,
        gates=options.gates,
        cap=options.cap,
        fixed_drafts=options.fixed_drafts,
    )
    contexts, walks = _contexts(encoded, options), _walks(decoder, designs, options)
    stops = () if script is not None else _stops(decoder, tokenizer, options)
    if stops:
        prompts = stopped_prompts(
            decoder,
            tokenizer,
            prompts,
            encoded,
            strings=stops,
            max_new_tokens=options.max_new_tokens,
        )
    return RecordingPlan(
        prompts=tuple(prompts),
        encoded=encoded,
        designs=designs,
        contexts=contexts,
        walks=walks,
        max_tokens=options.cap + 1 if options.max_tokens is None else options.max_tokens,
        max_new_tokens=options.max_new_tokens,
        repeats=options.repeats,
        samples=options.samples,
        floor=options.branch_floor,
        seed=options.seed,
        sampling=options.sampling(),
        forms=other_forms(decoder.heads, decoder.parts.model, options.head_forms or ()),
        settings={
            **RecordingRequest(source=source, options=options).to_settings(),
            **_fingerprints(decoder, prompts, encoded, script),
            "designs": [design.label for design in designs],
            **({"stop_strings": list(stops)} if stops else {}),
        },
    )


def _stops(decoder: AdaDecoder, tokenizer: Any, options: RecordingOptions) -> tuple[str, ...]:
    """Return the stop strings of the texts; none where there are none.

    Warns of end tokens and generation settings that the recording goes without.

    Raises:
        InputError: There are stop strings, and texts are sampled.
    """
    sampled = options.sampling() is not None
    decoder.warn_of_settings(
        sampled=sampled,
        given=[name for name in ("top_k", "top_p") if getattr(options, name) is not None],
    )
    warn_of_missing_end(tokenizer, decoder.eos)
    strings = recorded_stops(options.stop, decoder)
    if strings and sampled:
        raise InputError(
            f"texts end at the stop strings {list(strings)}, at lengths that are found before the "
            "runs, and each sampled run draws another text: record greedily, or without them "
            "(--stop '[]')"
        )
    return strings


def warn_of_cost(options: RecordingOptions) -> None:
    """Warn of a largest batch far beyond what designs draft: every size up to it is timed."""
    largest = options.cap + 1 if options.max_tokens is None else options.max_tokens
    if largest > USUAL_BATCH:
        warnings.warn(
            f"latencies of every batch of 1 to {largest:,} tokens are timed, at every visit and "
            f"depth (--cap {options.cap}"
            f"{'' if options.max_tokens is None else f', --max-tokens {options.max_tokens}'}): "
            f"take a smaller one, up to about {USUAL_BATCH}, to record in less time",
            stacklevel=3,
        )


def _contexts(encoded: Sequence[Sequence[int]], options: RecordingOptions) -> tuple[int, ...]:
    """Return the positions at which latencies are measured: they cover all runs."""
    lengths = sorted(map(len, encoded))
    low, high = lengths[0] + 1, lengths[-1] + options.max_new_tokens
    contexts = sorted(set(options.contexts or (low, (low + high) // 2, high)))
    if contexts[0] > low or contexts[-1] < high:
        raise InputError(
            f"the runs reach positions {low} to {high}, "
            f"got --contexts {','.join(map(str, contexts))}: widen them"
        )
    return tuple(contexts)


def _walks(
    decoder: AdaDecoder, designs: Sequence[Design], options: RecordingOptions
) -> tuple[int, ...]:
    """Return the depths of the timed walks: the chosen ones, all that designs use, and the last."""
    depths, n_layers = decoder.heads.depths, decoder.parts.n_layers
    walks = options.walks or depths[:: max(1, -(-len(depths) // 7))]
    if deep := [depth for depth in walks if depth > n_layers]:
        raise InputError(f"wanted --walks at depths 1..{n_layers} of this model, got {deep[0]}")
    used = {depth for design in designs for depth in design.placement}
    return tuple(sorted({*walks} | used | {n_layers}))


def _fingerprints(
    decoder: AdaDecoder,
    prompts: Sequence[Prompt],
    encoded: Sequence[Sequence[int]],
    script: Script | None,
) -> dict[str, Any]:
    """Return what a resumed recording must find again, in addition to its options."""
    limits = [prompt.max_new_tokens for prompt in prompts]
    found: dict[str, Any] = {
        "n_prompts": len(prompts),
        "prompts_digest": fingerprints.of_json(list(zip(encoded, limits, strict=True))),
        "weights_digest": fingerprints.of_weights(decoder.parts.model),
        "heads_digest": decoder.heads.digest(),
        "heads_sha256": decoder.heads.sha256(),
    }
    if processes() > 1:
        found["processes"] = processes()
    if script is not None:
        found["script_digest"] = fingerprints.of_json(script.about())
    return found


def choose_prompts(
    available: Sequence[Asked], domains: Sequence[str] | None, limit: int | None
) -> list[Asked]:
    """Return the prompts of some domains, at most ``limit`` of each; all where None.

    Raises:
        InputError: There is no prompt of a domain.
    """
    known = sorted({prompt.domain for prompt in available})
    wanted = known if domains is None else domains
    if unknown := [domain for domain in wanted if domain not in known]:
        raise InputError(f"no prompts of domain {', '.join(unknown)}: there are {', '.join(known)}")
    chosen: list[Asked] = []
    for domain in wanted:
        own = (prompt for prompt in available if prompt.domain == domain)
        chosen += itertools.islice(own, limit)
    return chosen


def make_designs(
    decoder: AdaDecoder,
    *,
    placements: Sequence[tuple[int, ...]] | None,
    gammas: Sequence[float],
    cap: int,
    fixed_drafts: int,
    gates: Sequence[float] = (0.0,),
) -> tuple[Design, ...]:
    """Return vanilla, adadecode at every placement, gamma and gate, and fixed at every single head.

    Args:
        decoder: The model with its heads.
        placements: Depths of the heads of each placement; by default three placements, with heads
            near a quarter, a half and three quarters of the depth.
        gammas: Confidence thresholds.
        cap: Most drafts in a round.
        fixed_drafts: Drafts in a round of the policy fixed; 0 leaves it out.
        gates: Thresholds of the gates; 0 asks each head without its gate.

    Raises:
        DesignError: A placement is impossible in this model.
        HeadsError: A placement has a depth without a head, or the heads have no gates to ask.
    """
    n_layers = decoder.parts.n_layers
    designs = [Design.of(Policy.VANILLA)]
    for placement in placements or _quarters(decoder.heads.depths, n_layers):
        decoder.heads.require(placement)
        designs += [
            Design.of(Policy.ADADECODE, gamma=gamma, placement=placement, cap=cap, gate=gate)
            for gamma in gammas
            for gate in gates
        ]
        if len(placement) == 1 and fixed_drafts:
            drafts = min(cap, fixed_drafts)
            designs.append(Design.of(Policy.FIXED, placement=placement, cap=drafts))
    for design in designs:
        design.boundaries(n_layers)
        decoder.heads.require_design(design)
    return tuple(dict.fromkeys(designs))


def _quarters(depths: Sequence[int], n_layers: int) -> list[tuple[int, ...]]:
    """Return one, two and three heads near a quarter, a half and three quarters of the depth."""
    if not depths:
        return []
    near = [min(depths, key=lambda depth: abs(depth - n_layers * k / 4)) for k in (1, 2, 3)]
    return [tuple(sorted(set(near[:count]))) for count in (1, 2, 3)]


def check_lengths(
    encoded: Sequence[Sequence[int]], max_new_tokens: int, model: PreTrainedModel
) -> None:
    """Check that every prompt and its continuation fit the model's positions.

    Raises:
        InputError: One does not.
    """
    limit = most_positions(model)
    longest = max(map(len, encoded))
    if limit is not None and longest + max_new_tokens > limit:
        raise InputError(
            f"the longest prompt has {longest} tokens, with {max_new_tokens} new ones more than "
            f"the model's {limit} positions: ask for fewer with --max-new-tokens"
        )
