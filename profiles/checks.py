"""What the values in a profile's tables must be. Absurd numbers are refused here, once, and nowhere replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.schema import ALL_TABLES, LATENCY_KINDS

AGAIN = "record it again with `adadecode-profile`"
"""What to do about most of what can be wrong with a recording."""

POLICIES = ("vanilla", "adadecode", "fixed")
"""What a design may be called; `adadecode.sim.core.design.Policy` says what each does."""

PAIRS = {
    "runs": [("placement", "gammas")],
    "rounds": [("placement", "gammas"), ("segments", "batches")],
    "works": [("placement", "gammas")],
    "draws": [("placement", "gammas")],
}
"""By table: columns of lists that have an item each for the same thing."""

ROUNDING = 1e-5
"""An acceptance is a sum of many FP32 probabilities: it may pass 1 by this much."""

_Array = NDArray[Any]


class _Rule(NamedTuple):
    """A test that the values of a column must pass (each item, where the column holds lists), in the rows that ``rows`` marks."""

    column: str
    wanted: str
    fine: Callable[[_Array], _Array]
    rows: Callable[[pd.DataFrame], Any] | None = None


def check_values(name: str, frame: pd.DataFrame, n_layers: int | None, where: str) -> None:
    """Refuse a table with an absurd value, naming its row. n_layers: L, or None to leave depths unbounded. Raises ProfileError."""
    for rule in _rules(name, n_layers):
        column = frame[rule.column]
        rows: _Array = (
            np.arange(len(frame)) if rule.rows is None else np.flatnonzero(rule.rows(frame))
        )
        if pa.types.is_list(ALL_TABLES[name].field(rule.column).type):
            items = column.tolist()
            rows = np.repeat(rows, list(map(len, items)))
            values = np.array(list(chain.from_iterable(items)))
        else:
            values = column.to_numpy()[rows]
        wrong = rows[~rule.fine(values)]
        if wrong.size:
            row = frame.iloc[int(wrong[0])]
            others = ", ".join(f"{key} {value}" for key, value in row.items() if key != rule.column)
            raise ProfileError(
                f"wanted {rule.wanted} as {rule.column} in row {wrong[0]} of {where}, got {row[rule.column]} ({others}): {AGAIN}"
            )
    for one, other in PAIRS.get(name, ()):
        wanted, got = (np.array(list(map(len, frame[name].tolist()))) for name in (one, other))
        wrong = np.flatnonzero(wanted != got)
        if wrong.size:
            k = int(wrong[0])
            raise ProfileError(
                f"wanted {wanted[k]} {other}, one for each of {one}, in row {k} of {where}, got {got[k]}: {AGAIN}"
            )


def check_prompts(frames: Mapping[str, pd.DataFrame], where: str) -> None:
    """Refuse a prompt listed twice, and rows about prompts that are not listed. Raises ProfileError."""
    listed = frames["prompts"]["prompt"]
    if listed.duplicated().any():
        raise ProfileError(
            f"wanted each prompt once in the table prompts of {where}, got prompt {listed[listed.duplicated()].iloc[0]} twice: {AGAIN}"
        )
    about = frames["prompts"]
    filled = about["n_output"] == about["max_new_tokens"]
    wrong = about[
        (about["n_output"] > about["max_new_tokens"]) | ~(filled | about["ended"].astype(bool))
    ]
    if len(wrong):
        row = wrong.iloc[0]
        raise ProfileError(
            f"wanted a text that fills its max_new_tokens or ended before, got {row['n_output']} of {row['max_new_tokens']} tokens for prompt"
            f" {row['prompt']} in the table prompts of {where}: {AGAIN}"
        )
    for name in sorted(frames.keys() - {"latency", "prompts"}):
        strange = frames[name]["prompt"][~frames[name]["prompt"].isin(listed)]
        if len(strange):
            raise ProfileError(
                f"wanted prompts of the table prompts in {name} of {where}, got prompt {strange.iloc[0]} in row {strange.index[0]}: {AGAIN}"
            )


def _rules(name: str, n_layers: int | None) -> list[_Rule]:
    """The rules of one table, for a model of n_layers."""
    last = None if n_layers is None else n_layers - 1
    head = "a depth between the layers", 1, last
    depth = "a depth", 1, n_layers
    probability = "a probability", 0, 1
    design = [
        _among("policy", POLICIES),
        _within("placement", *head),
        _within("gammas", *probability),
        _within("cap", "a number of drafts", 1),
    ]
    tokens = "a number of tokens"
    rules = {
        "latency": [
            _among("kind", LATENCY_KINDS),
            _within("layer", "a layer", 0, last)._replace(
                rows=lambda frame: frame["kind"] == "layer"
            ),
            _within("layer", *depth)._replace(rows=lambda frame: frame["kind"] == "head"),
            _within("n_tokens", tokens, 1),
            *(_within(column, "a count", 0) for column in ("context", "reuse", "repeat")),
            _seconds("seconds"),
        ],
        "prompts": [
            _within(column, tokens, 1) for column in ("n_prompt", "n_output", "max_new_tokens")
        ],
        "trace": [
            _within("output", "an output", 1),
            _within("depth", *depth),
            _within("confidence", *probability),
            _within("acceptance", "a probability", 0, 1 + ROUNDING),
        ],
        "branches": [
            _within("output", "an output", 1),
            _within("depth", *depth),
            _within("confidence", *probability),
        ],
        "runs": [
            *design,
            _within("n_tokens", tokens, 1),
            _seconds("prefill_s"),
            _seconds("decode_s")._replace(rows=lambda frame: frame["n_tokens"] > 1),
            _Rule(
                "decode_s", "a finite number of seconds", lambda x: np.isfinite(x) & (x >= 0)
            ),  # 0 where the prefill's token was all
            _Rule(
                "energy_j",
                "a finite number of joules, or NaN",
                lambda x: np.isnan(x) | (np.isfinite(x) & (x >= 0)),
            ),
        ],
        "rounds": [
            *design,
            _within("start", "a position", 0),
            _within("exits", *head),
            _within("checks", *head),
            _within("segments", "a segment", 0),
            _within("batches", tokens, 1),
            _within("accepted", "a number of drafts", 0),
            _within("committed", tokens, 1),
        ],
        "works": [*design, _among("kind", ("run", "check", "verify")), _seconds("seconds")],
        "baselines": [
            _within("repeat", "a repeat, or -1 for a check,", -1),
            *(_within(column, "a count", 0) for column in ("n_tokens", "n_same", "n_first")),
            *(_within(column, tokens, 1)._replace(rows=_ran) for column in ("n_tokens", "n_first")),
            _seconds("prefill_s")._replace(rows=_ran),
            _Rule(
                "decode_s", "a finite number of seconds", lambda x: np.isfinite(x) & (x >= 0), _ran
            ),
            _Rule("compile_s", "a finite number of seconds", lambda x: np.isfinite(x) & (x >= 0)),
            _Rule(
                "energy_j",
                "a finite number of joules, or NaN",
                lambda x: np.isnan(x) | (np.isfinite(x) & (x >= 0)),
            ),
        ],
        "draws": [
            *design,
            _within("index", "a count", 0),
            _among("kind", ("check", "verify")),
            _within("confidence", *probability)._replace(
                rows=lambda frame: frame["kind"] == "check"
            ),
            _within("token", "a token", 0),
            _within("accepted", "a number of drafts", 0),
        ],
    }
    return rules[name]


def _ran(frame: pd.DataFrame) -> pd.Series[bool]:
    """The rows of baselines that ran."""
    return frame["error"] == ""


def _seconds(column: str) -> _Rule:
    return _Rule(column, "a finite number of seconds above 0", lambda x: np.isfinite(x) & (x > 0))


def _within(column: str, what: str, low: float, high: float | None = None) -> _Rule:
    """From low to high, both included; NaN is neither."""
    if high is None:
        return _Rule(column, f"{what} of {low:g} or more", lambda x: x >= low)
    return _Rule(column, f"{what} in {low:g}..{high:g}", lambda x: (x >= low) & (x <= high))


def _among(column: str, known: tuple[str, ...]) -> _Rule:
    return _Rule(
        column,
        f"one of {', '.join(known)}",
        lambda x: np.isin(x.astype(object), np.array(known, dtype=object)),
    )
