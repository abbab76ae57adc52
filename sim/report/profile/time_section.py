"""The section on where the time of a token goes, and where tokens leave the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.core.number_format import percent
from adadecode.sim.measurements.runs import rounds_of
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Choice, Drawing, Figure, Section, Table
from adadecode.sim.report.plotting import empty_figure, plain_numbers
from adadecode.sim.report.profile import run_tables
from adadecode.sim.report.profile.latency_tables import TIME_SHARES
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.run_tables import ALL, WHOLE
from adadecode.sim.report.profile.speed_section import domain_choice

if TYPE_CHECKING:
    import plotly.graph_objects as go

PART_NAMES = {
    "layers_useful": "layers, kept tokens",
    "layers_discarded": "layers, discarded drafts",
    "heads": "exit heads",
    "verify": "verification",
    "host": "host",
    "undivided": "all together",
}
"""The names of `TIME_SHARES`, and of a time that is not divided."""

FATE_COLUMNS = {
    "accepted": ("accepted drafts", "count"),
    "rejected": ("discarded drafts", "count"),
    "last": ("last layer's own", "count"),
}
"""The columns of a table of fates, as `Table` takes them."""


def time_section(data: ProfileData) -> Section | None:
    """Return the section on the designs that were run; None if none was."""
    designs = list(dict.fromkeys(design for design, _ in rounds_of(data.profile)))
    if data.predictor is None or not designs:
        return None
    items: list[Figure | Table] = []
    split = data.time_split(designs)
    if len(split):
        items += _budget_items(split)
    drafting = [design.label for design in designs if design.placement]
    if drafting:
        items += _exit_items(data, drafting)
    return Section(
        name="time", title="Where the time goes, and where tokens leave", items=tuple(items)
    )


def time_columns() -> dict[str, tuple[str, str]]:
    """Return the columns of a table of times by part, as `Table` takes them."""
    return {part: (PART_NAMES[part], "ms") for part in TIME_SHARES}


def fates_summary(tokens: pd.DataFrame, *, past: bool) -> str:
    """Return how much of the text left early, and how many drafts were thrown away.

    Args:
        tokens: Columns accepted, rejected and last.
        past: Whether this happened in a recorded run, rather than in a replay.
    """
    drafts = int(tokens[["accepted", "rejected"]].to_numpy().sum())
    rejected, accepted = int(tokens["rejected"].sum()), int(tokens["accepted"].sum())
    text = max(1, int(tokens[["accepted", "last"]].to_numpy().sum()))
    leaves, thrown = ("left", "were thrown") if past else ("leaves", "are thrown")
    return (
        f"{percent(accepted / text)} of the text {leaves} early; "
        f"{formatting.count(rejected)} of {formatting.count(drafts)} drafts {thrown} away."
    )


def _budget_items(split: pd.DataFrame) -> list[Figure | Table]:
    """Return the figure and the table of where the time of a token goes."""
    figure = Figure(
        name="time-budget",
        title="Where the time of a token goes",
        caption=(
            "From the measured latencies, replayed over all text. The time of a batch is shared "
            "evenly by its tokens: red is what was spent on drafts that verification threw away. "
            "Head checks are paid whether or not the token leaves."
        ),
        drawings={(): Drawing(figure=budget_figure(split))},
    )
    table = Table(
        name="time-budget-table",
        title="Time of a token by part",
        frame=split,
        columns={"design": ("design", "text"), **time_columns()},
        folded=True,
    )
    return [figure, table]


def _exit_items(data: ProfileData, labels: list[str]) -> list[Figure | Table]:
    """Return the figure and the table of exits by depth, and of what became of the drafts."""
    tokens = run_tables.fates(data.profile, data.texts)
    best = data.best()
    if best is not None and best["design"] in labels:
        labels = [best["design"], *(label for label in labels if label != best["design"])]
    drawings: dict[tuple[str, ...], Drawing] = {}
    shown = tokens[tokens["design"].isin(labels)]
    for (label, domain), part in shown.groupby(["design", "domain"], sort=False):
        drawings[str(label), str(domain) or WHOLE] = Drawing(
            figure=fates_figure(part), summary=fates_summary(part, past=True)
        )
    figure = Figure(
        name="exits",
        title="Exits by depth, accepted and discarded",
        caption=(
            "Counted in the recorded rounds. Blue and green make up the text, 100 %; red comes on "
            "top: drafts computed in vain, the first wrong one of a round and all that followed it."
        ),
        choices=(
            Choice(dimension="design", label="Design", options=tuple(labels)),
            domain_choice(list(data.texts)),
        ),
        drawings=drawings,
    )
    table = Table(
        name="exits-table",
        title="Exits by depth",
        frame=tokens.assign(domain=tokens["domain"].replace(ALL, WHOLE)),
        columns={
            "design": ("design", "text"),
            "domain": ("text", "text"),
            "depth": ("depth", "count"),
            **FATE_COLUMNS,
        },
        folded=True,
    )
    return [figure, table]


def budget_figure(split: pd.DataFrame) -> go.Figure:
    """Draw the milliseconds of an output token by part, a bar for each design, the first on top.

    Args:
        split: Columns design, those of `TIME_SHARES` in seconds, and ``undivided`` where there is
            a time that is not divided.
    """
    import plotly.graph_objects as go

    rows = split.iloc[::-1]
    parts = [part for part in (*TIME_SHARES, "undivided") if part in rows]
    totals = rows[parts].sum(axis=1)
    figure = empty_figure(
        height=110 + 30 * len(rows), barmode="stack", hovermode="closest", bargap=0.4
    )
    for part in parts:
        figure.add_trace(
            go.Bar(
                name=PART_NAMES[part],
                x=plain_numbers(rows[part], 1e3),
                y=[formatting.in_plot(name) for name in rows["design"]],
                orientation="h",
                marker={"color": theme.PART_COLOURS[part]},
                customdata=plain_numbers(rows[part] / totals),
                hovertemplate=(
                    f"%{{y}}<br>{PART_NAMES[part]}: %{{x:.3g}} ms a token, "
                    "%{customdata:.1%}<extra></extra>"
                ),
            )
        )
    figure.update_layout(legend_traceorder="normal")
    figure.update_xaxes(title_text="ms per token")
    figure.update_yaxes(showgrid=False, type="category")
    return figure


def fates_figure(tokens: pd.DataFrame) -> go.Figure:
    """Draw where the tokens of one design left the stack, and what became of them.

    Args:
        tokens: Columns depth, accepted, rejected and last; the last layer in the last row.
    """
    import plotly.graph_objects as go

    total = max(1, int(tokens[["accepted", "last"]].to_numpy().sum()))
    figure = empty_figure(
        height=110 + 34 * len(tokens), barmode="stack", hovermode="closest", bargap=0.45
    )
    names = [*(f"head {depth}" for depth in tokens["depth"].tolist()[:-1]), "last layer"]
    for name, column, colour in (
        ("last layer's own", "last", theme.LAST),
        ("draft, accepted", "accepted", theme.ACCEPTED),
        ("draft, discarded", "rejected", theme.REJECTED),
    ):
        values = tokens[column]
        if values.any():
            figure.add_trace(
                go.Bar(
                    name=name,
                    x=plain_numbers(values / total),
                    y=names,
                    orientation="h",
                    marker={"color": colour},
                    customdata=values.tolist(),
                    hovertemplate=(
                        f"%{{y}}<br>{name}: %{{customdata:,}} tokens<br>"
                        "%{x:.1%} of the text<extra></extra>"
                    ),
                )
            )
    figure.update_layout(legend_traceorder="normal")
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_xaxes(title_text="share of the text", tickformat=".0%")
    return figure
