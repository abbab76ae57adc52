"""Recorded texts that requests are answered with, whatever their lengths.

A request is answered with one of the recorded texts, which its name and a seed draw. It is the text
itself, from its first token on, where that is long enough. Where it is not, further recorded texts
follow, in an order that the seed draws, until the request has its tokens: heads then say about each
token what they said when it was recorded. A text that ended by itself is continued before its end.
Nothing of a prompt is used but its first token's place: how long a prompt is, the request says.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.errors import DesignError, ProfileError
from adadecode.profiles.hashing import dice, pick
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.parsing import scale_head_map
from adadecode.sim.core.scheduler import Schedule
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.serving.request import Request

MOST_JOINED = 400_000
"""Tokens of joined texts in all, beyond which requests share fewer of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Recorded texts, and longer ones that are joined of them. Build it with `of`.

    Attributes:
        trace: All texts.
        recorded: Those that were recorded.
        joined: Those that are as long as the longest request.
        model: What heads say off a text.
        seed: What texts are drawn with.
    """

    trace: Trace
    recorded: tuple[int, ...]
    joined: tuple[int, ...]
    model: BranchModel
    seed: int

    @classmethod
    def of(
        cls,
        profile: Profile,
        longest: int,
        *,
        seed: int = 0,
        heads_at: Mapping[int, int] | None = None,
        n_layers: int | None = None,
    ) -> Texts:
        """Return the texts of a profile.

        Args:
            profile: A recording, or a synthetic trace.
            longest: Tokens of the longest answer.
            seed: See above.
            heads_at: Where each head of the text stands in the model, by the depth it was trained
                at; by default where it was trained.
            n_layers: Layers of the model; by default those of the profile.

        Raises:
            ProfileError: If the profile has no text of two tokens.
            DesignError: If the heads do not fit the model.
        """
        layers = profile.n_layers if n_layers is None else n_layers
        known = _known_tokens(profile.prompts)
        if not known:
            raise ProfileError(
                f"wanted recorded texts to answer requests with, got none of two tokens or more in "
                f"{profile.path}: give a recording or a synthetic trace with --trace"
            )
        frames, joined = _joined(profile, known, longest, seed)

        def trace_of(prompts: pd.DataFrame, trace: pd.DataFrame, branches: pd.DataFrame) -> Trace:
            found = Trace.from_frames(
                prompts,
                trace,
                branches,
                n_layers=profile.n_layers,
                depths=profile.depths,
                eos=profile.manifest["eos_token_ids"],
                sampled=profile.sampled,
            )
            return _placed(found, heads_at, layers)

        own = BranchModel(trace_of(profile.prompts, profile.trace, profile.branches))
        if not joined:
            return cls(trace=own.trace, recorded=tuple(known), joined=(), model=own, seed=seed)
        # What stands in off the text is drawn from what was recorded, each once.
        model = copy(own)
        model.trace, model.outputs = trace_of(*frames), own.outputs
        return cls(trace=model.trace, recorded=tuple(known), joined=joined, model=model, seed=seed)

    def drawn(self, seed: int | None) -> Texts:
        """Return the same texts, drawn for requests that were themselves drawn with a seed.

        Requests of two seeds have the same names. None is for recorded requests.
        """
        return self if seed is None else replace(self, seed=dice(self.seed, seed))

    def text_of(self, request: Request) -> int:
        """Return the number of the text that answers a request."""
        number = dice(self.seed, zlib.crc32(request.name.encode()))
        text = self.recorded[pick(number, len(self.recorded))]
        if request.n_output <= self.trace.n_output(text):
            return text
        return self.joined[pick(number, len(self.joined))]

    def budget(self, request: Request) -> int:
        """Return the tokens up to which drafts for a request may go.

        They are those that it asks for, or where it takes a text whole, the budget that the text
        was recorded with: that one may be larger, as the text may have ended by itself.
        """
        text = self.text_of(request)
        whole = request.n_output == self.trace.n_output(text)
        return self.trace.max_new_tokens(text) if whole else request.n_output

    def schedule(self, request: Request, design: Design) -> Schedule:
        """Return the schedule of a request as it is after its prompt.

        It ends with the last token that the request asks for.
        """
        text = self.text_of(request)
        return Schedule(
            design=design,
            n_layers=self.trace.n_layers,
            n_prompt=request.n_prompt,
            first_token=self.trace.first_token(text),
            max_new_tokens=self.budget(request),
            eos=self.trace.eos,
            sampled=self.trace.sampled,
        )


def _known_tokens(prompts: pd.DataFrame) -> dict[int, int]:
    """Return how many tokens after the first each text gives to others; those that give none not.

    The end of a text is not among them.
    """
    given = prompts["n_output"] - 1 - prompts["ended"].astype(int)
    return {
        int(prompt): int(tokens)
        for prompt, tokens in zip(prompts["prompt"], given, strict=True)
        if tokens > 0
    }


def _joined(
    profile: Profile, known: Mapping[int, int], longest: int, seed: int
) -> tuple[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame], tuple[int, ...]]:
    """Return the tables of a profile with joined texts, and the numbers of those.

    There are none where every text is long enough.
    """
    prompts, spoken = profile.prompts.set_index("prompt", drop=False), list(known)
    if int(prompts.loc[spoken, "n_output"].min()) >= longest:
        return (profile.prompts, profile.trace, profile.branches), ()
    first = int(prompts["prompt"].max()) + 1
    count = max(1, min(len(spoken), MOST_JOINED // longest))
    numbers = range(first, first + count)
    pieces = np.array(
        [
            (number, *piece)
            for place, number in enumerate(numbers)
            for piece in _order(known, longest, [seed, place])
        ],
        dtype=np.int64,
    )
    about = prompts.loc[spoken[:count]].assign(
        prompt=numbers, n_output=longest, max_new_tokens=longest, ended=False
    )
    listed = pd.concat([profile.prompts, about], ignore_index=True)
    said, off = (_with_pieces(table, pieces) for table in (profile.trace, profile.branches))
    return (listed, said, off), tuple(numbers)


def _with_pieces(table: pd.DataFrame, pieces: NDArray[np.int64]) -> pd.DataFrame:
    """Return a table with the rows of joined texts behind its own.

    Args:
        table: A table by prompt and output.
        pieces: The number of a joined text, the recorded text that goes on there, the tokens before
            it, and how many it gives; ``[pieces, 4]``.
    """
    number, text, skip, tokens = pieces.T
    prompt, output = (table[name].to_numpy(dtype=np.int64) for name in ("prompt", "output"))
    order = np.lexsort((output, prompt))
    width = max(output.max(initial=0), tokens.max()) + 1
    places = prompt[order] * width + output[order]
    start = np.searchsorted(places, text * width)
    rows = np.searchsorted(places, text * width + tokens, side="right") - start
    behind = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
    taken = table.iloc[order[np.repeat(start, rows) + behind]]
    moved = taken["output"].to_numpy(dtype=np.int64) + np.repeat(skip, rows)
    joined: pd.DataFrame = taken.assign(prompt=np.repeat(number, rows), output=moved)
    return pd.concat([table, joined.astype(table.dtypes)], ignore_index=True)


def _order(
    known: Mapping[int, int], longest: int, seed: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    """Yield which texts follow each other, the tokens before each, and how many it gives.

    The first of them is the text of its own place, the last number of the seed.
    """
    spoken = list(known)
    draws = np.random.default_rng(seed)
    there = 0
    following = [spoken[seed[-1]]]
    while there < longest - 1:
        for text in following:
            if tokens := min(known[text], longest - 1 - there):
                yield text, there, tokens
            there += tokens
        following = [spoken[one] for one in draws.permutation(len(spoken)).tolist()]


def _placed(trace: Trace, heads_at: Mapping[int, int] | None, n_layers: int) -> Trace:
    """Return the trace with its heads where they stand in the model. Raises DesignError."""
    if heads_at is not None:
        return trace.mapped(heads_at, n_layers)
    if trace.n_layers != n_layers:
        in_proportion = scale_head_map(trace.depths, trace.n_layers, n_layers)
        raise DesignError(
            f"the trace is of a model with {trace.n_layers} layers, the latencies are of one with "
            f"{n_layers}: say where its heads would stand, for instance in proportion with "
            f"--map {in_proportion}"
        )
    return trace
