"""What a sweep found, as tidy tables small enough to draw: each says by what rule designs were left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.report import formatting
from adadecode.sim.sweep.pareto import pareto_front

MOST_LINES = 7
"""Lines in one figure that colours can still tell apart (see `adadecode.sim.report.theme.SERIES`)."""

CELLS = 40
"""Along each axis of a cloud of designs: beyond one design in a 1/40 of the width, dots lie on each other."""

MOST_ON_FRONT = 300
"""Designs drawn on a front: more would be nearer to each other than a pixel or two."""

OBJECTIVES = {
    "tpot_s": ("time per token", "ms"),
    "speedup": ("speedup", "times"),
    "flops_per_token": ("FLOPs per token", "flops"),
    "memory_bytes": ("peak memory", "bytes"),
    "energy_j_per_token": ("energy per token", "joules"),
    "bytes_per_token": ("bytes moved per token", "bytes"),
}
"""Columns that may be looked at beside the time per token, with a name and a format for people (see `adadecode.sim.report.document.FORMATS`)."""


def with_places(designs: pd.DataFrame, *, rounded: bool = False) -> pd.DataFrame:
    """The designs with columns to group by: heads (how many), shallow, deep (depths, 0 without heads), place (``3/7``), gamma.

    gamma is NaN where none is asked and where heads have different ones; with ``rounded`` it is their mean, to a twentieth, for searches that choose any.
    """
    placements, gammas = designs["placement"].tolist(), designs["gammas"].tolist()
    asks = (designs["policy"] == Policy.ADADECODE).to_numpy()
    gamma = [
        float("nan")
        if not asked or not len(values) or (len(set(values)) > 1 and not rounded)
        else float(np.mean(values))
        for values, asked in zip(gammas, asks.tolist(), strict=True)
    ]
    if rounded:
        gamma = [round(value * 20) / 20 if value == value else value for value in gamma]
    return designs.assign(
        heads=[len(placement) for placement in placements],
        shallow=[int(placement[0]) if len(placement) else 0 for placement in placements],
        deep=[int(placement[-1]) if len(placement) else 0 for placement in placements],
        place=["/".join(map(str, placement)) for placement in placements],
        gamma=gamma,
    )


def best_of(designs: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """Of every group the fastest design, in the order of the groups. Groups without any speed are left out."""
    timed = designs[designs["speedup"].notna()]
    return timed.loc[timed.groupby(by, sort=True)["speedup"].idxmax()]


def fitting(designs: pd.DataFrame) -> pd.DataFrame:
    """Those that fit the memory of their device."""
    return designs[designs["fits"].astype(bool)]


def policies(designs: pd.DataFrame) -> list[str]:
    """The policies with heads that were looked at, adadecode first."""
    found = set(designs["policy"]) - {str(Policy.VANILLA)}
    return [name for name in map(str, Policy) if name in found] + sorted(
        found - set(map(str, Policy))
    )


def along(policy: str) -> str:
    """What is varied for a placement: gamma where it decides, the cap elsewhere."""
    return "gamma" if policy == Policy.ADADECODE else "cap"


def lines(designs: pd.DataFrame, policy: str, also: Iterable[str] = ()) -> pd.DataFrame:
    """The speed of a few placements along gamma, or along the cap, the other one at its best.

    designs: of one device and policy, with places. Chosen are the best placement of each number of heads, then those of ``also`` (as ``3/7``), then the
    next best, MOST_LINES in all; designs with another gamma for each head are left out. Sorted by place and x; columns of ``designs`` and x.
    """
    axis = along(policy)
    drawn = designs[designs[axis].notna()]
    if drawn.empty:
        return drawn.assign(x=drawn[axis])
    ranked = best_of(drawn, "place").sort_values("speedup", ascending=False, kind="stable")
    first = ranked.drop_duplicates("heads")["place"].tolist()
    wanted = dict.fromkeys(
        [*first, *(place for place in also if place in set(ranked["place"])), *ranked["place"]]
    )
    chosen = list(wanted)[:MOST_LINES]
    points = best_of(drawn[drawn["place"].isin(chosen)], ["place", axis])
    order = {
        place: rank
        for rank, place in enumerate(
            sorted(chosen, key=lambda place: [int(depth) for depth in place.split("/")])
        )
    }
    points = points.assign(x=points[axis], rank=points["place"].map(order))
    return points.sort_values(["rank", "x"]).drop(columns="rank")


def band(designs: pd.DataFrame, policy: str) -> pd.DataFrame:
    """How all placements spread along gamma, or along the cap, the other one at its best: x, low, high (10th and 90th percentile), placements.

    Where fewer than half of the placements were looked at there is no row.
    """
    axis = along(policy)
    points = best_of(designs[designs[axis].notna()], ["place", axis])
    spread = points.groupby(axis, sort=True)["speedup"]
    table = pd.DataFrame(
        {"low": spread.quantile(0.1), "high": spread.quantile(0.9), "placements": spread.size()}
    )
    return (
        table[table["placements"] >= points["place"].nunique() / 2].rename_axis("x").reset_index()
    )


def placement_cells(designs: pd.DataFrame, heads: Sequence[int]) -> pd.DataFrame:
    """The best design for every shallowest and deepest head, among placements with so many heads. designs: of one device and policy, with places."""
    return best_of(designs[designs["heads"].isin(heads)], ["shallow", "deep"])


def head_counts(designs: pd.DataFrame) -> dict[str, tuple[int, ...]]:
    """What a map of placements can show: one and two heads together (one on the diagonal), then each larger number."""
    counts = sorted(set(designs["heads"]) - {0})
    few = tuple(count for count in counts if count <= 2)
    named = (
        {"one or two heads" if len(few) > 1 else formatting.plural(few[0], "head"): few}
        if few
        else {}
    )
    return {
        **named,
        **{formatting.plural(count, "head"): (count,) for count in counts if count > 2},
    }


def objectives(designs: pd.DataFrame) -> list[str]:
    """The columns beside the time per token in which these designs differ."""
    return [
        name
        for name in OBJECTIVES
        if name not in {"tpot_s", "speedup"}
        and name in designs
        and designs[name].max() > designs[name].min()
    ]


def front(designs: pd.DataFrame, y: str) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """(on a front, others, how many others there are) of one device, to be drawn as tpot_s against ``y``.

    On a front: no other design beats it in these two (the column both is true), or in all objectives of the sweep. At most MOST_ON_FRONT of these are kept,
    evenly by time; of the others one in each of CELLS x CELLS cells.
    """
    known = designs[designs["tpot_s"].notna() & designs[y].notna()]
    known = known.assign(both=pareto_front(known[["tpot_s", y]].to_numpy(dtype=np.float64)))
    chosen = known["both"] | known["pareto"].astype(bool)
    on, off = known[chosen].sort_values("tpot_s", kind="stable"), known[~chosen]
    if len(on) > MOST_ON_FRONT:
        on = on.iloc[np.unique(np.linspace(0, len(on) - 1, MOST_ON_FRONT).round().astype(int))]
    cell = {name: _cells(off[name]) for name in ("tpot_s", y)}
    return (
        on,
        off.assign(**{f"cell {name}": values for name, values in cell.items()}).drop_duplicates(
            [f"cell {name}" for name in cell]
        ),
        len(off),
    )


def devices(designs: pd.DataFrame, order: Sequence[str], reference: str | None) -> pd.DataFrame:
    """The best design that can be run on each device, and there the one that is best on the ``reference``.

    Columns of ``designs``, and vanilla_s (seconds per token), carried (speedup of the reference's best, NaN without one). Devices without any speed are left out.
    """
    runnable = fitting(
        designs[(designs["policy"] != Policy.ORACLE) & designs["verify"].astype(bool)]
    )
    best = best_of(runnable, "device").set_index("device", drop=False)
    labels = best.loc[best["device"] == reference, "design"].tolist()
    if labels:
        elsewhere = (
            runnable[runnable["design"] == labels[0]]
            .drop_duplicates("device")
            .set_index("device")["speedup"]
        )
    else:
        elsewhere = pd.Series(dtype=float)
    rows = best.reindex([name for name in order if name in best.index])
    return rows.assign(
        vanilla_s=rows["tpot_s"] * rows["speedup"], carried=elsewhere.reindex(rows.index)
    ).reset_index(drop=True)


def ceiling(designs: pd.DataFrame) -> pd.Series[float]:
    """The oracle's best speedup by device; empty where it was not looked at."""
    oracle = designs[designs["policy"] == Policy.ORACLE]
    return oracle.groupby("device")["speedup"].max()


def top(designs: pd.DataFrame, count: int) -> pd.DataFrame:
    """The ``count`` best runnable placements of each device, each with its best design."""
    runnable = fitting(
        designs[(designs["policy"] != Policy.ORACLE) & (designs["policy"] != Policy.VANILLA)]
    )
    best = best_of(runnable, ["device", "policy", "place"]).sort_values(
        "speedup", ascending=False, kind="stable"
    )
    return best.groupby("device", sort=False).head(count)


def _cells(values: pd.Series[float]) -> pd.Series[int]:
    low, high = values.min(), values.max()
    width = (high - low) / CELLS
    return ((values - low) / width).astype(int) if width > 0 else pd.Series(0, index=values.index)
