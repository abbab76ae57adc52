"""Requests served one after the other by one server, in order: a queue whose waits are known."""

from __future__ import annotations

from collections.abc import Iterable

from adadecode.sim.serving.request import Request, ServedRequest


def served_queue(arrivals_s: Iterable[float], works_s: Iterable[float]) -> list[ServedRequest]:
    """Return requests of one token, which comes when the work is done (Lindley's recursion)."""
    served, free = [], 0.0
    for index, (arrival, work) in enumerate(zip(arrivals_s, works_s, strict=True)):
        begin = max(arrival, free)
        free = begin + work
        request = Request(name=str(index), arrival_s=arrival, n_prompt=1, n_output=1)
        served.append(ServedRequest(request=request, scheduled_s=begin, token_s=(free,)))
    return served
