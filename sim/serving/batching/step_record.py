"""What the steps of a batched run did: enough to form the same batches again (tier T0)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.sim.core.scheduler import Draft, Outcome, Score, Verdict
from adadecode.sim.serving.batching.batcher import Batch, Span

EVENTS = ("arrived", "cancelled", "preempted", "admitted", "ended")
"""What happens to a request at a step, in this order; the last after the step, the others before.
"""

WORK_COLUMNS: dict[str, str] = {
    "step": "int64",
    "segment": "int64",
    "request": "str",
    "start": "int64",
    "stop": "int64",
    "score": "float64",
    "confidence": "float64",
    "draft": "Int64",
    "accepted": "Int64",
    "token": "Int64",
    "begun_s": "float64",
    "seconds": "float64",
}
"""Columns of the table of work and their types: a row for each sequence of a step.

``start`` and ``stop`` are the positions that were computed; ``score`` is a gate's, ``confidence``
and ``draft`` are a head's, ``accepted`` and ``token`` the last layer's, and missing where nobody
asked. ``begun_s`` and ``seconds`` are of the whole step, in seconds.
"""

EVENT_COLUMNS: dict[str, str] = {"step": "int64", "request": "str", "event": "str"}
"""Columns of the table of events: who arrived, was admitted, and so on, before or after a step."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of a batched run.

    Attributes:
        batch: What it ran, and who was admitted and preempted before it.
        outcomes: What each sequence was told, in order: scores, drafts and verdicts by name.
        arrived: Who was queued since the step before.
        cancelled: Who was cancelled since the step before, arrivals included.
        ended: Whose texts ended with it.
        begun_s: When it began, in seconds from the beginning of the run.
        seconds: How long it took.
    """

    batch: Batch
    outcomes: tuple[tuple[str, Outcome], ...] = ()
    arrived: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    begun_s: float = 0.0
    seconds: float = 0.0

    def events(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Yield each kind of event of `EVENTS`, with the requests that it happened to."""
        batch = self.batch
        found = (self.arrived, self.cancelled, batch.preempted, batch.admitted, self.ended)
        return zip(EVENTS, found, strict=True)


def in_row_order(
    batch: Batch, outcomes: Iterable[tuple[str, Outcome]]
) -> tuple[tuple[str, Outcome], ...]:
    """Return outcomes in the order of the batch's rows, those of a sequence in their own."""
    rows = {span.name: row for row, span in enumerate(batch.spans)}
    return tuple(sorted(outcomes, key=lambda one: rows[one[0]]))


def work_table(steps: Sequence[StepRecord]) -> pd.DataFrame:
    """Return a row for each sequence of each step, with the columns of `WORK_COLUMNS`."""
    rows = []
    for record in steps:
        told = _by_name(record.outcomes)
        for name, start, stop in record.batch.spans:
            row = {
                "step": record.batch.step,
                "segment": record.batch.segment,
                "request": name,
                "start": start,
                "stop": stop,
                "begun_s": record.begun_s,
                "seconds": record.seconds,
            }
            for outcome in told.get(name, ()):
                row |= columns_of(outcome)
            rows.append(row)
    return pd.DataFrame(rows, columns=list(WORK_COLUMNS)).astype(WORK_COLUMNS)


def event_table(steps: Sequence[StepRecord]) -> pd.DataFrame:
    """Return a row for each event of each step, with the columns of `EVENT_COLUMNS`."""
    rows = [
        (record.batch.step, name, event)
        for record in steps
        for event, names in record.events()
        for name in names
    ]
    return pd.DataFrame(rows, columns=list(EVENT_COLUMNS)).astype(EVENT_COLUMNS)


def steps_of(work: pd.DataFrame, events: pd.DataFrame) -> list[StepRecord]:
    """Return the steps that `work_table` and `event_table` hold.

    Raises:
        InputError: A column is missing.
    """
    for table, columns in ((work, WORK_COLUMNS), (events, EVENT_COLUMNS)):
        if missing := [name for name in columns if name not in table]:
            raise InputError(
                f"wanted a record of steps with the columns {', '.join(columns)}, got none named "
                f"{', '.join(missing)}: give the tables of one run"
            )
    happened: dict[tuple[int, str], list[str]] = {}
    for step, request, event in events[list(EVENT_COLUMNS)].itertuples(index=False):
        happened.setdefault((int(step), str(event)), []).append(str(request))
    return [
        _record(int(step), rows.to_dict("records"), happened)  # type: ignore[arg-type]
        for step, rows in work.groupby("step", sort=True)
    ]


def _record(
    step: int, rows: Sequence[Mapping[str, Any]], happened: Mapping[tuple[int, str], list[str]]
) -> StepRecord:
    """Return one step, of its rows in the table of work and of what happened by step and event."""
    found = {event: tuple(happened.get((step, event), ())) for event in EVENTS}
    return StepRecord(
        batch=Batch(
            step=step,
            segment=int(rows[0]["segment"]),
            spans=tuple(Span(str(r["request"]), int(r["start"]), int(r["stop"])) for r in rows),
            admitted=found["admitted"],
            preempted=found["preempted"],
        ),
        outcomes=tuple((str(r["request"]), one) for r in rows for one in outcomes_of(r)),
        arrived=found["arrived"],
        cancelled=found["cancelled"],
        ended=found["ended"],
        begun_s=float(rows[0]["begun_s"]),
        seconds=float(rows[0]["seconds"]),
    )


def _by_name(outcomes: Iterable[tuple[str, Outcome]]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for name, outcome in outcomes:
        found.setdefault(name, []).append(outcome)
    return found


def columns_of(outcome: Outcome) -> dict[str, float | int]:
    """Return an outcome as entries of the table of work."""
    match outcome:
        case Score(value):
            return {"score": value}
        case Draft(confidence, token):
            return {"confidence": confidence, "draft": token}
        case Verdict(accepted, token):
            return {"accepted": accepted, "token": token}
    return {}


def outcomes_of(row: Mapping[Any, Any]) -> Iterable[Outcome]:
    """Yield the outcomes of a row of the table of work."""
    if not pd.isna(row["score"]):
        yield Score(float(row["score"]))
    if not pd.isna(row["draft"]):
        yield Draft(float(row["confidence"]), int(row["draft"]))
    if not pd.isna(row["token"]):
        yield Verdict(int(row["accepted"]), int(row["token"]))
