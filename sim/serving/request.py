"""A request that is served, and when what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request of a workload.

    Attributes:
        name: What tells it from the others.
        arrival_s: When it arrives, in seconds from the beginning of the workload.
        n_prompt: Tokens of its prompt, 1 or more.
        n_output: Tokens that it is answered with, 1 or more.
        blocks: Ids of its prompt's blocks, one for each whole block: two prompts with an equal id
            are equal in that block and in everything before it. Empty where nobody knows.
    """

    name: str
    arrival_s: float
    n_prompt: int
    n_output: int
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedRequest:
    """A request that was served to its end, simulated or measured.

    Times are in seconds, all on the clock of ``request.arrival_s``.

    Attributes:
        request: The request.
        scheduled_s: When the first of its work began; NaN of a measured one where nobody knows.
        token_s: When each of its tokens came out, rising. Several may come at once. A measured
            request may know the first and the last alone, or the chunks in which they came;
            ``n_output`` says how many there were.
        preemptions: How often it lost its keys and values, and was computed again.
    """

    request: Request
    scheduled_s: float
    token_s: Sequence[float]
    preemptions: int = 0
