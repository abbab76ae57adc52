"""The first rounds of a schedule as a table: one row for each token of each piece of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adadecode.sim.core.scheduler import Check, Draft, Gate, Round, Run, Score, Verdict
from adadecode.sim.replay.simulation import Event, ReplayedRun

FATES = {"last layer": "#4c6ea8", "accepted draft": "#2a9d74", "rejected draft": "#d1495b"}
"""Where a token came from and what became of it, with its colour.

The colours are distinct to the colour-blind too.
"""

OPEN = "open"
"""What stands for the next token of a gate that let its head be asked."""

COLUMNS = (
    "round",
    "kind",
    "depth",
    "start_s",
    "stop_s",
    "output",
    "slot",
    "fate",
    "label",
    "next_label",
    "confidence",
)


def cells(
    run: ReplayedRun,
    boundaries: Sequence[int],
    *,
    rounds: int = 6,
    words: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Return one row for each token of each piece of work in the first rounds.

    Args:
        run: A run with its events.
        boundaries: The design's segments, 0..L.
        rounds: How many rounds, at most.
        words: The text of tokens, by their ids.

    Returns:
        Columns: round, kind (run, gate, check or verify), depth (computed when the work is done),
        start_s, stop_s, output (of the token), slot (its place in the batch, from 0), fate (see
        `FATES`), label (its text if ``words`` has its id, else its output number), next_label (of
        a check that started the next token on its draft, and of a verify: the label of the next
        token; of a gate that let its head be asked: `OPEN`), confidence (of a check, or the score
        of a gate, else NaN).
    """
    rows: list[dict[str, Any]] = []
    number = 0
    for event, follows in zip(run.events, [*run.events, None][1:], strict=True):
        if number >= min(rounds, len(run.rounds)):
            break
        current = run.rounds[number]
        work_columns = {
            "round": number,
            "start_s": event.start_s,
            "stop_s": event.start_s + event.seconds,
            **_work_columns(event, follows, run, current, boundaries, words),
        }
        rows += [{**work_columns, **token} for token in _token_columns(event, current, run, words)]
        number += not isinstance(event.work, Gate | Check | Run)  # a Verify ends the round
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _work_columns(
    event: Event,
    follows: Event | None,
    run: ReplayedRun,
    current: Round,
    boundaries: Sequence[int],
    words: Mapping[int, str] | None,
) -> dict[str, Any]:
    """Return the columns of a piece of work that do not depend on the token."""
    work, outcome = event.work, event.outcome
    unsure = {"next_label": "", "confidence": float("nan")}
    if isinstance(work, Run):
        return {"kind": "run", "depth": boundaries[work.segment + 1], **unsure}
    if isinstance(work, Gate):
        assert isinstance(outcome, Score)
        asks = follows is not None and isinstance(follows.work, Check)
        return {
            "kind": "gate",
            "depth": work.depth,
            "next_label": OPEN if asks else "",
            "confidence": outcome.value,
        }
    if isinstance(work, Check):
        assert isinstance(outcome, Draft)
        taken = follows is None or (isinstance(follows.work, Run) and follows.work.segment == 0)
        next_output = work.position - run.n_prompt + 1
        return {
            "kind": "check",
            "depth": work.depth,
            "next_label": _label(outcome.token, next_output, words) if taken else "",
            "confidence": outcome.confidence,
        }
    assert isinstance(outcome, Verdict)
    committed = current.start + current.committed - run.n_prompt
    return {
        "kind": "verify",
        "depth": boundaries[-1],
        **unsure,
        "next_label": _label(outcome.token, committed, words),
    }


def _token_columns(
    event: Event, current: Round, run: ReplayedRun, words: Mapping[int, str] | None
) -> list[dict[str, Any]]:
    """Return output, slot, fate and label of each token of a piece of work."""
    work = event.work
    first = work.position if isinstance(work, Gate | Check) else work.start
    columns = []
    for slot, token in enumerate(event.tokens):
        position = first + slot
        output = position - run.n_prompt
        draft = position - current.start  # 0 is the token that the last round ended with
        held = "accepted draft" if draft <= current.accepted else "rejected draft"
        columns.append(
            {
                "output": output,
                "slot": slot,
                "fate": "last layer" if draft == 0 else held,
                "label": _label(token, output, words),
            }
        )
    return columns


def _label(token: int, output: int, words: Mapping[int, str] | None) -> str:
    """Return a token's text, or its output number if the text is not known.

    A token of spaces and line breaks alone is made visible.
    """
    text = (words or {}).get(token)
    if text is None:
        return str(output)
    return text.strip() or text.replace("\n", "⏎").replace(" ", "␣")
