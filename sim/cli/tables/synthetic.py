"""Synthetic heads, what was drawn from them and what a speedup needs of them, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType

from adadecode.sim.cli.tables.layout import table, titled
from adadecode.sim.core.number_format import percent, times
from adadecode.sim.synthetic.head_model import CORRELATIONS, HeadModel
from adadecode.sim.synthetic.rate_fitting import RateFit
from adadecode.sim.synthetic.required_agreement import Needed

_NEEDED_ROWS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("speedup", "speedup", lambda speedup: times(speedup, 3)),
    ("early predicted, of tested positions", "early_rate", lambda share: percent(share, 1)),
    ("discarded, of drafts", "reject_rate", lambda share: percent(share, 1)),
    ("tokens per round", "tokens_per_round", "{:.2f}".format),
    ("design", "design", str),
)
"""The rows of `needed_table`: what is shown, its key in the figures, and its format."""


def drawn_tables(
    title: str, models: Mapping[str, HeadModel], drawn: pd.DataFrame
) -> Iterator[RenderableType]:
    """Yield what was wanted and what was drawn, by head, and the correlations."""
    figures = list(dict.fromkeys(drawn["what"]))
    body = table("domain", "depth", *figures)
    for (domain, depth), part in drawn.groupby(["domain", "depth"], sort=False):
        rows = {row["what"]: row for row in part.to_dict("records")}
        cells = []
        for figure in figures:
            row = rows.get(figure)
            mark = "" if row is None or row["within"] else " *"
            cells.append("" if row is None else f"{row['asked']:.3f} / {row['got']:.3f}{mark}")
        body.add_row(str(domain), str(depth), *cells)
    captions = []
    if not drawn["within"].all():
        captions.append(
            "*: further off than four standard errors of so much text; draw more, or another seed"
        )
    yield titled(f"{title}; wanted / drawn", body, captions)
    correlations = table("domain", *(name.replace("_", " ") for name in CORRELATIONS))
    for name, model in models.items():
        figures = [f"{getattr(model, correlation):.2f}" for correlation in CORRELATIONS]
        correlations.add_row(name, *figures)
    yield titled("correlations", correlations)


def fit_table(fit: RateFit) -> Group:
    """Return how near heads came to the rates that they were fitted to."""
    body = table("rate", "gamma", "wanted", "fitted", "difference")
    for row in fit.rows.to_dict("records"):
        body.add_row(
            row["what"],
            f"{row['gamma']:g}",
            f"{row['asked']:.3f}",
            f"{row['got']:.3f}",
            f"{row['residual']:+.3f}" if row["informative"] else "always so",
        )
    return titled(str(fit), body)


def needed_table(model: HeadModel, found: Needed, placement: Sequence[int]) -> Group:
    """Return what heads give as described, and what they must be for a speedup.

    Args:
        model: The heads as described.
        found: The speedup wanted, what agreement gives it, and what can be had.
        placement: Depths of the heads in use.
    """
    reach = f"agreement alone gives {times(found.lowest)} .. {times(found.highest)}"
    answer = "needs" if found.model else "cannot be had"
    body = table("", "as given", *(["needed"] if found.model else []))
    for depth in placement:
        place = model.depths.index(depth)
        needed = [f"{found.model.agreement[place]:.3f}"] if found.model else []
        body.add_row(f"agreement at depth {depth}", f"{model.agreement[place]:.3f}", *needed)
    rows = [row for row in (found.now, found.row) if row is not None]
    for label, key, form in _NEEDED_ROWS:
        body.add_row(label, *(form(row[key]) for row in rows))
    return titled(f"{found.wanted:g}x {answer}; {reach}", body)
