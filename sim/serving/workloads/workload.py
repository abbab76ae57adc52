"""The requests that a server is to answer, and where they are from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adadecode.sim.serving.request import Request

if TYPE_CHECKING:
    import pandas as pd

MOST_REQUESTS = 2_000_000
"""Requests of the largest workload: each is an object, of some hundred bytes."""

MOST_TOKENS = 10**7
"""More tokens than any prompt or output has."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Requests in the order in which they arrive.

    Attributes:
        requests: The requests. The first one of a file arrives at 0 seconds.
        source: The file, or the specification that they were drawn from.
        left_out: Rows of the file that are no request that was answered, such as failures.
        in_flight: How many are in flight at all times (a closed loop): a server begins with so
            many, and each one that is answered lets the next one in, whatever its
            ``arrival_s`` says. None where each arrives at its time.
        seed: The seed that they were drawn with; None of recorded ones.
        notes: What was assumed, a sentence each.
    """

    requests: tuple[Request, ...]
    source: str
    left_out: int = 0
    in_flight: int | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds from the beginning to the last arrival."""
        return self.requests[-1].arrival_s

    @property
    def rate(self) -> float | None:
        """Requests per second on average; None in a closed loop, or if all come at once."""
        span = self.seconds - self.requests[0].arrival_s
        if self.in_flight is not None or span == 0:
            return None
        return (len(self.requests) - 1) / span

    def to_frame(self) -> pd.DataFrame:
        """Return one row per request: ``name``, ``arrival_s``, ``n_prompt`` and ``n_output``."""
        import pandas as pd

        columns = ("name", "arrival_s", "n_prompt", "n_output")
        return pd.DataFrame(
            {name: [getattr(one, name) for one in self.requests] for name in columns}
        )

    def to_json(self) -> dict[str, Any]:
        """Return a summary: where the requests are from, how many there are, and how long."""
        return {
            "source": self.source,
            "requests": len(self.requests),
            "left_out": self.left_out,
            "in_flight": self.in_flight,
            "seed": self.seed,
            "seconds": self.seconds,
            "rate": self.rate,
            "prompt_tokens": sum(one.n_prompt for one in self.requests),
            "output_tokens": sum(one.n_output for one in self.requests),
            "notes": list(self.notes),
        }
