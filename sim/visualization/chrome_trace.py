"""Timelines of runs as Chrome trace JSON, which Perfetto and chrome://tracing open.

A process is a device, a thread a segment of layers (then the heads, then verification), a slice a piece of work, a flow a token on
its way through the stack, and the counter the drafts that wait for verification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from adadecode.sim.core.scheduler import Check, Draft, Run, Verdict, Verify
from adadecode.sim.replay.simulation import Event, ReplayedRun

Record = dict[str, Any]

COUNTER = "drafts in flight"


def chrome_trace(runs: Mapping[str, ReplayedRun], boundaries: Sequence[int]) -> dict[str, Any]:
    """The runs of one design as a JSON object, each a process under its name. The runs need their events.

    boundaries: the design's segments, 0..L. ``ts`` and ``dur`` are in microseconds, whole nanoseconds: slices of one thread never overlap.
    """
    records: list[Record] = []
    for pid, (name, run) in enumerate(runs.items(), start=1):
        records += _names(pid, name, boundaries)
        slices = _slices(pid, run, boundaries)
        records += slices
        records += _flows(run.events, slices, run.n_prompt, first_id=len(records))
        records += _counter(pid, run.events, slices)
    return {"traceEvents": records, "displayTimeUnit": "ms"}


def _names(pid: int, name: str, boundaries: Sequence[int]) -> list[Record]:
    """What the process and its threads are called, shallow segments first."""
    threads = [f"layers {start + 1}-{stop}" for start, stop in pairwise(boundaries)] + [
        "heads",
        "verify",
    ]
    records: list[Record] = [
        {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}
    ]
    for tid, thread in enumerate(threads, start=1):
        records.append(
            {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": thread}}
        )
        records.append(
            {
                "ph": "M",
                "name": "thread_sort_index",
                "pid": pid,
                "tid": tid,
                "args": {"sort_index": tid},
            }
        )
    return records


def _slices(pid: int, run: ReplayedRun, boundaries: Sequence[int]) -> list[Record]:
    """One X record for each event, in order."""
    heads = len(boundaries)
    records = []
    for event in run.events:
        work, outcome = event.work, event.outcome
        args: Record = {"tokens": list(event.tokens)}
        if isinstance(work, Run):
            tid, name = work.segment + 1, _tokens(work.stop - work.start)
            args["outputs"] = [position - run.n_prompt for position in range(work.start, work.stop)]
        elif isinstance(work, Check):
            tid, name = heads, f"head {work.depth}"
            if isinstance(outcome, Draft):
                args |= {
                    "output": work.position - run.n_prompt + 1,
                    "confidence": outcome.confidence,
                    "token": outcome.token,
                }
        else:
            tid, name = heads + 1, f"verify {_tokens(work.stop - work.start)}"
            if isinstance(outcome, Verdict):
                args |= {
                    "drafts": list(work.drafts),
                    "accepted": outcome.accepted,
                    "token": outcome.token,
                }
        ts = _us(event.start_s)
        dur = round(_us(event.start_s + event.seconds) - ts, 3)
        records.append(
            {
                "ph": "X",
                "cat": "work",
                "name": name,
                "pid": pid,
                "tid": tid,
                "ts": ts,
                "dur": dur,
                "args": args,
            }
        )
    return records


def _flows(
    events: Sequence[Event], slices: Sequence[Record], n_prompt: int, first_id: int
) -> list[Record]:
    """One flow for each token that was computed, from its first slice to its last; a position recomputed after a rejection is another token."""
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
    records = []
    for number, (position, pieces) in enumerate(tokens):
        for step, piece in enumerate(pieces if len(pieces) > 1 else ()):
            phase = "s" if step == 0 else "f" if step == len(pieces) - 1 else "t"
            where = {
                "pid": piece["pid"],
                "tid": piece["tid"],
                "ts": round(piece["ts"] + piece["dur"] / 2, 3),
            }
            record = {
                "ph": phase,
                "cat": "token",
                "name": f"output {position - n_prompt}",
                "id": first_id + number,
                **where,
            }
            records.append({**record, "bp": "e"} if phase == "f" else record)
    return records


def _counter(pid: int, events: Sequence[Event], slices: Sequence[Record]) -> list[Record]:
    """How many drafts wait for verification: one more with each token that starts on a draft, none after a Verify."""
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


def _us(seconds: float) -> float:
    """Microseconds, to whole nanoseconds."""
    return round(seconds * 1e6, 3)


def _tokens(n: int) -> str:
    return f"{n} token{'s' if n > 1 else ''}"
