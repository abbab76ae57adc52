"""Read what a real server did with each request."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.workloads.benchmark_files import MeasuredRow
from adadecode.sim.serving.workloads.request_file import read_measured, read_workload
from adadecode.sim.serving.workloads.selection import Selection


def read_served(
    path: str | Path,
    *,
    workload: str | Path | None = None,
    block_size: int = 16,
    file_block_size: int | None = None,
    benchmark: int | None = None,
) -> tuple[ServedRequest, ...]:
    """Read what a benchmark of a server measured, in the order in which requests arrived.

    Args:
        path: The ``requests.jsonl`` of LLMServingSim, the ``profile_export.jsonl`` of AIPerf or
            the JSON of guidellm. Times are counted from the first arrival.
        workload: The requests as they were sent, in the same order: their ``hash_ids`` become the
            blocks of the prompts.
        block_size: Tokens of a block of the server's keys and values.
        file_block_size: Tokens of the blocks of ``workload``; ``block_size`` by default.
        benchmark: Which benchmark of guidellm's file, from 0 on; needed where it has several.

    Raises:
        InputError: If the file is of none of these, holds impossible times, or ``workload`` is of
            other requests.
    """
    measured, where = read_measured(path, benchmark), shown(path)
    if measured is None:
        raise InputError(
            f"wanted what a server measured in {where}, got something else: give the "
            "requests.jsonl of LLMServingSim, AIPerf's profile_export.jsonl or guidellm's JSON"
        )
    # Its own checks of arrivals and tokens, whose order it keeps.
    requests = measured.trace().workload(Selection(), block_size).requests
    order = sorted(range(len(measured.rows)), key=lambda row: measured.rows[row].arrival_s)
    if workload is not None:
        sent = read_workload(workload, block_size=block_size, file_block_size=file_block_size)
        requests = _with_blocks(requests, order, sent.requests, f"{where} and {shown(workload)}")
    start = measured.rows[order[0]].arrival_s
    return tuple(
        _served(request, measured.rows[row], start, where)
        for request, row in zip(requests, order, strict=True)
    )


def _served(request: Request, row: MeasuredRow, start: float, where: str) -> ServedRequest:
    """Return one request. Raises InputError for times that cannot be."""
    times = row.token_s if request.n_output > 1 else row.token_s[:1]
    known = [row.arrival_s, *times]
    if not math.isnan(row.scheduled_s):
        known.insert(1, row.scheduled_s)
    if not all(map(math.isfinite, known)):
        raise InputError(
            f"wanted the times of the first and the last token in line {row.line} of {where}, got "
            "none: measure with streaming, or leave the line out"
        )
    if any(later < earlier for earlier, later in pairwise(known)):
        raise InputError(
            f"wanted times that rise in line {row.line} of {where}, from the arrival to the last "
            f"token, got {', '.join(f'{one - start:.6f}' for one in known[:4])} s: mend it"
        )
    return ServedRequest(
        request=request,
        scheduled_s=row.scheduled_s - start,
        token_s=tuple(one - start for one in times),
    )


def _with_blocks(
    requests: tuple[Request, ...], order: list[int], sent: tuple[Request, ...], files: str
) -> tuple[Request, ...]:
    """Return requests with the blocks of those that were sent, line by line."""
    if len(sent) != len(requests):
        raise InputError(
            f"wanted the same requests in {files}, got {len(requests):,} and {len(sent):,}: give "
            "the workload that was sent"
        )
    joined = []
    for request, row in zip(requests, order, strict=True):
        if request.n_prompt != sent[row].n_prompt:
            raise InputError(
                f"wanted the same requests in {files}, got prompts of {request.n_prompt:,} and "
                f"{sent[row].n_prompt:,} tokens as request {row + 1}: give the workload that was "
                "sent"
            )
        joined.append(replace(request, blocks=sent[row].blocks))
    return tuple(joined)
