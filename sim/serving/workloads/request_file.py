"""Read files of requests. The format is found by what the file holds."""

from __future__ import annotations

from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import LARGEST_TABLE, parse_json, read_text
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.workloads.benchmark_files import (
    MeasuredFile,
    is_aiperf,
    is_llmservingsim,
    read_aiperf,
    read_guidellm,
    read_llmservingsim,
)
from adadecode.sim.serving.workloads.conversations import (
    CountTokens,
    is_conversations,
    read_conversations,
    refuse_arrivals,
)
from adadecode.sim.serving.workloads.csv_files import read_csv_rows
from adadecode.sim.serving.workloads.json_fields import first_object
from adadecode.sim.serving.workloads.json_files import json_format, read_json_rows
from adadecode.sim.serving.workloads.selection import Selection
from adadecode.sim.serving.workloads.trace_rows import TraceRows
from adadecode.sim.serving.workloads.workload import Workload

KNOWN = (
    "a CSV of Azure, BurstGPT or Vidur, a JSONL of Mooncake, LLMServingSim or AIPerf, or the JSON "
    "of guidellm"
)
"""Every format with arrivals."""


def read_requests(
    path: str | Path,
    *,
    block_size: int = 16,
    file_block_size: int | None = None,
    selection: Selection | None = None,
    benchmark: int | None = None,
) -> tuple[Request, ...]:
    """Return the requests of a file; see `read_workload`."""
    return read_workload(
        path,
        block_size=block_size,
        file_block_size=file_block_size,
        selection=selection,
        benchmark=benchmark,
    ).requests


def read_workload(
    path: str | Path,
    *,
    block_size: int = 16,
    file_block_size: int | None = None,
    selection: Selection | None = None,
    benchmark: int | None = None,
) -> Workload:
    """Read when requests arrive and how long they are.

    Args:
        path: A trace (Azure 2023 or 2024, BurstGPT, Mooncake, Vidur, a workload of
            LLMServingSim), or what a benchmark of a server measured (LLMServingSim, AIPerf,
            guidellm).
        block_size: Tokens of a block of the server's keys and values.
        file_block_size: Tokens of the blocks that the file's ``hash_ids`` stand for. By default
            Mooncake's 512, and ``block_size`` for LLMServingSim.
        selection: Which requests are taken, and how they are scaled; all of them by default.
        benchmark: Which benchmark of guidellm's file, from 0 on; needed where it has several.

    Raises:
        InputError: If the file is of no known format, lacks arrivals, columns or requests, runs
            backwards in time, or holds numbers that cannot be meant.
    """
    for name, size in (("block_size", block_size), ("file_block_size", file_block_size)):
        if size is not None and size < 1:
            raise InputError(f"wanted {name} as a number of tokens, 1 or more, got {size}")
    rows = _rows(path, file_block_size or block_size, file_block_size, benchmark, arrivals=True)
    return rows.workload(selection or Selection(), block_size)


def read_lengths(
    path: str | Path, *, count_tokens: CountTokens | None = None, benchmark: int | None = None
) -> tuple[tuple[int, int], ...]:
    """Read how long requests are: tokens of the prompt and of the output, one pair a request.

    Args:
        path: A file of `read_workload`, a CSV of Vidur without ``arrived_at``, or conversations of
            ShareGPT.
        count_tokens: Counts the tokens of a text; conversations need it.
        benchmark: Which benchmark of guidellm's file.

    Raises:
        InputError: As `read_workload`.
    """
    rows = _rows(path, 1, None, benchmark, arrivals=False, count_tokens=count_tokens)
    found = rows.without_ids().workload(Selection(), 1)
    return tuple((one.n_prompt, one.n_output) for one in found.requests)


def read_measured(path: str | Path, benchmark: int | None = None) -> MeasuredFile | None:
    """Return what a benchmark of a server measured; None where the file is of something else.

    Args:
        path: The file.
        benchmark: Which benchmark of guidellm's file.

    Raises:
        InputError: If it cannot be read, or lacks what such a file has.
    """
    return _measured(read_text(path, at_most=LARGEST_TABLE), shown(path), benchmark)


def _measured(text: str, where: str, benchmark: int | None) -> MeasuredFile | None:
    first = first_object(text)
    if first is not None and is_llmservingsim(first):
        return read_llmservingsim(text, where)
    if first is not None and is_aiperf(first):
        return read_aiperf(text, where)
    if text.lstrip().startswith("{") and '"benchmarks"' in text:
        document = first if first is not None and "benchmarks" in first else None
        whole = parse_json(text, where) if document is None else document
        if isinstance(whole, dict) and "benchmarks" in whole:
            return read_guidellm(whole, where, benchmark)
    return None


def _rows(
    path: str | Path,
    block_size: int,
    file_block_size: int | None,
    benchmark: int | None,
    *,
    arrivals: bool,
    count_tokens: CountTokens | None = None,
) -> TraceRows:
    """Return the rows of a file of any format."""
    text, where = read_text(path, at_most=LARGEST_TABLE), shown(path)
    begins = text.lstrip()[:1]
    if not begins:
        raise InputError(f"wanted requests, got the empty file {where}: give {KNOWN}")
    if begins not in "{[":
        return read_csv_rows(text, where, arrivals=arrivals)
    if (measured := _measured(text, where, benchmark)) is not None:
        return measured.trace()
    if begins == "[":
        document = parse_json(text, where)
        if is_conversations(document):
            if arrivals:
                raise refuse_arrivals(where)
            return read_conversations(document, where, count_tokens)
    first = first_object(text)
    form = None if first is None else json_format(first)
    if form is None:
        keys = "" if first is None else f" with the keys {', '.join(map(str, first))}"
        raise InputError(f"wanted {KNOWN}, got JSON{keys[:160]} in {where}: give one of these")
    if file_block_size is None and form.block_size is not None:
        block_size = form.block_size
    return read_json_rows(text, where, form, block_size, arrivals=arrivals)
