"""The measured runs of a profile by design and prompt: their rounds, draws, times and work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from adadecode.profiles.columns import DESIGN
from adadecode.profiles.errors import DesignError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Draft, Round, Score, Verdict

Cell = tuple[Design, int]
"""A design on a prompt."""

_Work = list[tuple[str, float]]
"""Kind and seconds of each piece of work of a run, in order."""

Drawn = Score | Draft | Verdict
"""What a sampled run drew: the score of a gate, a draft of a head, a verdict of the last layer."""


def rounds_of(profile: Profile) -> dict[Cell, tuple[Round, ...]]:
    """Return the measured rounds of each design on each prompt, in order.

    Raises:
        ProfileError: If one is missing.
    """
    table = profile.rounds
    names = (
        *("round", "start", "exits", "accepted", "committed"),
        *("segments", "batches", "checks", "gates_asked"),
    )
    records = list(zip(*(table[name].tolist() for name in names), strict=True))
    found: dict[Cell, tuple[Round, ...]] = {}
    for cell, rows in _rows_by_cell(table, "rounds").items():
        part = sorted((records[row] for row in rows), key=_first)
        _check_numbers(cell, [record[0] for record in part], "rounds")
        found[cell] = tuple(
            Round(
                start=start,
                exits=tuple(exits),
                accepted=accepted,
                committed=committed,
                work=tuple(zip(segments, batches, strict=True)),
                checks=tuple(checks),
                gates=tuple(gates),
            )
            for _, start, exits, accepted, committed, segments, batches, checks, gates in part
        )
    return found


def draws_of(profile: Profile) -> dict[Cell, tuple[Drawn, ...]]:
    """Return what each design drew on each prompt, in order.

    A run that was over with its first token drew nothing and is left out.

    Raises:
        ProfileError: If a draw is missing.
    """
    table = profile.draws
    names = ("index", "kind", "confidence", "token", "accepted")
    records = list(zip(*(table[name].tolist() for name in names), strict=True))
    found: dict[Cell, tuple[Drawn, ...]] = {}
    for cell, rows in _rows_by_cell(table, "draws").items():
        part = sorted((records[row] for row in rows), key=_first)
        _check_numbers(cell, [record[0] for record in part], "draws")
        found[cell] = tuple(
            _drawn(kind, confidence, token, accepted)
            for _, kind, confidence, token, accepted in part
        )
    return found


def _drawn(kind: str, confidence: float, token: int, accepted: int) -> Drawn:
    if kind == "gate":
        return Score(confidence)
    return Draft(confidence, token) if kind == "check" else Verdict(accepted, token)


def timed_runs(profile: Profile) -> dict[Cell, pd.DataFrame]:
    """Return the rows of ``runs`` that were timed without instruments, by design and prompt."""
    timed = profile.runs[~profile.runs["instrumented"]]
    return {cell: timed.iloc[rows] for cell, rows in _rows_by_cell(timed, "runs").items()}


def lengths_of(profile: Profile) -> dict[Cell, frozenset[int]]:
    """Return every number of tokens that each design wrote on each prompt.

    In a sane recording it is one for each cell.
    """
    lengths = profile.runs["n_tokens"].tolist()
    return {
        cell: frozenset(lengths[row] for row in rows)
        for cell, rows in _rows_by_cell(profile.runs, "runs").items()
    }


def instrumented_runs(profile: Profile) -> Iterator[tuple[Cell, float, _Work]]:
    """Iterate over the instrumented runs.

    Yields:
        The cell of a run, its measured ``decode_s``, and (kind, seconds) of its work in order. A
        run whose first token was all did no work and is left out.

    Raises:
        ProfileError: If the work of a run is missing.
    """
    works = _works_by_run(profile.works)
    runs = profile.runs[profile.runs["instrumented"]]
    columns = (runs[name].tolist() for name in ("repeat", "n_tokens", "decode_s"))
    records = list(zip(*columns, strict=True))
    for (design, prompt), rows in _rows_by_cell(runs, "runs").items():
        for row in rows:
            repeat, n_tokens, decode_s = records[row]
            work = works.get((design, prompt, repeat))
            if work is not None:
                yield (design, prompt), decode_s, work
            elif n_tokens > 1:
                raise ProfileError(
                    f"no works of the instrumented run {repeat} of {design.label} on prompt "
                    f"{prompt}: record it again"
                )


def _works_by_run(table: pd.DataFrame) -> dict[tuple[Design, int, int], _Work]:
    """Return the work of each instrumented run, in order, by design, prompt and repeat."""
    names = ("repeat", "index", "kind", "seconds")
    records = list(zip(*(table[name].tolist() for name in names), strict=True))
    found: dict[tuple[Design, int, int], list[tuple[int, str, float]]] = {}
    for cell, rows in _rows_by_cell(table, "works").items():
        for row in rows:
            repeat, index, kind, seconds = records[row]
            found.setdefault((*cell, repeat), []).append((index, kind, seconds))
    return {
        run: [(kind, seconds) for _, kind, seconds in sorted(work, key=_first)]
        for run, work in found.items()
    }


def _first(record: tuple[Any, ...]) -> int:
    """Return the number that orders a record; sorting by it alone keeps equal ones in place."""
    return int(record[0])


def _check_numbers(cell: Cell, got: list[int], what: str) -> None:
    """Raise ProfileError unless the rows of a cell are numbered without gaps."""
    if got != list(range(len(got))):
        design, prompt = cell
        raise ProfileError(
            f"wanted {what} 0..{len(got) - 1} of {design.label} on prompt {prompt}, got others: "
            "record it again"
        )


def _rows_by_cell(frame: pd.DataFrame, table: str) -> dict[Cell, list[int]]:
    """Return which rows of a table belong to each cell, in order of first appearance.

    Args:
        frame: The table, or some of its rows. Rows are counted from its first one.
        table: Name of the table, for the message.

    Raises:
        ProfileError: If a row names no design, although each value may be sane on its own.
    """
    rows: dict[tuple[Any, ...], list[int]] = {}
    columns = (frame[name].tolist() for name in (*DESIGN, "prompt"))
    for row, key in enumerate(zip(*columns, strict=True)):
        rows.setdefault(key, []).append(row)
    cells: dict[Cell, list[int]] = {}
    for (policy, placement, gammas, cap, verify, gates, prompt), found in rows.items():
        try:
            design = Design(
                policy=Policy(policy),
                placement=tuple(placement),
                gammas=tuple(gammas),
                cap=cap,
                verify=verify,
                gates=tuple(gates),
            )
        except (DesignError, ValueError) as error:
            raise ProfileError(
                f"wanted a design in row {frame.index[found[0]]} of the table {table}, got none "
                f"({error}): record it again"
            ) from error
        cells[design, prompt] = found
    return cells
