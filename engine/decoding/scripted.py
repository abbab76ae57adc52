"""The engine with another's decisions: all work is done for real, and every exit and accept is taken from a recorded trace.

So the true run time of any design can be had on a real shape with random weights, whose own heads would never be sure and never right. Where
the sequence leaves the recorded text, `adadecode.sim.replay.outcomes` answers, exactly as it answers the simulator: rounds are then the simulator's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import TokenSelector
from adadecode.engine.decoding.sequence import Decoding
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import DesignError, InputError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.core.parsing import scale_head_map
from adadecode.sim.core.scheduler import Outcome, Schedule, Work
from adadecode.sim.hardware.provenance import said_form_of
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.outcomes import TraceOutcomes, schedule_of


class ScriptedDecoding(Decoding):
    """Decoding that does all the work, reads its outcomes back as always, and then takes those of ``answers`` instead.

    answers: asked after each piece of work. Tokens that the model does not have are embedded as others, modulo its vocabulary.
    """

    def __init__(
        self,
        parts: SegmentedModel,
        heads: ExitHeads,
        schedule: Schedule,
        answers: Callable[[Work], Outcome],
        selector: TokenSelector | None = None,
    ) -> None:
        super().__init__(parts, heads, schedule, selector)
        self.answers = answers

    def perform(self, work: Work) -> Outcome:
        """The work, done; the script's outcome."""
        super().perform(work)
        return self.answers(work)

    def embed(self, start: int) -> torch.Tensor:
        """The newest token of the script, at position ``start``: hidden states (1, 1, d) at depth 0."""
        return self.parts.embed_one(self.schedule.newest % self.parts.n_embeddings, start)


@dataclass(frozen=True, kw_only=True)
class Script:
    """A recorded text, heard by heads of a model of ``n_layers`` layers, as the decisions of that model's runs.

    places: where each head of the recording stands now. tables: prompts, trace and branches, as a profile has them, numbered from 0. numbers: what each
    prompt is called in the recording. source: its manifest. form: of the heads that decided.
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
        """The recording ``profile``, for a model of ``n_layers`` layers.

        places: where its heads stand there, each at its own depth by default. domains, limit: only prompts of these domains, at most so many of
        each. max_new_tokens: texts are cut there. Raises ProfileError where it holds no text, DesignError for heads that have no place.
        """
        if profile.prompts.empty:
            raise ProfileError(
                f"{profile.path} holds latencies alone, and no decisions to follow: give a profile that holds text as --scripted"
            )
        if profile.sampled:
            raise ProfileError(
                f"the text of {profile.path} was sampled, and scripts are followed greedily: give a greedy recording as --scripted"
            )
        trace = Trace.from_profile(profile)
        if places is None:
            if profile.n_layers != n_layers:
                raise DesignError(
                    f"the decisions are of a model with {profile.n_layers} layers, this one has {n_layers}: say where its heads stand, "
                    f"for instance in proportion with --map {scale_head_map(trace.depths, profile.n_layers, n_layers)}"
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
            form=said_form_of(profile),
        )

    @cached_property
    def trace(self) -> Trace:
        """What every head says, where it stands now."""
        return Trace.from_frames(
            *(self.tables[name] for name in ("prompts", "trace", "branches")),
            n_layers=self.n_layers,
            depths=self.depths,
            eos=self.source["eos_token_ids"],
        )

    @cached_property
    def model(self) -> BranchModel:
        """Answers off the text that nobody recorded."""
        return BranchModel(self.trace)

    @property
    def depths(self) -> tuple[int, ...]:
        """Where the heads stand now."""
        return tuple(self.places.values())

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Every prompt as the recording knows it: by the SHA-256 of its text."""
        told = self.tables["prompts"].to_dict("records")
        return tuple(
            Prompt(
                text=str(row["sha256"]),
                domain=str(row["domain"]),
                max_new_tokens=int(row["max_new_tokens"]),
            )
            for row in told
        )

    @property
    def longest(self) -> int:
        """Positions that the longest prompt takes with all its new tokens."""
        return int(
            (self.tables["prompts"]["n_prompt"] + self.tables["prompts"]["max_new_tokens"]).max()
        )

    def encoded(self, vocabulary: int, seed: int) -> tuple[tuple[int, ...], ...]:
        """Random tokens below ``vocabulary`` in place of each prompt's, as many as it had."""
        generator = torch.Generator().manual_seed(seed)
        lengths = self.tables["prompts"]["n_prompt"].tolist()
        return tuple(
            tuple(torch.randint(vocabulary, (n,), generator=generator).tolist()) for n in lengths
        )

    def rows(self, table: str, prompt: int) -> list[dict[str, Any]]:
        """The rows of one prompt in prompts, trace or branches."""
        frame = self.tables[table]
        return [
            {str(name): value for name, value in row.items()}
            for row in frame[frame["prompt"] == prompt].to_dict("records")
        ]

    def start(
        self, decoder: AdaDecoder, input_ids: torch.Tensor, design: Design, prompt: int
    ) -> ScriptedDecoding:
        """Prefill input_ids (1, n), and stand where the recording of this prompt stands after its own.

        Raises InputError for another length than the recorded one, DesignError and HeadsError for heads that are not there.
        """
        recorded = self.trace.n_prompt(prompt)
        if input_ids.shape[-1] != recorded:
            raise InputError(
                f"prompt {prompt} was recorded with {recorded} tokens, got {input_ids.shape[-1]}: give as many"
            )
        if decoder.parts.n_layers != self.n_layers:
            raise DesignError(
                f"the script is for {self.n_layers} layers, the model has {decoder.parts.n_layers}: map it to as many"
            )
        self.trace.require(design.placement)
        decoder.heads.require(design.placement)
        schedule = schedule_of(self.trace, prompt, design)
        decoder.start(input_ids, Design.of("vanilla"), max_new_tokens=schedule.max_new_tokens)
        return ScriptedDecoding(
            decoder.parts,
            decoder.heads,
            schedule,
            TraceOutcomes(self.trace, prompt, schedule, self.model),
        )

    def about(self) -> dict[str, Any]:
        """For a manifest: whose decisions these are, where its heads stand and in which form, if not the full one, and whether they were drawn, as its tokens then were."""
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
    """The numbers of the wanted prompts, in the order of the recording."""
    known = sorted(set(prompts["domain"]))
    if unknown := [domain for domain in domains or () if domain not in known]:
        raise InputError(
            f"no prompts of domain {', '.join(unknown)} in the recording: there are {', '.join(known)}"
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
    """Prompts, trace and branches of these prompts, renumbered; depths moved, those that are not mapped left out; texts cut to ``most`` outputs."""
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
