"""The engine with another run's decisions: it does all the work and takes outcomes from a trace.

So the true run time of any design can be had on a real shape with random weights, whose own heads
would never be sure and never right. Where the sequence leaves the recorded text,
`adadecode.sim.replay.outcomes` decides, exactly as it does for the simulator: rounds are then the
simulator's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.decoding.sampling import TokenSelector
from adadecode.engine.decoding.sequence import Decoding
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import DesignError, InputError, ProfileError
from adadecode.profiles.manifest import has_gates
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.core.parsing import scale_head_map
from adadecode.sim.core.scheduler import Outcome, Schedule, Work
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.outcomes import TraceOutcomes, schedule_of


class ScriptedDecoding(Decoding):
    """A decoding that does all its work and reads its outcomes, but takes those of a script.

    Tokens that the model does not have are embedded as others, modulo its vocabulary.

    Args:
        parts: The model.
        heads: Its exit heads.
        schedule: Hands out work and takes its outcomes.
        outcome_of: Called after each piece of work; returns the outcome to take.
        selector: Takes tokens from logits; greedy by default.
    """

    def __init__(
        self,
        parts: SegmentedModel,
        heads: ExitHeads,
        schedule: Schedule,
        outcome_of: Callable[[Work], Outcome],
        selector: TokenSelector | None = None,
    ) -> None:
        super().__init__(parts, heads, schedule, selector)
        self.outcome_of = outcome_of

    def perform(self, work: Work) -> Outcome:
        """Do one piece of work and return the outcome of the script."""
        super().perform(work)
        return self.outcome_of(work)

    def embed(self, start: int) -> torch.Tensor:
        """Return the script's newest token, at position ``start``, as a state ``(1, 1, d)``."""
        return self.parts.embed_one(self.schedule.newest % self.parts.n_embeddings, start)


@dataclass(frozen=True, kw_only=True)
class Script:
    """A recorded text as the decisions for runs of a model with any number of layers.

    Attributes:
        source: The manifest of the recording.
        n_layers: Layers of the model that is run.
        places: By depth of each recorded head, the depth where it stands in that model.
        tables: Prompts, trace and branches as a profile has them, prompts numbered from 0.
        numbers: The number of each prompt in the recording.
        form: The form of the heads that decided.
    """

    source: Mapping[str, Any]
    n_layers: int
    places: Mapping[int, int]
    tables: Mapping[str, pd.DataFrame]
    numbers: tuple[int, ...]
    form: HeadForm = FULL

    @classmethod
    def of(
        cls,
        profile: Profile,
        n_layers: int,
        places: Mapping[int, int] | None = None,
        *,
        domains: Sequence[str] | None = None,
        limit: int | None = None,
        max_new_tokens: int | None = None,
    ) -> Script:
        """Return a recording as a script.

        Args:
            profile: The recording.
            n_layers: Layers of the model that is run.
            places: By depth of each recorded head, its depth in that model; its own by default.
            domains: Take only prompts of these domains.
            limit: Most prompts of each domain.
            max_new_tokens: Most outputs of a text; the rest is cut off.

        Raises:
            ProfileError: The recording holds no text, or a sampled one.
            DesignError: A head has no place in the model.
            InputError: A domain is not in the recording.
        """
        if profile.prompts.empty:
            raise ProfileError(
                f"{profile.path} holds latencies alone, and no decisions to follow: give a profile "
                "that holds text as --scripted"
            )
        if profile.sampled:
            raise ProfileError(
                f"the text of {profile.path} was sampled, and scripts are followed greedily: give "
                "a greedy recording as --scripted"
            )
        trace = Trace.from_profile(profile)
        if places is None:
            if profile.n_layers != n_layers:
                raise DesignError(
                    f"the decisions are of a model with {profile.n_layers} layers, this one has "
                    f"{n_layers}: say where its heads stand, "
                    "for instance in proportion with --map "
                    f"{scale_head_map(trace.depths, profile.n_layers, n_layers)}"
                )
            places = {depth: depth for depth in trace.depths}
        trace.mapped(places, n_layers)  # refuses what cannot be
        chosen = _chosen(profile.prompts, domains, limit)
        return cls(
            source=profile.manifest,
            n_layers=n_layers,
            places=dict(sorted(places.items())),
            tables=_cut(profile, chosen, {**places, profile.n_layers: n_layers}, max_new_tokens),
            numbers=tuple(chosen),
            form=Provenance.of(profile).trace_form,
        )

    @cached_property
    def trace(self) -> Trace:
        """The output of every head, at the depths of the heads in the model that is run."""
        return Trace.from_frames(
            *(self.tables[name] for name in ("prompts", "trace", "branches")),
            n_layers=self.n_layers,
            depths=self.depths,
            eos=self.source["eos_token_ids"],
        )

    @cached_property
    def model(self) -> BranchModel:
        """The model of outcomes off the recorded text."""
        return BranchModel(self.trace)

    @property
    def has_gates(self) -> bool:
        """Whether the recording holds the scores of gates."""
        return has_gates(self.source)

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the heads in the model that is run."""
        return tuple(self.places.values())

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Every prompt as the recording knows it: by the SHA-256 of its text."""
        return tuple(
            Prompt(
                text=str(row["sha256"]),
                domain=str(row["domain"]),
                max_new_tokens=int(row["max_new_tokens"]),
            )
            for row in self.tables["prompts"].to_dict("records")
        )

    @property
    def longest(self) -> int:
        """Positions that the longest prompt takes with all its new tokens."""
        return int(
            (self.tables["prompts"]["n_prompt"] + self.tables["prompts"]["max_new_tokens"]).max()
        )

    def encoded(self, vocabulary: int, seed: int) -> tuple[tuple[int, ...], ...]:
        """Return random tokens in place of each prompt's, as many as it had.

        Args:
            vocabulary: Tokens are drawn below it.
            seed: Seed of the draw.
        """
        generator = torch.Generator().manual_seed(seed)
        lengths = self.tables["prompts"]["n_prompt"].tolist()
        return tuple(
            tuple(torch.randint(vocabulary, (n,), generator=generator).tolist()) for n in lengths
        )

    def rows(self, table: str, prompt: int) -> list[dict[str, Any]]:
        """Return the rows of one prompt in ``prompts``, ``trace`` or ``branches``."""
        frame = self.tables[table]
        return [
            {str(name): value for name, value in row.items()}
            for row in frame[frame["prompt"] == prompt].to_dict("records")
        ]

    def start(
        self,
        decoder: AdaDecoder,
        input_ids: torch.Tensor,
        design: Design,
        prompt: int,
        prefilled: PrefilledPrompt | None = None,
    ) -> ScriptedDecoding:
        """Run a prompt, and stand where the recording of it stands after its own prompt.

        Args:
            decoder: Runs the model.
            input_ids: Token ids, shape ``(1, n)``, as many as the recorded prompt has.
            design: How to decode.
            prompt: Number of the prompt in this script.
            prefilled: The prompt, run and kept before; see `AdaDecoder.start`.

        Raises:
            InputError: The prompt has another length than the recorded one.
            DesignError: The model has another number of layers, or the recording lacks a head.
            HeadsError: The decoder lacks a head or its gate.
        """
        recorded = self.trace.n_prompt(prompt)
        if input_ids.shape[-1] != recorded:
            raise InputError(
                f"prompt {prompt} was recorded with {recorded} tokens, got {input_ids.shape[-1]}: "
                "give as many"
            )
        if decoder.parts.n_layers != self.n_layers:
            raise DesignError(
                f"the script is for {self.n_layers} layers, the model has "
                f"{decoder.parts.n_layers}: map it to as many"
            )
        self.trace.require(design.placement)
        decoder.heads.require_design(design)
        schedule = schedule_of(self.trace, prompt, design)
        decoder.start(
            input_ids,
            Design.of("vanilla"),
            max_new_tokens=schedule.max_new_tokens,
            prefilled=prefilled,
        )
        return ScriptedDecoding(
            decoder.parts,
            decoder.heads,
            schedule,
            TraceOutcomes(self.trace, prompt, schedule, self.model),
        )

    def about(self) -> dict[str, Any]:
        """Return the manifest's entries on the script.

        It names whose decisions these are, where the heads stand, their form if it is not the full
        one, and whether they were drawn, as the tokens then were.
        """
        source = self.source
        drawn = {"synthetic": True} if source.get("synthetic") else {}
        return {
            **drawn,
            **({} if self.form.is_full else {"form": self.form.to_dict()}),
            "profile": source.get("name"),
            "digest": source.get("digest"),
            "model": source["model"].get("name"),
            "n_layers": source["model"]["n_layers"],
            "map": {str(depth): place for depth, place in self.places.items()},
            "prompts": list(self.numbers),
        }


