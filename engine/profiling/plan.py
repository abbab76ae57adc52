"""What a recording will run: prompts, designs, walks and contexts, settled before anything is timed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel

from adadecode.engine.decoding.arguments import check_vocabulary
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.model.segmented_model import most_positions
from adadecode.engine.profiling.options import (
    gammas_of,
    placements_of,
    sampling_of,
)
from adadecode.engine.runtime import fingerprints
from adadecode.engine.runtime.distributed import processes
from adadecode.profiles.errors import InputError
from adadecode.profiles.hashing import dice
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.parsing import rising_integers


def make_plan(
    decoder: AdaDecoder,
    tokenizer: Any,
    available: Sequence[Prompt],
    chosen: dict[str, Any],
    script: Script | None = None,
) -> RecordingPlan:
    """Everything that the options leave open, decided. script: whose prompts these are, already chosen. Raises InputError."""
    if script is None:
        prompts = choose_prompts(available, chosen["domains"], chosen["limit"])
        encoded = tuple(tuple(encode(tokenizer, prompt)[0].tolist()) for prompt in prompts)
    else:
        prompts, encoded = (
            list(available),
            script.encoded(decoder.parts.n_embeddings, int(chosen["seed"])),
        )
    check_lengths(encoded, chosen["max_new_tokens"], decoder.parts.model)
    for prompt, ids in zip(prompts, encoded, strict=True):
        check_vocabulary(ids, decoder.parts, f"of the prompt {prompt.text[:40]!r}")
    designs = make_designs(decoder, chosen)
    n_layers = decoder.parts.n_layers
    max_tokens = (
        int(chosen["cap"]) + 1 if chosen["max_tokens"] is None else int(chosen["max_tokens"])
    )
    lengths = sorted(map(len, encoded))
    low, high = lengths[0] + 1, lengths[-1] + int(chosen["max_new_tokens"])
    contexts = (
        rising_integers("--contexts", chosen["contexts"])
        if chosen["contexts"]
        else (low, (low + high) // 2, high)
    )
    if contexts[0] > low or contexts[-1] < high:
        raise InputError(
            f"the runs reach positions {low} to {high}, got --contexts {','.join(map(str, contexts))}: widen them"
        )
    depths = decoder.heads.depths
    walks = (
        rising_integers("--walks", chosen["walks"])
        if chosen["walks"]
        else depths[:: max(1, -(-len(depths) // 7))]
    )
    if deep := [d for d in walks if d > n_layers]:
        raise InputError(f"wanted --walks at depths 1..{n_layers} of this model, got {deep[0]}")
    used = {d for design in designs for d in design.placement}
    return RecordingPlan(
        prompts=tuple(prompts),
        encoded=encoded,
        designs=designs,
        contexts=tuple(sorted(set(contexts))),
        walks=tuple(sorted({*walks} | used | {n_layers})),
        max_tokens=max_tokens,
        max_new_tokens=int(chosen["max_new_tokens"]),
        repeats=int(chosen["repeats"]),
        samples=int(chosen["samples"]),
        floor=float(chosen["branch_floor"]),
        seed=int(chosen["seed"]),
        sampling=sampling_of(chosen),
        settings={
            **chosen,
            "designs": [d.label for d in designs],
            "n_prompts": len(prompts),
            "prompts_digest": fingerprints.of_json(
                [(ids, prompt.max_new_tokens) for ids, prompt in zip(encoded, prompts, strict=True)]
            ),
            "weights_digest": fingerprints.of_weights(decoder.parts.model),
            "heads_digest": decoder.heads.digest(),
            **({} if processes() == 1 else {"processes": processes()}),
            **({} if script is None else {"script_digest": fingerprints.of_json(script.about())}),
        },
    )


def choose_prompts(
    available: Sequence[Prompt], domains: str | None, limit: int | None
) -> list[Prompt]:
    """The prompts of the wanted domains, at most ``limit`` of each. Raises InputError."""
    known = sorted({p.domain for p in available})
    wanted = known if domains is None else [d.strip() for d in domains.split(",")]
    unknown = [d for d in wanted if d not in known]
    if unknown:
        raise InputError(f"no prompts of domain {', '.join(unknown)}: there are {', '.join(known)}")
    return [
        p for d in wanted for p in itertools.islice((p for p in available if p.domain == d), limit)
    ]


def make_designs(decoder: AdaDecoder, chosen: dict[str, Any]) -> tuple[Design, ...]:
    """Vanilla, adadecode at every placement and gamma, and fixed at every single head. Raises DesignError, HeadsError."""
    depths, n_layers, cap = decoder.heads.depths, decoder.parts.n_layers, int(chosen["cap"])
    placements = placements_of(chosen)
    if not placements:
        quarters = (
            [min(depths, key=lambda d: abs(d - n_layers * k / 4)) for k in (1, 2, 3)]
            if depths
            else []
        )
        placements = [tuple(sorted(set(quarters[:k]))) for k in (1, 2, 3) if depths]
    gammas = gammas_of(chosen)
    designs = [Design.of(Policy.VANILLA)]
    for placement in placements:
        decoder.heads.require(placement)
        designs += [
            Design.of(Policy.ADADECODE, gamma=g, placement=placement, cap=cap) for g in gammas
        ]
        if len(placement) == 1 and int(chosen["fixed_drafts"]):
            designs.append(
                Design.of(
                    Policy.FIXED, placement=placement, cap=min(cap, int(chosen["fixed_drafts"]))
                )
            )
    for design in designs:
        design.boundaries(n_layers)
    return tuple(dict.fromkeys(designs))


HOST_ROUNDS = 2
"""Scripted rounds of one host sample."""


@dataclass(frozen=True, kw_only=True)
class RecordingPlan:
    """What to record. encoded: each prompt's tokens. designs: vanilla first. contexts: positions at which latencies are measured.

    walks: depths of the timed walks, L last. max_tokens: largest batch timed. samples: laps of each walk per visit. floor: see
    `Counterfactual.branches`. settings: everything above as the manifest tells it; a resumed recording must have the same. sampling: how texts
    are drawn, each prompt's with a seed of its own; greedy without.
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

    def sampling_of(self, p: int) -> Sampling | None:
        """How the text of prompt number p is drawn, in every run: with one seed, so that repeats are the same run again."""
        return (
            None
            if self.sampling is None
            else replace(self.sampling, seed=dice(self.sampling.seed, p))
        )

    def budget(self, p: int) -> int:
        """Most new tokens of prompt number p: the plan's, or its own where that is less."""
        own = self.prompts[p].max_new_tokens
        return self.max_new_tokens if own is None else min(own, self.max_new_tokens)

    @property
    def longest(self) -> int:
        """Positions that must fit."""
        return max(
            max(map(len, self.encoded)) + self.max_new_tokens,
            self.contexts[-1],
            HOST_ROUNDS * self.max_tokens + 2,
        )


def check_lengths(
    encoded: Sequence[Sequence[int]], max_new_tokens: int, model: PreTrainedModel
) -> None:
    """Raises InputError where a prompt and its continuation do not fit the model's positions."""
    limit = most_positions(model)
    longest = max(map(len, encoded))
    if limit is not None and longest + max_new_tokens > limit:
        raise InputError(
            f"the longest prompt has {longest} tokens, with {max_new_tokens} new ones more than the model's {limit} positions: ask for fewer with --max-new-tokens"
        )
