"""Timelines of runs as Chrome trace JSON, which Perfetto and chrome://tracing open.

A process is a device, and a thread a segment of layers (then heads with their gates, then
verification). A slice
is a piece of work, a flow a token on its way through the stack, and the counter the number of
drafts that wait for verification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from adadecode.sim.core.scheduler import Check, Draft, Gate, Run, Score, Verdict, Verify
from adadecode.sim.replay.simulation import Event, ReplayedRun

Record = dict[str, Any]

COUNTER = "drafts in flight"


def chrome_trace(runs: Mapping[str, ReplayedRun], boundaries: Sequence[int]) -> dict[str, Any]:
    """Return the runs of one design as a Chrome trace.

    ``ts`` and ``dur`` are in microseconds, rounded to whole nanoseconds. Slices of one thread never
    overlap.

    Args:
        runs: The runs with their events, each by the name of its process.
        boundaries: The design's segments, 0..L.

    Returns:
        An object for JSON.
    """
    records: list[Record] = []
    for pid, (name, run) in enumerate(runs.items(), start=1):
        records += _name_records(pid, name, boundaries)
        slices = _slices(pid, run, boundaries)
        records += slices
        records += _flows(run.events, slices, run.n_prompt, first_id=len(records))
        records += _counter_records(pid, run.events, slices)
    return {"traceEvents": records, "displayTimeUnit": "ms"}


def _name_records(pid: int, name: str, boundaries: Sequence[int]) -> list[Record]:
    """Return the names of the process and its threads, shallow segments first."""
    segments = [f"layers {start + 1}-{stop}" for start, stop in pairwise(boundaries)]
    records: list[Record] = [
        {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}
    ]
    for tid, thread in enumerate([*segments, "heads", "verify"], start=1):
        for kind, args in (
            ("thread_name", {"name": thread}),
            ("thread_sort_index", {"sort_index": tid}),
        ):
            records.append({"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args})
    return records


def _slices(pid: int, run: ReplayedRun, boundaries: Sequence[int]) -> list[Record]:
    """Return one X record for each event, in order."""
    records = []
    for event in run.events:
        tid, name, args = _describe_work(event, run.n_prompt, heads_tid=len(boundaries))
        start_us = _microseconds(event.start_s)
        records.append(
            {
                "ph": "X",
                "cat": "work",
                "name": name,
                "pid": pid,
                "tid": tid,
                "ts": start_us,
                "dur": round(_microseconds(event.start_s + event.seconds) - start_us, 3),
                "args": {"tokens": list(event.tokens), **args},
            }
        )
    return records


def _describe_work(event: Event, n_prompt: int, *, heads_tid: int) -> tuple[int, str, Record]:
    """Return the thread of a piece of work, its name, and its arguments but for the tokens."""
    work, outcome = event.work, event.outcome
    if isinstance(work, Run):
        outputs = [position - n_prompt for position in range(work.start, work.stop)]
        return work.segment + 1, _count_tokens(work.stop - work.start), {"outputs": outputs}
    if isinstance(work, Check):
        args: Record = {}
        if isinstance(outcome, Draft):
            args = {
                "output": work.position - n_prompt + 1,
                "confidence": outcome.confidence,
                "token": outcome.token,
            }
        return heads_tid, f"head {work.depth}", args
    if isinstance(work, Gate):
        args = {"output": work.position - n_prompt + 1}
        if isinstance(outcome, Score):
            args["score"] = outcome.value
        return heads_tid, f"gate {work.depth}", args
    args = {}
    if isinstance(outcome, Verdict):
        args = {
            "drafts": list(work.drafts),
            "accepted": outcome.accepted,
            "token": outcome.token,
        }
    return heads_tid + 1, f"verify {_count_tokens(work.stop - work.start)}", args


def _flows(
    events: Sequence[Event], slices: Sequence[Record], n_prompt: int, first_id: int
) -> list[Record]:
    """Return one flow for each token that was computed, from its first slice to its last.

    A position that is computed again after a rejection is another token.
    """
    tokens: list[tuple[int, list[Record]]] = []  # (position, slices)
    newest: dict[int, list[Record]] = {}  # by position
    for event, piece in zip(events, slices, strict=True):
        work = event.work
        if isinstance(work, Run) and work.segment == 0:
            newest[work.start] = []
            tokens.append((work.start, newest[work.start]))
        if isinstance(work, Run | Verify):
            for position in range(work.start, work.stop):
                newest[position].append(piece)
    return [
        record
        for number, (position, pieces) in enumerate(tokens)
        for record in _flow(pieces, f"output {position - n_prompt}", first_id + number)
    ]


def _flow(pieces: Sequence[Record], name: str, flow_id: int) -> list[Record]:
    """Return the flow of one token through its slices; empty for a single slice."""
    if len(pieces) < 2:
        return []
    records: list[Record] = []
    for step, piece in enumerate(pieces):
        last = step == len(pieces) - 1
        record: Record = {
            "ph": "s" if step == 0 else "f" if last else "t",
            "cat": "token",
            "name": name,
            "id": flow_id,
            "pid": piece["pid"],
            "tid": piece["tid"],
            "ts": round(piece["ts"] + piece["dur"] / 2, 3),
        }
        records.append({**record, "bp": "e"} if last else record)
    return records


def _counter_records(pid: int, events: Sequence[Event], slices: Sequence[Record]) -> list[Record]:
    """Return how many drafts wait for verification.

    There is one more with each token that starts on a draft, and none after a Verify.
    """
    records: list[Record] = []
    first = -1  # position of the round's first token

    def count(ts: float, drafts: int) -> None:
        records.append(
            {"ph": "C", "name": COUNTER, "pid": pid, "ts": ts, "args": {"drafts": drafts}}
        )

    for event, piece in zip(events, slices, strict=True):
        if isinstance(event.work, Run) and event.work.segment == 0:
            first = event.work.start if first < 0 else first
            count(piece["ts"], event.work.start - first)
        elif isinstance(event.work, Verify):
            count(round(piece["ts"] + piece["dur"], 3), 0)
            first = -1
    return records


def _microseconds(seconds: float) -> float:
    """Return microseconds, rounded to whole nanoseconds."""
    return round(seconds * 1e6, 3)


def _count_tokens(count: int) -> str:
    return f"{count} token{'s' if count > 1 else ''}"