def _chosen(prompts: pd.DataFrame, domains: Sequence[str] | None, limit: int | None) -> list[int]:
    """Return the numbers of the wanted prompts, in the order of the recording."""
    known = sorted(set(prompts["domain"]))
    if unknown := [domain for domain in domains or () if domain not in known]:
        raise InputError(
            f"no prompts of domain {', '.join(unknown)} in the recording: there are "
            f"{', '.join(known)}"
        )
    wanted = prompts if domains is None else prompts[prompts["domain"].isin(domains)]
    return [
        int(number)
        for number in wanted.groupby("domain", sort=False).head(
            len(wanted) if limit is None else limit
        )["prompt"]
    ]


def _cut(
    profile: Profile, chosen: Sequence[int], moved: Mapping[int, int], most: int | None
) -> dict[str, pd.DataFrame]:
    """Return prompts, trace and branches of some prompts, renumbered from 0.

    Args:
        profile: The recording.
        chosen: Numbers of the prompts.
        moved: New depths by old ones; rows at other depths are left out.
        most: Most outputs of a text, the rest of which is cut off; None to leave texts whole.
    """
    numbers = {number: index for index, number in enumerate(chosen)}
    prompts = profile.prompts[profile.prompts["prompt"].isin(numbers)].copy()
    if most is not None:
        prompts["ended"] &= prompts["n_output"] <= most
        prompts[["n_output", "max_new_tokens"]] = prompts[["n_output", "max_new_tokens"]].clip(
            upper=most
        )
    lengths = dict(zip(prompts["prompt"], prompts["n_output"], strict=True))
    tables = {"prompts": prompts}
    for name in ("trace", "branches"):
        frame = getattr(profile, name)
        frame = frame[frame["prompt"].isin(numbers) & frame["depth"].isin(moved)]
        frame = frame[frame["output"] < frame["prompt"].map(lengths)].copy()
        frame["depth"] = frame["depth"].map(moved)
        tables[name] = frame
    for frame in tables.values():
        frame["prompt"] = frame["prompt"].map(numbers)
    return {name: frame.reset_index(drop=True) for name, frame in tables.items()}
