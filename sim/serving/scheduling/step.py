"""One step of a server: what is computed at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Chunk(NamedTuple):
    """Several tokens of one sequence, computed at once.

    Attributes:
        n_tokens: The tokens, 2 or more.
        cached: Positions before them, whose keys and values are there.
    """

    n_tokens: int
    cached: int


@dataclass(slots=True)
class StepWork:
    """What the time of a step depends on.

    Attributes:
        chunks: Sequences that compute several tokens, mostly of prompts.
        contexts: For each sequence that computes one token, the positions before it.
    """

    chunks: list[Chunk] = field(default_factory=list)
    contexts: list[int] = field(default_factory=list)

    @property
    def n_tokens(self) -> int:
        """Tokens of the step."""
        return len(self.contexts) + sum(chunk.n_tokens for chunk in self.chunks)

    @property
    def n_sequences(self) -> int:
        """Sequences of the step. Each has one row of logits, whether it is used or not."""
        return len(self.contexts) + len(self.chunks)

    def add(self, n_tokens: int, cached: int) -> None:
        """Add a sequence that computes so many tokens after the cached ones."""
        if n_tokens == 1:
            self.contexts.append(cached)
        else:
            self.chunks.append(Chunk(n_tokens, cached))
