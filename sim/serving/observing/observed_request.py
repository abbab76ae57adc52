"""What became of one request at a real server, and how it is written down."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from adadecode.sim.serving.observing.answer import FailureKind
from adadecode.sim.serving.request import Request, ServedRequest

NS = 1e-9
"""Seconds of a nanosecond."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a request failed.

    Attributes:
        kind: How.
        words: What the server or the system said.
        status: The status of the answer; None where there was none, or it was 200.
    """

    kind: FailureKind
    words: str
    status: int | None = None

    @property
    def name(self) -> str:
        """The kind, with the status where there is one: ``status 429``."""
        return f"{self.kind}" if self.status is None else f"{self.kind} {self.status}"


@dataclass(frozen=True, kw_only=True)
class ObservedRequest:
    """One request. Times are nanoseconds since 1970, of a clock that only rises.

    Attributes:
        name: What tells it from the others.
        number: Its place in the workload.
        due_ns: When it was to be sent.
        sent_ns: When it was sent.
        end_ns: When its answer had ended, or it failed.
        chunk_ns: When each piece of the answer came.
        n_prompt: Tokens of the prompt, as the server counts; 0 of one that failed.
        n_output: Tokens of the answer, as the server counts; 0 of one that failed.
        failure: Why it failed; None of one that was answered.
    """

    name: str
    number: int
    due_ns: int
    sent_ns: int
    end_ns: int
    chunk_ns: tuple[int, ...] = ()
    n_prompt: int = 0
    n_output: int = 0
    failure: Failure | None = None

    @property
    def late_s(self) -> float:
        """Seconds from when it was to be sent until it was."""
        return NS * (self.sent_ns - self.due_ns)

    @property
    def counted_ns(self) -> tuple[int, ...]:
        """When the pieces came that count: one token came with its first piece."""
        return self.chunk_ns if self.n_output > 1 else self.chunk_ns[:1]

    def served(self, start_ns: int) -> ServedRequest:
        """Return an answered request, on a clock that is 0 at ``start_ns``.

        It arrives when it was sent: the server knows of no other time.
        """
        arrival_s = NS * (self.sent_ns - start_ns)
        request = Request(
            name=self.name, arrival_s=arrival_s, n_prompt=self.n_prompt, n_output=self.n_output
        )
        times = self.counted_ns
        if self.n_output > 1 and len(times) == 1:  # the first token and the last one
            times *= 2
        return ServedRequest(
            request=request,
            scheduled_s=math.nan,
            token_s=tuple(NS * (one - start_ns) for one in times),
        )

    def line(self) -> str:
        """Return the request as a line of AIPerf's ``profile_export.jsonl``.

        Beside what AIPerf writes, the metadata say when it was to be sent (``due_ns``).
        """
        metrics: dict[str, Any] = {}
        if self.failure is None:
            first, last = self.counted_ns[0], self.counted_ns[-1]
            gaps = [later - sooner for sooner, later in pairwise(self.counted_ns)]
            metrics = {
                "input_sequence_length": {"value": self.n_prompt, "unit": "tokens"},
                "output_sequence_length": {"value": self.n_output, "unit": "tokens"},
                "time_to_first_token": _ms(first - self.sent_ns),
                "request_latency": _ms(last - self.sent_ns),
                **({"inter_chunk_latency": _ms(gaps)} if gaps else {}),
            }
        failed = self.failure
        record = {
            "metadata": {
                "session_num": self.number,
                "x_request_id": self.name,
                "due_ns": self.due_ns,
                "request_start_ns": self.sent_ns,
                "request_end_ns": self.end_ns,
                "benchmark_phase": "profiling",
                "was_cancelled": False,
            },
            "metrics": metrics,
            "error": None
            if failed is None
            else {"code": failed.status, "type": str(failed.kind), "message": failed.words},
        }
        return json.dumps(record, ensure_ascii=False) + "\n"


def _ms(nanoseconds: int | list[int]) -> dict[str, Any]:
    """Return times as AIPerf writes them: milliseconds, with their unit."""
    if isinstance(nanoseconds, list):
        return {"value": [one / 1e6 for one in nanoseconds], "unit": "ms"}
    return {"value": nanoseconds / 1e6, "unit": "ms"}
