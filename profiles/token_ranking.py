"""The order in which shortlists take tokens: one for the engine and the simulator.

A recording carries what is needed to repeat it (`TokenRanking`), so that both take the same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TokenRanking:
    """Every token of a model, the most frequent first; a shortlist is the beginning.

    Tokens that were counted come first. All others follow by rising id: the ids of a BPE
    vocabulary are nearly in order of frequency, single bytes first.

    Attributes:
        counted: Ids of the tokens that were counted, the most frequent first. Those that end a text
            stand before them: a head that cannot end a text drafts a wrong token there.
        vocabulary: Rows of the model's LM head.
        source: What the tokens were counted in, in words; empty where nothing was counted.
    """

    counted: tuple[int, ...]
    vocabulary: int
    source: str = ""

    @classmethod
    def from_manifest(cls, about: Mapping[str, Any]) -> TokenRanking | None:
        """Return the ranking of a manifest; None where it holds none.

        Args:
            about: The section ``heads`` of a manifest that was checked.
        """
        ranking = about.get("ranking")
        if not ranking:
            return None
        return cls(
            counted=tuple(ranking["counted"]),
            vocabulary=int(ranking["vocabulary"]),
            source=str(ranking.get("source") or ""),
        )

    def to_manifest(self) -> dict[str, Any]:
        """Return the ranking as a manifest holds it."""
        return {
            "source": self.source,
            "vocabulary": self.vocabulary,
            "counted": list(self.counted),
        }

    def shortlist(self, size: int) -> tuple[int, ...]:
        """Return the first tokens, the most frequent first: ``size`` of them, or all there are."""
        return first_tokens(self.counted, self.vocabulary, size)

    @property
    def words(self) -> str:
        """What a shortlist holds, in words."""
        by_id = "by id, the lowest first"
        return f"as counted in {self.source}, then {by_id}" if self.source else by_id


def first_tokens(counted: Sequence[int], vocabulary: int, size: int) -> tuple[int, ...]:
    """Return the tokens of a shortlist, the most frequent first.

    Args:
        counted: Ids of the tokens that were counted, the most frequent first.
        vocabulary: Rows of the model's LM head.
        size: How many tokens are wanted; all where there are no more.
    """
    held = tuple(counted[:size])
    seen = frozenset(held)
    others = (token for token in range(vocabulary) if token not in seen)
    return (*held, *islice(others, size - len(held)))
