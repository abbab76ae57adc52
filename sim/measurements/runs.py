"""Measured runs as a profile holds them, put back together: which design, which prompt, which rounds, which work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from adadecode.profiles.errors import DesignError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Draft, Round, Verdict

Cell = tuple[Design, int]
"""A design on a prompt."""


def rounds_of(profile: Profile) -> dict[Cell, tuple[Round, ...]]:
    """The measured rounds of each design on each prompt, in order. Raises ProfileError where one is missing."""
    found: dict[Cell, tuple[Round, ...]] = {}
    for cell, rows in _by_cell(profile.rounds, "rounds"):
        part = rows.sort_values("round", kind="stable")
        if part["round"].tolist() != list(range(len(part))):
            raise ProfileError(
                f"wanted rounds 0..{len(part) - 1} of {cell[0].label} on prompt {cell[1]}, got others: record it again"
            )
        found[cell] = tuple(map(_round, part.to_dict("records")))
    return found


def draws_of(profile: Profile) -> dict[Cell, tuple[Draft | Verdict, ...]]:
    """What each design drew on each prompt, in order; nothing of runs that were over with their first token. Raises ProfileError where one is missing."""
    found: dict[Cell, tuple[Draft | Verdict, ...]] = {}
    for cell, rows in _by_cell(profile.draws, "draws"):
        part = rows.sort_values("index", kind="stable")
        if part["index"].tolist() != list(range(len(part))):
            raise ProfileError(
                f"wanted draws 0..{len(part) - 1} of {cell[0].label} on prompt {cell[1]}, got others: record it again"
            )
        found[cell] = tuple(
            Draft(confidence, token) if kind == "check" else Verdict(accepted, token)
            for kind, confidence, token, accepted in zip(
                *(part[name].tolist() for name in ("kind", "confidence", "token", "accepted")),
                strict=True,
            )
        )
    return found


def timed_runs(profile: Profile) -> dict[Cell, pd.DataFrame]:
    """The rows of ``runs`` timed without instruments, for each design on each prompt."""
    return dict(_by_cell(profile.runs[~profile.runs["instrumented"]], "runs"))


def lengths_of(profile: Profile) -> dict[Cell, frozenset[int]]:
    """Every n_tokens that a run of each design on each prompt was recorded with: one, in a sane recording."""
    return {
        cell: frozenset(part["n_tokens"].tolist()) for cell, part in _by_cell(profile.runs, "runs")
    }


def instrumented_runs(profile: Profile) -> Iterator[tuple[Cell, float, list[tuple[str, float]]]]:
    """Each instrumented run: its cell, its measured decode_s, and (kind, seconds) of its work in order. Raises ProfileError where work is missing."""
    works = {
        (*cell, repeat): part
        for cell, part in _by_cell(profile.works, "works")
        for repeat, part in _by_repeat(part)
    }
    for cell, part in _by_cell(profile.runs[profile.runs["instrumented"]], "runs"):
        for repeat, n_tokens, decode_s in zip(
            *(part[name].tolist() for name in ("repeat", "n_tokens", "decode_s")), strict=True
        ):
            done = works.get((*cell, repeat))
            if done is None:
                if n_tokens > 1:
                    raise ProfileError(
                        f"no works of the instrumented run {repeat} of {cell[0].label} on prompt {cell[1]}: record it again"
                    )
                continue  # the prefill's token was all
            yield cell, decode_s, work_of(done)


def work_of(works: pd.DataFrame) -> list[tuple[str, float]]:
    """(kind, seconds) of the work of one instrumented run, in order."""
    ordered = works.sort_values("index", kind="stable")
    return list(zip(ordered["kind"].tolist(), ordered["seconds"].tolist(), strict=True))


def _by_cell(frame: pd.DataFrame, table: str) -> Iterator[tuple[Cell, pd.DataFrame]]:
    """The rows of a table, or of part of it, by design and prompt, in order of first appearance."""
    rows: dict[tuple[Any, ...], list[int]] = {}
    columns: Iterable[list[Any]] = (
        frame[name].tolist()
        for name in ("policy", "placement", "gammas", "cap", "verify", "prompt")
    )
    for index, key in enumerate(zip(*columns, strict=True)):
        rows.setdefault(key, []).append(index)
    for (policy, placement, gammas, cap, verify, prompt), indices in rows.items():
        try:
            design = Design(
                policy=Policy(policy),
                placement=tuple(placement),
                gammas=tuple(gammas),
                cap=cap,
                verify=verify,
            )
        except (DesignError, ValueError) as error:  # each value may be sane on its own
            raise ProfileError(
                f"wanted a design in row {frame.index[indices[0]]} of the table {table}, got none ({error}): record it again"
            ) from error
        yield (design, prompt), frame.iloc[indices]


def _by_repeat(frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    for repeat in sorted(set(frame["repeat"].tolist())):
        yield repeat, frame[frame["repeat"] == repeat]


def _round(row: dict[Any, Any]) -> Round:
    return Round(
        start=row["start"],
        exits=tuple(row["exits"]),
        accepted=row["accepted"],
        committed=row["committed"],
        work=tuple(zip(row["segments"], row["batches"], strict=True)),
        checks=tuple(row["checks"]),
    )
