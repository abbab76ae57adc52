"""Stand-ins for the tokens of a recording, drawn anew at every position of every text.

A replay asks of two tokens only whether they are the same at the same place, and whether a text
ends there. So each token gets a number of its own at each place. Nothing is left of which tokens
are frequent, or come again: no numbering of a vocabulary could be worked out from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from adadecode.profiles.schema import LOAD_TABLES, OPTIONAL_TABLES
from adadecode.profiles.store import Profile

Place = tuple[int, int]
"""A prompt, and the number of an output in its text."""


@dataclass(kw_only=True)
class StandIns:
    """The stand-ins of one copy.

    Attributes:
        ends: The stand-in of each end token, the same everywhere.
        given: The others, by their place and the token.
    """

    ends: Mapping[int, int]
    given: dict[tuple[Place, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, eos: Sequence[int]) -> StandIns:
        """Return none but those of the end tokens."""
        return cls(ends={token: number for number, token in enumerate(sorted(set(eos)))})

    def at(self, place: Place, token: int) -> int:
        """Return the stand-in of a token at a place. What is no token (-1) stays."""
        if token < 0:
            return token
        if token in self.ends:
            return self.ends[token]
        return self.given.setdefault((place, token), len(self.ends) + len(self.given))


def without_tokens(profile: Profile) -> tuple[dict[str, pd.DataFrame], list[int]]:
    """Return the tables of a recording with stand-ins for all tokens, and those of its end tokens.

    Args:
        profile: The recording. Tables without tokens are as they were.
    """
    made = StandIns.of(profile.manifest["eos_token_ids"])
    tables = {
        "prompts": _prompts(profile.prompts, made),
        "trace": _trace(profile.trace, made),
        "branches": _branches(profile.branches, made),
        **{name: getattr(profile, name) for name in ("latency", "runs", "rounds", "works")},
    }
    if profile.sampled:
        tables["draws"] = _draws(profile.draws, made)
    for name in OPTIONAL_TABLES:
        if name not in LOAD_TABLES and len(getattr(profile, name)):  # their steps hold the texts
            tables[name] = getattr(profile, name)
    return tables, sorted(made.ends.values())


def _prompts(table: pd.DataFrame, made: StandIns) -> pd.DataFrame:
    pairs = zip(table["prompt"].tolist(), table["first_token"].tolist(), strict=True)
    nothing = pd.Series([()] * len(table), index=table.index, dtype=object)
    return table.assign(
        first_token=[made.at((prompt, 0), token) for prompt, token in pairs], in_prompt=nothing
    )


def _trace(table: pd.DataFrame, made: StandIns) -> pd.DataFrame:
    columns = (table[name].tolist() for name in ("prompt", "output", "token"))
    tokens = [made.at((prompt, at), token) for prompt, at, token in zip(*columns, strict=True)]
    return table.assign(token=tokens)


def _branches(table: pd.DataFrame, made: StandIns) -> pd.DataFrame:
    """Return the branches; the draft at place i of a path stands at the output i further on."""
    paths, tokens = [], []
    columns = (table[name].tolist() for name in ("prompt", "output", "path", "token"))
    for prompt, output, path, token in zip(*columns, strict=True):
        drafts = enumerate(path, start=output)
        paths.append(tuple(made.at((prompt, at), draft) for at, draft in drafts))
        tokens.append(made.at((prompt, output + len(path)), token))
    return table.assign(path=pd.Series(paths, index=table.index, dtype=object), token=tokens)


def _draws(table: pd.DataFrame, made: StandIns) -> pd.DataFrame:
    """Return the draws: of each it matters only whether it ends the text."""
    places = ((-1, number) for number in range(len(table)))
    pairs = zip(places, table["token"].tolist(), strict=True)
    return table.assign(token=[made.at(place, token) for place, token in pairs])
