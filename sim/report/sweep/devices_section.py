"""The section that compares devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adadecode.profiles.catalog.devices import catalogue
from adadecode.sim.core.number_format import UNKNOWN
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Drawing, Figure, Section, Table, fact_table
from adadecode.sim.report.plotting import empty_figure, error_bars, mark_vanilla, plain_numbers
from adadecode.sim.report.profile.run_tables import fastest
from adadecode.sim.report.sweep.designs_section import INTERVALS
from adadecode.sim.report.sweep.regime_words import LIMITS, REGIMES
from adadecode.sim.report.sweep.sweep_data import SweepData

if TYPE_CHECKING:
    import plotly.graph_objects as go

BASES = {
    "measured": "latencies measured on this device",
    "carried": (
        "latencies carried there from the recorded device by bytes, FLOPs and published bandwidths"
    ),
    "datasheet": (
        "latencies from the datasheet and public benchmarks alone, with nothing measured"
    ),
}
"""What the latencies of a device rest on, in words."""

SYMBOLS = {
    "measured": ("circle", theme.SERIES[0]),
    "carried": ("circle-open", theme.SERIES[0]),
    "datasheet": ("diamond-open", theme.SERIES[2]),
}
"""The symbol and the colour of each basis: filled is measured."""

MOST_READING = 0.5
"""Beyond this share of the time for reading, a device is not fast because of its clock."""

_GROUPING = {"heads", "shallow", "deep", "place", "gamma"}
"""Columns that only group designs, and do not belong in the CSV."""


def devices_section(data: SweepData) -> Section | None:
    """Return the section; None if no design could be priced on any device."""
    table = data.table
    if table.empty:
        return None
    several = len(table) > 1
    items: list[Figure | Table] = [_figure(table)] if several else []
    items.append(_table(table))
    if table["energy_over_vanilla"].notna().any():
        items.append(_energy_table(table))
    notes = {row["device"]: row["notes"] for row in table.to_dict("records") if row["notes"]}
    if notes:
        title = "What the latencies of each device rest on"
        items.append(fact_table("devices-notes", title, notes, folded=True))
    present = set(table["basis"])
    bases = [f"{name.capitalize()}: {words}." for name, words in BASES.items() if name in present]
    ruling = set(table.loc[table["limit"] != UNKNOWN, "regime"])
    bases += [f"{name.capitalize()}: {words}." for name, words in REGIMES.items() if name in ruling]
    return Section(
        name="devices-section",
        title="On which device" if several else "On this device",
        lead=" ".join(bases),
        items=tuple(items),
        notes=tuple(clock_notes(table)),
    )


def _figure(table: pd.DataFrame) -> Figure:
    return Figure(
        name="devices",
        title="The best speedup on each device",
        caption=(
            "Filled circle: latencies measured there; open circle: carried from the recording; "
            "open diamond: from a datasheet alone. Bars: the range that uncertain latencies leave; "
            "on a measured device, how far predictions were seen to miss. Tick: what the design "
            "that is best on the first device gives elsewhere."
        ),
        drawings={(): Drawing(figure=devices_figure(table), summary=_summary(table))},
    )


def _table(table: pd.DataFrame) -> Table:
    return Table(
        name="devices-table",
        title="Devices",
        frame=table[[name for name in table.columns if name not in _GROUPING]],
        columns={
            "device": ("device", "text"),
            "basis": ("basis", "text"),
            "regime": ("regime", "text"),
            "limit": ("limit", "text"),
            "vanilla_s": ("vanilla", "ms"),
            "tpot_s": ("best", "ms"),
            "speedup": ("speedup", "times"),
            "speedup_low": ("from", "times"),
            "speedup_high": ("to", "times"),
            "design": ("best design", "text"),
        },
        caption=(
            f"Limit: what decides how long the work takes, {LIMITS}. Vanilla and best: predicted "
            f"time for a token. {INTERVALS}"
        ),
    )


def _energy_table(table: pd.DataFrame) -> Table:
    """Return what the best design takes in joules, and over vanilla's."""
    rows = table[table["energy_over_vanilla"].notna()]
    names = ["device", "design", "vanilla_j", "energy_j_per_token", "energy_low", "energy_high"]
    names += ["energy_over_vanilla", "energy_over_low", "energy_over_high"]
    vanilla = rows["energy_j_per_token"] / rows["energy_over_vanilla"]
    return Table(
        name="devices-energy",
        title="Energy for a token",
        frame=rows.assign(vanilla_j=vanilla)[names],
        columns={
            "device": ("device", "text"),
            "vanilla_j": ("vanilla", "joules"),
            "energy_j_per_token": ("best", "joules"),
            "energy_low": ("from", "joules"),
            "energy_high": ("to", "joules"),
            "energy_over_vanilla": ("over vanilla's", "times"),
            "energy_over_low": ("from", "times"),
            "energy_over_high": ("to", "times"),
        },
        caption=(
            "Of the design that is fastest on each device. Below 1, early exits save energy. Where "
            "no power was measured: what a device draws awake, and for each byte and FLOP, at most "
            "its power limit, from the least to the most that is published. What is uncertain "
            "about a device is the same for vanilla, so that the ratio is known better."
        ),
    )


