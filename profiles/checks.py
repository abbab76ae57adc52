"""Check the values in the tables of a profile.

Absurd numbers are refused here, once, and replaced nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.schema import (
    ALL_TABLES,
    LATENCY_KINDS,
    OPTIONAL_COLUMNS,
    SERVING_KINDS,
)

AGAIN = "record it again with `adadecode-profile`"
"""What to do about most of what can be wrong with a recording."""

POLICIES = ("vanilla", "adadecode", "fixed")
"""Policies that a recording may hold; `adadecode.sim.core.design.Policy` describes them."""

_PIECES = ("embed", "layers", "attention", "gates", "checks", "verified", "host")

_THRESHOLDS = [("placement", "gammas"), ("placement", "gates")]

PAIRS = {
    "runs": _THRESHOLDS,
    "rounds": [*_THRESHOLDS, ("segments", "batches")],
    "works": _THRESHOLDS,
    "draws": _THRESHOLDS,
    "load_pieces": [("rows", "stops"), ("rows", "n_prompts")],
}
"""By table, pairs of list columns whose items belong together. An optional one may be empty."""

ROUNDING = 1e-5
"""An acceptance is a sum of many FP32 probabilities: it may pass 1 by this much."""

MOST_TOKENS = 10**8
"""More tokens, positions or samples than any recording has of one thing."""

MOST_DRAFTS = 10_000
"""A larger cap than any round has use for: tables are made for that many drafts."""

_PROBABILITY = "a probability", 0, 1
_TOKENS = "a number of tokens", 1, MOST_TOKENS
_COUNT = "a count", 0, MOST_TOKENS
_TOKEN = "a token", 0

_Array = NDArray[Any]


class _Rule(NamedTuple):
    """A test that the values of a column must pass: each item, where the column holds lists.

    Attributes:
        column: Name of the column.
        wanted: What its values must be, for the message.
        fine: Returns for each value whether it passes.
        rows: Marks the rows that are tested; all by default.
    """

    column: str
    wanted: str
    fine: Callable[[_Array], _Array]
    rows: Callable[[pd.DataFrame], Any] | None = None


def check_values(name: str, frame: pd.DataFrame, n_layers: int | None, where: str) -> None:
    """Refuse a table with an absurd value, naming its row.

    Args:
        name: Name of the table.
        frame: The table.
        n_layers: L, or None to leave depths unbounded.
        where: What the table is, for the message.

    Raises:
        ProfileError: If a value is absurd.
    """
    for rule in _rules(name, n_layers):
        column = frame[rule.column]
        lists = pa.types.is_list(ALL_TABLES[name].field(rule.column).type)
        if lists:
            values = np.array(list(chain.from_iterable(column.tolist())))
        else:
            values = column.to_numpy()
            values = values if rule.rows is None else values[rule.rows(frame)]
        fine = rule.fine(values)
        if fine.all():
            continue
        rows: _Array = np.arange(len(frame))
        if lists:
            rows = np.repeat(rows, list(map(len, column.tolist())))
        elif rule.rows is not None:
            rows = rows[rule.rows(frame)]
        first = int(rows[~fine][0])
        row = frame.iloc[first]
        others = ", ".join(f"{key} {value}" for key, value in row.items() if key != rule.column)
        raise ProfileError(
            f"wanted {rule.wanted} as {rule.column} in row {first} of {where}, "
            f"got {row[rule.column]} ({others}): {AGAIN}"
        )
    for one, other in PAIRS.get(name, ()):
        wanted, got = (np.array(list(map(len, frame[column].tolist()))) for column in (one, other))
        allowed = (got == 0) & (other in OPTIONAL_COLUMNS[name])
        wrong = np.flatnonzero((wanted != got) & ~allowed)
        if wrong.size:
            k = int(wrong[0])
            raise ProfileError(
                f"wanted {wanted[k]} {other}, one for each of {one}, in row {k} of {where}, "
                f"got {got[k]}: {AGAIN}"
            )


def check_prompts(frames: Mapping[str, pd.DataFrame], where: str) -> None:
    """Refuse a prompt listed twice, and rows about prompts that are not listed.

    Args:
        frames: The tables of a profile by name.
        where: What the profile is, for the message.

    Raises:
        ProfileError: If the tables contradict each other.
    """
    listed = frames["prompts"]["prompt"]
    if listed.duplicated().any():
        twice = listed[listed.duplicated()].iloc[0]
        raise ProfileError(
            f"wanted each prompt once in the table prompts of {where}, got prompt {twice} twice: "
            f"{AGAIN}"
        )
    about = frames["prompts"]
    filled = about["n_output"] == about["max_new_tokens"]
    wrong = about[
        (about["n_output"] > about["max_new_tokens"]) | ~(filled | about["ended"].astype(bool))
    ]
    if len(wrong):
        row = wrong.iloc[0]
        raise ProfileError(
            f"wanted a text that fills its max_new_tokens or ended before, got {row['n_output']} "
            f"of {row['max_new_tokens']} tokens for prompt {row['prompt']} in the table prompts of "
            f"{where}: {AGAIN}"
        )
    for name, frame in sorted(frames.items()):
        if name == "prompts" or "prompt" not in frame:
            continue
        strange = frame["prompt"][~frame["prompt"].isin(listed)]
        if len(strange):
            raise ProfileError(
                f"wanted prompts of the table prompts in {name} of {where}, got prompt "
                f"{strange.iloc[0]} in row {strange.index[0]}: {AGAIN}"
            )


def _rules(name: str, n_layers: int | None) -> list[_Rule]:
    """Return the rules of one table, for a model of n_layers."""
    rules = {
        "baselines": _baseline_rules(),
        "serving": _serving_rules(),
        "latency": _latency_rules(n_layers),
        "head_forms": _form_rules(n_layers),
        **_text_rules(n_layers),
        **_load_rules(n_layers),
    }
    if name in rules:
        return rules[name]
    return [*_design_rules(n_layers), *_run_rules(n_layers)[name]]


def _head(n_layers: int | None) -> tuple[str, int, int | None]:
    """Return what a depth of a head must be, with its bounds."""
    return "a depth between the layers", 1, None if n_layers is None else n_layers - 1


def _design_rules(n_layers: int | None) -> list[_Rule]:
    return [
        _among("policy", POLICIES),
        _within("placement", *_head(n_layers)),
        _within("gammas", *_PROBABILITY),
        _within("gates", *_PROBABILITY),
        _within("cap", "a number of drafts", 1, MOST_DRAFTS),
    ]


def _latency_rules(n_layers: int | None) -> list[_Rule]:
    last = None if n_layers is None else n_layers - 1
    return [
        _among("kind", LATENCY_KINDS),
        _within("layer", "a layer", 0, last)._replace(rows=lambda frame: frame["kind"] == "layer"),
        _within("layer", "a depth", 1, n_layers)._replace(
            rows=lambda frame: frame["kind"] == "head"
        ),
        _within("layer", *_head(n_layers))._replace(rows=lambda frame: frame["kind"] == "gate"),
        _within("n_tokens", *_TOKENS),
        *(_within(column, *_COUNT) for column in ("context", "reuse", "repeat")),
        _seconds("seconds"),
    ]


def _text_rules(n_layers: int | None) -> dict[str, list[_Rule]]:
    heads = [
        _within("output", "an output", 1, MOST_TOKENS),
        _within("depth", "a depth", 1, n_layers),
        _within("token", *_TOKEN),
        _within("confidence", *_PROBABILITY),
        _within("gate", *_PROBABILITY)._replace(rows=lambda frame: frame["gate"].notna()),
    ]
    return {
        "prompts": [
            *(_within(column, *_TOKENS) for column in ("n_prompt", "n_output", "max_new_tokens")),
            _within("first_token", *_TOKEN),
            _within("in_prompt", *_TOKEN),
        ],
        "trace": [*heads, _within("acceptance", "a probability", 0, 1 + ROUNDING)],
        "branches": heads,
    }


def _run_rules(n_layers: int | None) -> dict[str, list[_Rule]]:
    head = _head(n_layers)
    return {
        "runs": [
            _within("n_tokens", *_TOKENS),
            _seconds("prefill_s"),
            _seconds("decode_s")._replace(rows=lambda frame: frame["n_tokens"] > 1),
            _duration("decode_s"),  # 0 where the prefill's token was all
            _energy("energy_j"),
        ],
        "rounds": [
            _within("start", "a position", 0, MOST_TOKENS),
            _within("exits", *head),
            _within("checks", *head),
            _within("gates_asked", *head),
            _within("segments", "a segment", 0, None if n_layers is None else n_layers - 1),
            _within("batches", *_TOKENS),
            _within("accepted", "a number of drafts", 0, MOST_DRAFTS),
            _within("committed", *_TOKENS),
        ],
        "works": [_among("kind", ("run", "gate", "check", "verify")), _seconds("seconds")],
        "draws": [
            _within("index", *_COUNT),
            _among("kind", ("gate", "check", "verify")),
            _within("confidence", *_PROBABILITY)._replace(
                rows=lambda frame: frame["kind"] != "verify"
            ),
            _within("token", *_TOKEN),
            _within("accepted", "a number of drafts", 0, MOST_DRAFTS),
        ],
    }


def _baseline_rules() -> list[_Rule]:
    return [
        _within("repeat", "a repeat, or -1 for a check,", -1),
        *(_within(column, *_COUNT) for column in ("n_tokens", "n_same", "n_first")),
        *(_within(column, *_TOKENS)._replace(rows=_ran) for column in ("n_tokens", "n_first")),
        _seconds("prefill_s")._replace(rows=_ran),
        _duration("decode_s")._replace(rows=_ran),
        _duration("compile_s"),
        _energy("energy_j"),
    ]


def _form_rules(n_layers: int | None) -> list[_Rule]:
    return [
        _within("depth", *_head(n_layers)),
        *(_within(column, *_COUNT) for column in ("reuse", "repeat")),
        _seconds("seconds"),
    ]


def _serving_rules() -> list[_Rule]:
    sizes = ("n_tokens", "chunk", "cached", "n_decode", "context", "n_long", "long_context")
    return [
        _among("kind", SERVING_KINDS),
        *(_within(column, "a number", 0, MOST_TOKENS) for column in sizes),
        *(
            _within(column, *_TOKENS)._replace(rows=lambda frame: frame["kind"] == "unequal")
            for column in ("n_decode", "n_long", "long_context")
        ),
        _within("n_tokens", *_TOKENS)._replace(
            rows=lambda frame: ~frame["kind"].isin(["attention", "unequal"])
        ),
        _seconds("seconds"),
        _seconds("equal_seconds"),
        _seconds("longest_seconds"),
    ]


def _load_rules(n_layers: int | None) -> dict[str, list[_Rule]]:
    asked = {name: lambda frame, name=name: frame[name].notna() for name in ("score", "confidence")}
    return {
        "load_requests": [
            *(_within(column, *_COUNT) for column in ("run", "request", "preemptions")),
            *(_within(column, *_TOKENS) for column in ("n_prompt", "max_new_tokens")),
            *(_duration(column) for column in ("arrival_s", "scheduled_s", "token_s")),
        ],
        "load_steps": [
            *(_within(column, *_COUNT) for column in ("run", "step")),
            _within("segment", "a segment", 0, None if n_layers is None else n_layers - 1),
            _duration("begun_s"),
            _seconds("seconds"),
            *(_within(name, *_COUNT) for name in ("arrived", "admitted", "preempted", "ended")),
        ],
        "load_work": [
            *(_within(column, *_COUNT) for column in ("run", "step", "request")),
            _within("start", "a position", 0, MOST_TOKENS),
            _within("stop", "a position", 1, MOST_TOKENS),
            *(_within(name, *_PROBABILITY)._replace(rows=rows) for name, rows in asked.items()),
            *(_within(name, "a token, or -1 for none,", -1) for name in ("draft", "token")),
            _within("accepted", "a number of drafts, or -1 for none,", -1, MOST_DRAFTS),
        ],
        "load_pieces": [
            *(_within(name, *_COUNT) for name in ("run", "gates", "checks", "verified")),
            _within("segment", "a segment", 0, None if n_layers is None else n_layers - 1),
            *(_within(column, *_TOKENS) for column in ("rows", "stops", "n_prompts")),
            *(_duration(f"{piece}_s") for piece in _PIECES),
            _seconds("layers_s"),
            _duration("wake_s")._replace(rows=lambda frame: frame["wake_s"].notna()),
        ],
    }


def _ran(frame: pd.DataFrame) -> pd.Series[bool]:
    """Mark the rows of baselines that ran."""
    return frame["error"] == ""


def _seconds(column: str) -> _Rule:
    return _Rule(column, "a finite number of seconds above 0", lambda x: np.isfinite(x) & (x > 0))


def _duration(column: str) -> _Rule:
    return _Rule(column, "a finite number of seconds", lambda x: np.isfinite(x) & (x >= 0))


def _energy(column: str) -> _Rule:
    return _Rule(
        column,
        "a finite number of joules, or NaN",
        lambda x: np.isnan(x) | (np.isfinite(x) & (x >= 0)),
    )


def _within(column: str, what: str, low: float, high: float | None = None) -> _Rule:
    """Return the rule that values lie in low..high, ends included; NaN does not."""
    if high is None:
        return _Rule(column, f"{what} of {low:g} or more", lambda x: x >= low)
    return _Rule(column, f"{what} in {low:g}..{high:g}", lambda x: (x >= low) & (x <= high))


def _among(column: str, known: tuple[str, ...]) -> _Rule:
    return _Rule(
        column,
        f"one of {', '.join(known)}",
        lambda x: np.isin(x.astype(object), np.array(known, dtype=object)),
    )
