"""The report on one load: what requests wait, when, and what the server was doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from adadecode.sim.core.number_format import significant
from adadecode.sim.report import theme
from adadecode.sim.report.document import Choice, Drawing, Fact, Figure, Report, Section, Table
from adadecode.sim.report.formatting import milliseconds, plural, sentence
from adadecode.sim.report.load.run_file import RunFile
from adadecode.sim.report.plotting import empty_figure, plain_numbers
from adadecode.sim.serving.metrics.summary import STATISTICS

if TYPE_CHECKING:
    import plotly.graph_objects as go

WORDS = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "end to end"}

DRAWN = ("ttft", "tpot", "e2e")
"""Times that every request has by itself."""

QUEUES = ("running", "waiting")

MOST_POINTS = 400
"""Points of a line: more would only make the page larger."""


def run_report(run: RunFile, *, created: str) -> Report:
    """Return the report on a load.

    Args:
        run: The load.
        created: When the report is made, in words.
    """
    result = run.result
    rate = float(result["throughput"]["output_tokens_per_s"])
    seconds = float(result["seconds"])
    where = result.get("url") if run.observed else result.get("device")
    sections = [_times_section(run)]
    if run.steps is not None:
        sections.append(_server_section(run.steps))
    notes = [*map(str, result.get("notes", ()))]
    notes += [f"failed: {name}, {count:,}" for name, count in result.get("failures", {}).items()]
    if notes:
        rest = Section(name="assumed", title="What it rests on", notes=tuple(map(sentence, notes)))
        sections.append(rest)
    times = run.times().set_index("time")
    first = {name: float(value) for name, value in result["ttft_s"].items()}
    return Report(
        title=f"{where}: what requests wait",
        kicker=f"{plural(int(result['requests']), 'request')}, "
        f"{'observed at' if run.observed else 'simulated on'} {where}",
        headline=sentence(
            f"{result['verdict']}: a first token in {milliseconds(first['p50'])}, "
            f"99 of 100 in {milliseconds(first['p99'])}"
        ),
        lead=sentence(str(result["reason"])),
        facts=(
            *(
                Fact(
                    label=WORDS[str(name)],
                    value=milliseconds(row["p50"]),
                    note=f"median; P99 {milliseconds(row['p99'])}",
                )
                for name, row in times.iterrows()
            ),
            Fact(
                label="output tokens",
                value=f"{rate:,.0f} a second",
                note=f"over {significant(seconds)} s",
            ),
        ),
        sections=tuple(sections),
        created=created,
    )


def _times_section(run: RunFile) -> Section:
    known = [name for name in DRAWN if run.requests[f"{name}_s"].notna().any()]
    options = tuple(WORDS[name] for name in known)
    choice = Choice(dimension="time", label="Time", options=options)
    return Section(
        name="times",
        title="What requests wait",
        items=(
            Table(
                name="times-table",
                title="Times",
                frame=run.times().assign(time=[WORDS[one] for one in run.times()["time"]]),
                columns={
                    "time": ("", "text"),
                    **{name: (name, "ms") for name in STATISTICS},
                },
            ),
            Figure(
                name="over-time",
                title="Along the run",
                caption="Each dot is a request, by when it arrived.",
                choices=(choice,),
                drawings={
                    (WORDS[name],): Drawing(figure=over_time_figure(run.requests, name))
                    for name in known
                },
                half=True,
            ),
            Figure(
                name="distribution",
                title="How many wait so long",
                caption="The share of the requests that wait at most so long.",
                choices=(choice,),
                drawings={
                    (WORDS[name],): Drawing(figure=distribution_figure(run.requests, name))
                    for name in known
                },
                half=True,
            ),
        ),
    )


def _server_section(steps: pd.DataFrame) -> Section:
    busy = float(steps["seconds"].sum())
    return Section(
        name="server",
        title="What the servers were doing",
        lead=f"{plural(len(steps), 'step')} that took {significant(busy)} s in all.",
        items=(
            Figure(
                name="queue",
                title="Running and waiting",
                caption=(
                    "Requests that run and that are queued when a step begins, over all servers: "
                    "the most of each stretch of the run."
                ),
                drawings={(): Drawing(figure=queue_figure(steps))},
            ),
        ),
    )


def over_time_figure(requests: pd.DataFrame, name: str) -> go.Figure:
    """Draw a time of every request against its arrival.

    Args:
        requests: Columns ``arrival_s`` and the time.
        name: ``ttft``, ``tpot`` or ``e2e``.
    """
    import plotly.graph_objects as go

    rows = requests[requests[f"{name}_s"].notna()]
    shown = rows.iloc[:: max(1, len(rows) // (5 * MOST_POINTS))]
    figure = empty_figure(height=320, hovermode="closest")
    figure.add_trace(
        go.Scatter(
            x=plain_numbers(shown["arrival_s"] - requests["arrival_s"].min()),
            y=plain_numbers(shown[f"{name}_s"], 1e3),
            mode="markers",
            marker={"size": 5, "color": theme.SERIES[0], "opacity": 0.7},
            hovertemplate="%{x:.4g} s: %{y:.4g} ms<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_xaxes(title_text="arrival, s")
    figure.update_yaxes(title_text=f"{WORDS[name]}, ms", rangemode="tozero")
    return figure


def distribution_figure(requests: pd.DataFrame, name: str) -> go.Figure:
    """Draw which share of the requests waits at most so long.

    Args:
        requests: A column of the time.
        name: As of `over_time_figure`.
    """
    import plotly.graph_objects as go

    values = requests[f"{name}_s"].dropna()
    shares = np.linspace(0, 1, min(len(values), MOST_POINTS))
    figure = empty_figure(height=320, hovermode="closest")
    figure.add_trace(
        go.Scatter(
            x=plain_numbers(np.quantile(values, shares).tolist(), 1e3),
            y=plain_numbers(shares.tolist(), 100),
            mode="lines",
            line={"color": theme.SERIES[0], "width": 2},
            hovertemplate="%{y:.3g} % in %{x:.4g} ms<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_xaxes(title_text=f"{WORDS[name]}, ms", rangemode="tozero")
    figure.update_yaxes(title_text="share of the requests", ticksuffix=" %", range=[0, 102])
    return figure


def queue_figure(steps: pd.DataFrame) -> go.Figure:
    """Draw how many requests run and wait, over all servers.

    Args:
        steps: Columns ``server``, ``start_s``, ``running`` and ``waiting``.
    """
    import plotly.graph_objects as go

    start = steps["start_s"] - steps["start_s"].min()
    width = max(float(start.max()), 1e-9) / MOST_POINTS
    rows = steps.assign(bin=(start / width).astype(int))
    figure = empty_figure(height=320, hovermode="x unified")
    for place, name in enumerate(QUEUES):
        # Of each server the most within a stretch; one that does no step is as it was.
        most = rows.pivot_table(index="bin", columns="server", values=name, aggfunc="max")
        whole = most.ffill().fillna(0).sum(axis="columns")
        figure.add_trace(
            go.Scatter(
                name=name,
                x=plain_numbers((most.index.to_numpy() * width).tolist()),
                y=plain_numbers(whole),
                mode="lines",
                line={"color": theme.SERIES[3 * place], "width": 1.6, "shape": "hv"},
            )
        )
    figure.update_xaxes(title_text="time, s")
    figure.update_yaxes(title_text="requests", rangemode="tozero")
    return figure