def _summary(table: pd.DataFrame) -> str:
    """Return the devices with the largest and the smallest speedup, and with the shortest time."""
    first, last = fastest(table), table.iloc[int(table["speedup"].argmin())]
    quickest = table.iloc[int(table["tpot_s"].argmin())]
    return (
        f"Early exits gain most on {first['device']} ({formatting.times(first['speedup'])}), least "
        f"on {last['device']} ({formatting.times(last['speedup'])}); the shortest time for a token "
        f"is {quickest['device']}'s, {formatting.milliseconds(quickest['tpot_s'])}."
    )


def clock_notes(table: pd.DataFrame) -> list[str]:
    """Explain why a device is predicted to be faster than one with faster memory.

    If reading the weights takes little of the time, the time goes with the clock: every kernel
    takes some cycles to start and to end, however little work it holds.

    Args:
        table: `SweepData.table`.

    Returns:
        A sentence or two; nothing if there is no such device, or another reason.
    """
    known = catalogue()
    rows = [row for row in table.to_dict("records") if row["device"] in known]
    if len(rows) < 2:
        return []
    quickest = min(rows, key=lambda row: float(row["tpot_s"]))
    device = known[quickest["device"]]
    other = max((known[row["device"]] for row in rows), key=lambda one: one.bandwidth)
    reading_share = quickest["bytes_per_token"] / device.bandwidth / quickest["tpot_s"]
    if other.bandwidth <= device.bandwidth or reading_share > MOST_READING:
        return []
    if device.clock_hz is None or other.clock_hz is None or device.clock_hz <= other.clock_hz:
        return []
    speeds = f"{device.bandwidth / 1e12:.1f} against {other.bandwidth / 1e12:.1f} TB/s"
    clocks = f"{device.clock_hz / 1e9:.2f} against {other.clock_hz / 1e9:.2f} GHz"
    note = (
        f"{device.name} is predicted to be faster than {other.name} although its memory is slower "
        f"({speeds}). This model is so small that reading it takes only {reading_share:.0%} of the "
        "time there. Most of the rest is starting and ending kernels, which takes a number of "
        f"cycles, and {device.name} has the higher clock ({clocks}). A larger model turns this "
        "around."
    )
    return [note]


def devices_figure(devices: pd.DataFrame) -> go.Figure:
    """Draw the best speedup on each device with its interval, by the basis of its latencies.

    Args:
        devices: Of `adadecode.sim.report.sweep.design_tables.devices`, with the column basis.
    """
    import plotly.graph_objects as go

    rows = devices.iloc[::-1].rename(columns={"speedup_low": "low", "speedup_high": "high"})
    names = [formatting.in_plot(name) for name in rows["device"]]
    figure = empty_figure(height=120 + 30 * len(rows), hovermode="closest")
    figure.update_yaxes(showgrid=False, type="category", categoryorder="array", categoryarray=names)
    present = set(rows["basis"])
    known = [basis for basis in SYMBOLS if basis in present]
    for basis in dict.fromkeys([*known, *rows["basis"]]):
        part = rows[rows["basis"] == basis]
        symbol, colour = SYMBOLS.get(str(basis), ("x", theme.GREY))
        hover = zip(
            part["design"].map(formatting.in_plot),
            plain_numbers(part["tpot_s"], 1e3),
            plain_numbers(part["low"]),
            plain_numbers(part["high"]),
            strict=True,
        )
        figure.add_trace(
            go.Scatter(
                name=formatting.in_plot(basis),
                x=plain_numbers(part["speedup"]),
                y=[formatting.in_plot(name) for name in part["device"]],
                mode="markers",
                marker={"size": 10, "symbol": symbol, "color": colour, "line": {"width": 2}},
                error_x=error_bars(part, "speedup"),
                customdata=[list(row) for row in hover],
                hovertemplate=(
                    "%{y}<br>%{customdata[0]}<br>"
                    "%{x:.2f}× (%{customdata[2]:.2f} .. %{customdata[3]:.2f}), "
                    "%{customdata[1]:.3g} ms a token<extra></extra>"
                ),
            )
        )
    if rows["carried"].notna().sum() > 1:
        tick = {"size": 11, "symbol": "line-ns-open", "line": {"width": 2}}
        figure.add_trace(
            go.Scatter(
                name="the first device's best design",
                x=plain_numbers(rows["carried"]),
                y=names,
                mode="markers",
                marker={**tick, "color": theme.SERIES[3]},
                hovertemplate=(
                    "%{y}<br>with the first device's best design: %{x:.2f}×<extra></extra>"
                ),
            )
        )
    figure.update_xaxes(title_text="best speedup over vanilla", ticksuffix="×")
    return mark_vanilla(figure, axis="x")
