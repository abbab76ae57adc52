"""What benchmarks of servers measured, request by request: three formats.

==============  ===================================================================================
LLMServingSim   its ``requests.jsonl``, of a real vLLM server. ``arrival_time`` is on another clock
                than the rest, so ``queued_ts`` counts as the arrival.
AIPerf          ``profile_export.jsonl``: one record for each request, in the order in which they
                ended, with metadata, metrics (each with its unit) and an error.
guidellm        ``benchmarks.json``, or what ``--output-path`` named: a list of benchmarks, each
                with its successful requests.
==============  ===================================================================================

Clients do not see when a server begins to work on a request: only LLMServingSim's files say it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from adadecode.profiles.errors import InputError
from adadecode.sim.core.scalars import real_number, whole_number
from adadecode.sim.serving.workloads.json_fields import (
    Fields,
    json_lines,
    number_of,
    value_of,
)
from adadecode.sim.serving.workloads.trace_rows import TraceRows

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
"""Seconds of the units of AIPerf."""


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """One request as it was measured; NaN stands for what is not known.

    Attributes:
        line: The line of the file, or the number of the request.
        name: What it is called.
        arrival_s: When it was sent, on the clock of the file.
        n_prompt: Tokens of the prompt.
        n_output: Tokens of the output.
        scheduled_s: When the server began with it.
        token_s: When its first and its last token came, or each chunk of tokens.
    """

    line: int
    name: str
    arrival_s: float
    n_prompt: float
    n_output: float
    scheduled_s: float
    token_s: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class MeasuredFile:
    """What a benchmark measured.

    Attributes:
        where: The file.
        rows: The requests that were answered, in the order of the file.
        left_out: Requests that failed, were cancelled, or belong to a warm-up.
    """

    where: str
    rows: tuple[MeasuredRow, ...]
    left_out: int

    def trace(self) -> TraceRows:
        """Return when requests arrived, and how long they were."""
        return TraceRows(
            where=self.where,
            lines=np.array([one.line for one in self.rows], dtype=np.int64),
            arrival_s=np.array([one.arrival_s for one in self.rows], dtype=np.float64),
            n_prompt=np.array([one.n_prompt for one in self.rows], dtype=np.float64),
            n_output=np.array([one.n_output for one in self.rows], dtype=np.float64),
            names=tuple(one.name for one in self.rows),
            left_out=self.left_out,
            in_order=False,
        )


def is_llmservingsim(first: Fields) -> bool:
    """Return whether an object is a request that LLMServingSim measured."""
    return "queued_ts" in first or "first_token_ts" in first


def is_aiperf(first: Fields) -> bool:
    """Return whether an object is a record of AIPerf."""
    return isinstance(first.get("metadata"), dict) and "metrics" in first


def read_llmservingsim(text: str, where: str) -> MeasuredFile:
    """Return what LLMServingSim measured. Raises InputError where a line lacks a key."""
    needed = (
        *("request_id", "input_toks", "output_toks", "queued_ts"),
        *("scheduled_ts", "first_token_ts", "last_token_ts"),
    )
    rows = []
    for line, fields in json_lines(text, where):
        if missing := [key for key in needed if key not in fields]:
            raise InputError(
                f"line {line} of {where} lacks {', '.join(missing)}: wanted the requests.jsonl of "
                "LLMServingSim, as it is"
            )
        rows.append(
            MeasuredRow(
                line=line,
                name=str(fields["request_id"]),
                arrival_s=number_of(fields, "queued_ts"),
                n_prompt=number_of(fields, "input_toks"),
                n_output=number_of(fields, "output_toks"),
                scheduled_s=number_of(fields, "scheduled_ts"),
                token_s=(number_of(fields, "first_token_ts"), number_of(fields, "last_token_ts")),
            )
        )
    return MeasuredFile(where=where, rows=tuple(rows), left_out=0)


def read_aiperf(text: str, where: str) -> MeasuredFile:
    """Return what AIPerf measured. Raises InputError for a line that is no record of it."""
    rows, left_out, start_ns = [], 0, None
    for line, fields in json_lines(text, where):
        about = value_of(fields, "metadata")
        phase = value_of(fields, "metadata", "benchmark_phase")
        failed = fields.get("error") or value_of(fields, "metadata", "was_cancelled")
        if not isinstance(about, dict):
            raise InputError(f"line {line} of {where} lacks metadata: wanted a record of AIPerf")
        if failed or phase not in {None, "profiling"}:
            left_out += 1
            continue
        sent_ns = whole_number(about.get("request_start_ns"))
        sent_ns = None if sent_ns is None or abs(sent_ns) >= 2**63 else sent_ns
        # Whole nanoseconds since 1970 have too many digits for a float: seconds since the first.
        start_ns = sent_ns if start_ns is None else start_ns
        start = math.nan if sent_ns is None or start_ns is None else 1e-9 * (sent_ns - start_ns)
        rows.append(_aiperf_row(fields, start, line, where))
    return MeasuredFile(where=where, rows=tuple(rows), left_out=left_out)


def read_guidellm(document: Fields, where: str, benchmark: int | None) -> MeasuredFile:
    """Return what guidellm measured.

    Args:
        document: The value of the file.
        where: Its name, for messages.
        benchmark: Which of its benchmarks, from 0 on; None where it has one.

    Raises:
        InputError: If there are several and none was named, or requests were not kept.
    """
    found = document.get("benchmarks")
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise InputError(f"wanted a list of benchmarks in {where}, got none: give guidellm's JSON")
    if benchmark is None and len(found) > 1:
        raise InputError(
            f"wanted one benchmark, got {len(found)} in {where}: say which, from benchmark=0 to "
            f"{len(found) - 1}"
        )
    number = benchmark or 0
    if not 0 <= number < len(found):
        raise InputError(f"wanted a benchmark from 0 to {len(found) - 1} of {where}, got {number}")
    requests = found[number].get("requests")
    if not isinstance(requests, dict) or not isinstance(requests.get("successful"), list):
        raise InputError(
            f"{where} holds no requests of benchmark {number}, only figures about all: let "
            "guidellm keep them"
        )
    others = (requests.get(kind) for kind in ("incomplete", "errored"))
    rows = []
    for row, one in enumerate(requests["successful"], start=1):
        if not isinstance(one, dict):
            raise InputError(f"wanted an object as request {row} of {where}, got none: mend it")
        rows.append(_guidellm_row(one, row))
    left_out = sum(len(one) for one in others if isinstance(one, list))
    return MeasuredFile(where=where, rows=tuple(rows), left_out=left_out)


def _guidellm_row(fields: Fields, row: int) -> MeasuredRow:
    """Return one request. Older versions keep its times beside its tokens, newer ones below."""
    times = value_of(fields, "info", "timings")
    if isinstance(times, dict):
        keys = ("request_start", "first_token_iteration", "last_token_iteration")
    else:
        times, keys = fields, ("start_time", "first_token_time", "last_token_time")
    start, first, last = (number_of(times, key) for key in keys)
    return MeasuredRow(
        line=row,
        name=str(fields.get("request_id", row)),
        arrival_s=start,
        n_prompt=number_of(fields, "prompt_tokens"),
        n_output=number_of(fields, "output_tokens"),
        scheduled_s=math.nan,
        token_s=(first, last),
    )


def _aiperf_row(fields: Fields, start: float, line: int, where: str) -> MeasuredRow:
    output = number_of(fields, "metrics", "output_sequence_length", "value")
    if math.isnan(output):
        output = number_of(fields, "metrics", "output_token_count", "value")
    first, whole = (
        next(iter(_aiperf_seconds(fields, metric, line, where)), math.nan)
        for metric in ("time_to_first_token", "request_latency")
    )
    chunks = _aiperf_seconds(fields, "inter_chunk_latency", line, where)
    if chunks:
        came = start + first + np.concatenate(([0.0], np.cumsum(chunks)))
        token_s = tuple(came.tolist())
    else:
        token_s = (start + first, start + whole)
    return MeasuredRow(
        line=line,
        name=str(value_of(fields, "metadata", "x_request_id") or line),
        arrival_s=start,
        n_prompt=number_of(fields, "metrics", "input_sequence_length", "value"),
        n_output=output,
        scheduled_s=math.nan,
        token_s=token_s,
    )


def _aiperf_seconds(fields: Fields, metric: str, line: int, where: str) -> tuple[float, ...]:
    """Return a metric in seconds; nothing where it is missing. Raises InputError."""
    value: Any = value_of(fields, "metrics", metric, "value")
    if value is None:
        return ()
    unit = value_of(fields, "metrics", metric, "unit")
    if unit not in SECONDS:
        raise InputError(
            f"wanted {metric} in one of {', '.join(SECONDS)}, got the unit {unit!r} in line {line} "
            f"of {where}: mend it"
        )
    numbers = [real_number(one) for one in (value if isinstance(value, list) else [value])]
    return tuple(math.nan if one is None else SECONDS[unit] * one for one in numbers)
