"""One text of a batched decoder: its tokens, and the hidden states that wait for deeper layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from adadecode.engine.decoding.sampling import Sampler, TokenSelector
from adadecode.profiles.errors import InputError
from adadecode.sim.core.scheduler import Verify
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.request import Request, ServedRequest


class BatchedText:
    """A text that a batched decoder writes.

    Attributes:
        prompt: Token ids of the prompt.
        sequence: What it waits with.
        selector: Takes tokens from logits.
        seed: The seed of a sampled text; None for a greedy one.
        arrival_s: When it arrived, in seconds on the decoder's clock.
        scheduled_s: When the first of its work began; None before.
        token_s: When each of its tokens came out.
        cancelled: Whether it was cancelled before its end.

    Args:
        prompt: See above.
        sequence: See above.
        selector: See above.
        seed: See above.
        arrival_s: See above.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sequence: BatchedSequence,
        *,
        selector: TokenSelector,
        seed: int | None,
        arrival_s: float,
    ) -> None:
        self.prompt, self.sequence = list(prompt), sequence
        self.selector, self.seed = selector, seed
        self.arrival_s = arrival_s
        self.scheduled_s: float | None = None
        self.token_s: list[float] = []
        self.cancelled = False
        self._waiting: list[list[torch.Tensor]] = [[] for _ in range(sequence.n_segments + 1)]

    @property
    def name(self) -> str:
        """Its name in the record of steps."""
        return self.sequence.name

    @property
    def tokens(self) -> list[int]:
        """The committed tokens."""
        schedule = self.sequence.schedule
        return [] if schedule is None else schedule.tokens

    def served(self) -> ServedRequest:
        """Return when what happened to it, once its text has ended.

        Raises:
            InputError: It has no token, and so no times.
        """
        if self.scheduled_s is None or not self.token_s:
            how = "was cancelled before its first" if self.cancelled else "has none yet"
            raise InputError(
                f"wanted the times of a request with at least one token, got {self.name!r}, which "
                f"{how}: leave it out where its `cancelled` is true, or call `result` first"
            )
        return ServedRequest(
            request=Request(
                name=self.name,
                arrival_s=self.arrival_s,
                n_prompt=len(self.prompt),
                n_output=len(self.token_s),
            ),
            scheduled_s=self.scheduled_s,
            token_s=tuple(self.token_s),
            preemptions=self.sequence.preemptions,
        )

    # -- hidden states --------------------

    def embedded(self, start: int, stop: int) -> list[int]:
        """Return the tokens that the first segment is to be run on, of positions [start, stop)."""
        schedule = self.sequence.schedule
        if schedule is None:
            return self.prompt[start:stop]
        if self.sequence.prefilling:
            return [*self.prompt, *schedule.tokens][start:stop]
        return [schedule.newest]

    def take(self, segment: int) -> list[torch.Tensor]:
        """Hand out the hidden states that wait for a segment."""
        chunks, self._waiting[segment] = self._waiting[segment], []
        return chunks

    def wait(self, segment: int, hidden: torch.Tensor) -> None:
        """Let hidden states ``(1, n, d)`` wait behind a segment.

        Behind the last one nothing is computed any more, so only the newest ones stay.
        """
        if segment + 1 == self.sequence.n_segments:
            self._waiting[-1].clear()
        self._waiting[segment + 1].append(hidden)

    def newest(self, segment: int) -> torch.Tensor:
        """Return the hidden state ``(1, 1, d)`` of the newest position behind a segment."""
        return self._waiting[segment + 1][-1][:, -1:]

    def verified(self, work: Verify) -> torch.Tensor:
        """Return the hidden states ``(1, n, d)`` at the last depth of the positions of a work."""
        (hidden,) = self._waiting[-1]
        return hidden[:, hidden.shape[1] - (work.stop - work.start) :]

    def drop(self) -> None:
        """Drop the hidden states that wait."""
        for chunks in self._waiting:
            chunks.clear()

    def rewind(self) -> None:
        """Drop what waits, and what was drawn in the open round."""
        self.drop()
        if isinstance(self.selector, Sampler):
            self.selector.rewind()
