"""A picture of the first rounds of a schedule, like the paper's figure 2: time to the right, depth upwards, a strip for each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from adadecode.sim.core.scheduler import Check, Draft, Run, Verdict
from adadecode.sim.replay.simulation import Event, ReplayedRun

if TYPE_CHECKING:
    import plotly.graph_objects as go

FATES = {"last layer": "#4c6ea8", "accepted draft": "#2a9d74", "rejected draft": "#d1495b"}
"""Where a token came from and what became of it, with its colour (told apart by the colour-blind too)."""


def cells(
    run: ReplayedRun,
    boundaries: Sequence[int],
    *,
    rounds: int = 6,
    words: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """One row for each token of each piece of work in the first rounds; the run needs its events.

    Columns: round, kind (run, check or verify), depth (computed when the work is done), start_s, stop_s, output (of the token), slot (its place
    in the batch, from 0), fate (see FATES), label (its text where ``words`` knows its id, else its output number), says (of a check that
    took a draft, and of a verify: the label of the next token), confidence (a check's, else NaN).
    """
    rows: list[dict[str, Any]] = []
    number = 0
    for event, follows in zip(run.events, [*run.events, None][1:], strict=True):
        if number >= min(rounds, len(run.rounds)):
            break
        work, done = event.work, run.rounds[number]
        row = {
            "round": number,
            "start_s": event.start_s,
            "stop_s": event.start_s + event.seconds,
            "says": "",
            "confidence": float("nan"),
        }
        if isinstance(work, Check):
            row |= {"kind": "check", "depth": work.depth} | _said(
                event, follows, run.n_prompt, words
            )
            positions = range(work.position, work.position + 1)
        else:
            positions = range(work.start, work.stop)
            if isinstance(work, Run):
                row |= {"kind": "run", "depth": boundaries[work.segment + 1]}
            else:
                assert isinstance(event.outcome, Verdict)
                committed = done.start + done.committed - run.n_prompt
                row |= {
                    "kind": "verify",
                    "depth": boundaries[-1],
                    "says": _word(event.outcome.token, committed, words),
                }
                number += 1
        for slot, (position, token) in enumerate(zip(positions, event.tokens, strict=True)):
            output = position - run.n_prompt
            draft = position - done.start
            fate = (
                "last layer"
                if draft == 0
                else "accepted draft"
                if draft <= done.accepted
                else "rejected draft"
            )
            rows.append(
                {
                    **row,
                    "output": output,
                    "slot": slot,
                    "fate": fate,
                    "label": _word(token, output, words),
                }
            )
    columns = [
        "round",
        "kind",
        "depth",
        "start_s",
        "stop_s",
        "output",
        "slot",
        "fate",
        "label",
        "says",
        "confidence",
    ]
    return pd.DataFrame(rows, columns=columns)


def _said(
    event: Event, follows: Event | None, n_prompt: int, words: Mapping[int, str] | None
) -> dict[str, Any]:
    """What a head said, and the draft where the next token started on it."""
    work, outcome = event.work, event.outcome
    assert isinstance(work, Check)
    assert isinstance(outcome, Draft)
    taken = follows is None or (isinstance(follows.work, Run) and follows.work.segment == 0)
    return {
        "says": _word(outcome.token, work.position - n_prompt + 1, words) if taken else "",
        "confidence": outcome.confidence,
    }


def _word(token: int, output: int, words: Mapping[int, str] | None) -> str:
    """A token's text, spaces and line breaks made visible; its output number where the text is not known."""
    text = (words or {}).get(token)
    return (
        str(output)
        if text is None
        else text.replace("\n", "⏎").replace(" ", "␣")
        if not text.strip()
        else text.strip()
    )


def schedule_figure(
    drawn: pd.DataFrame, boundaries: Sequence[int], *, title: str = ""
) -> go.Figure:
    """The same picture to zoom into: a plotly figure of `cells`. Needs plotly (the extra ``report``)."""
    import plotly.graph_objects as go

    depths = list(boundaries[1:])
    runs = drawn[drawn["kind"] == "run"]
    figure = go.Figure()
    for fate, colour in FATES.items():
        part = runs[runs["fate"] == fate]
        row = part["depth"].map(depths.index) + part["slot"] / (runs["slot"].max() + 1)
        milliseconds = (part["stop_s"] - part["start_s"]) * 1e3
        place = {
            "base": part["start_s"] * 1e3,
            "x": milliseconds,
            "y": row,
            "orientation": "h",
            "width": 0.9 / (runs["slot"].max() + 1),
            "offset": 0,
        }
        hover = (
            "output " + part["output"].astype(str) + ", round " + (part["round"] + 1).astype(str)
        )
        look = {
            "marker_color": colour,
            "text": part["label"].map(escape),
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "hovertext": hover,
        }
        figure.add_trace(go.Bar(name=fate, **place, **look))
    names = [f"layers {start + 1}-{stop}" for start, stop in pairwise(boundaries)]
    figure.update_yaxes(tickvals=[i + 0.45 for i in range(len(depths))], ticktext=names)
    figure.update_xaxes(title="ms")
    figure.update_layout(
        title=title,
        barmode="overlay",
        template="plotly_white",
        height=140 + 18 * len(depths) * (int(runs["slot"].max()) + 1),
    )
    return figure
