"""The designs of a sweep as tidy tables small enough to draw.

Each function states by which rule designs are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.report import formatting
from adadecode.sim.sweep.pareto import pareto_front

MOST_LINES = 7
"""Lines in one figure that colours can still tell apart (`adadecode.sim.report.theme.SERIES`)."""

CELLS = 40
"""Cells along each axis of a cloud of designs; dots of the same cell lie on each other."""

MOST_ON_FRONT = 300
"""Designs drawn on a front; more would be nearer to each other than a pixel or two."""

OBJECTIVES = {
    "tpot_s": ("time per token", "ms"),
    "speedup": ("speedup", "times"),
    "flops_per_token": ("FLOPs per token", "flops"),
    "memory_bytes": ("peak memory", "bytes"),
    "energy_j_per_token": ("energy per token", "joules"),
    "bytes_per_token": ("bytes moved per token", "bytes"),
}
"""Columns to compare with the time per token, each with a name and a format for people.

The formats are those of `adadecode.sim.report.document.FORMATS`.
"""


def with_places(designs: pd.DataFrame, *, rounded: bool = False) -> pd.DataFrame:
    """Add columns to group designs by.

    Args:
        designs: The designs.
        rounded: Write different thresholds as their mean, to a twentieth. For searches that choose
            any threshold.

    Returns:
        The designs with the columns heads (how many), shallow and deep (depths, 0 without heads),
        place (``3/7``) and gamma (NaN for a policy without one, and for thresholds that differ
        unless ``rounded``).
    """
    placements = [tuple(placement) for placement in designs["placement"].tolist()]
    gammas = [
        _single_gamma(thresholds, rounded=rounded)
        if policy == Policy.ADADECODE and len(thresholds)
        else float("nan")
        for policy, thresholds in zip(designs["policy"], designs["gammas"], strict=True)
    ]
    return designs.assign(
        heads=[len(placement) for placement in placements],
        shallow=[int(placement[0]) if placement else 0 for placement in placements],
        deep=[int(placement[-1]) if placement else 0 for placement in placements],
        place=["/".join(map(str, placement)) for placement in placements],
        gamma=gammas,
    )


def _single_gamma(thresholds: Sequence[float], *, rounded: bool) -> float:
    """Return the one threshold of a design; NaN if they differ, or their rounded mean."""
    mean = float(np.mean(thresholds))
    if rounded:
        return round(mean * 20) / 20
    return mean if len(set(thresholds)) == 1 else float("nan")


def best_of(designs: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """Return the fastest design of every group, in the order of the groups.

    Groups without any speed are left out.
    """
    timed = designs[designs["speedup"].notna()]
    return timed.loc[timed.groupby(by, sort=True)["speedup"].idxmax()]


def fitting(designs: pd.DataFrame) -> pd.DataFrame:
    """Return the designs that fit the memory of their device."""
    return designs[designs["fits"].astype(bool)]


def policies(designs: pd.DataFrame) -> list[str]:
    """Return the policies with heads among the designs, adadecode first."""
    present = set(designs["policy"]) - {str(Policy.VANILLA)}
    known = [name for name in map(str, Policy) if name in present]
    return known + sorted(present - set(known))


def varied_column(policy: str) -> str:
    """Return what is varied for a placement: gamma where it decides, the cap elsewhere."""
    return "gamma" if policy == Policy.ADADECODE else "cap"


def lines(designs: pd.DataFrame, policy: str, also: Iterable[str] = ()) -> pd.DataFrame:
    """Return the speed of a few placements along gamma or the cap, the other one at its best.

    Chosen are the best placement of each number of heads, then those of ``also``, then the next
    best: `MOST_LINES` in all. Designs with another gamma for each head are left out.

    Args:
        designs: Of one device and policy, with places.
        policy: That policy.
        also: Placements to include, like ``3/7``.

    Returns:
        The columns of ``designs`` and x, sorted by place and x.
    """
    axis = varied_column(policy)
    drawn = designs[designs[axis].notna()]
    if drawn.empty:
        return drawn.assign(x=drawn[axis])
    ranked = best_of(drawn, "place").sort_values("speedup", ascending=False, kind="stable")
    by_rank = ranked["place"].tolist()
    best_by_heads = ranked.drop_duplicates("heads")["place"].tolist()
    included = [place for place in also if place in set(by_rank)]
    chosen = list(dict.fromkeys([*best_by_heads, *included, *by_rank]))[:MOST_LINES]
    by_depth = sorted(chosen, key=lambda place: [int(depth) for depth in place.split("/")])
    points = best_of(drawn[drawn["place"].isin(chosen)], ["place", axis])
    points = points.assign(x=points[axis], rank=points["place"].map(by_depth.index))
    return points.sort_values(["rank", "x"]).drop(columns="rank")


def band(designs: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Return how all placements spread along gamma or the cap, the other one at its best.

    An x at which fewer than half of the placements were evaluated has no row.

    Returns:
        Columns: x, low and high (10th and 90th percentile), placements (how many).
    """
    axis = varied_column(policy)
    points = best_of(designs[designs[axis].notna()], ["place", axis])
    spread = points.groupby(axis, sort=True)["speedup"]
    table = pd.DataFrame(
        {"low": spread.quantile(0.1), "high": spread.quantile(0.9), "placements": spread.size()}
    )
    half = points["place"].nunique() / 2
    return table[table["placements"] >= half].rename_axis("x").reset_index()


def placement_cells(designs: pd.DataFrame, heads: Sequence[int]) -> pd.DataFrame:
    """Return the best design for every shallowest and deepest head.

    Args:
        designs: Of one device and policy, with places.
        heads: The numbers of heads to include.
    """
    return best_of(designs[designs["heads"].isin(heads)], ["shallow", "deep"])


def head_counts(designs: pd.DataFrame) -> dict[str, tuple[int, ...]]:
    """Return the maps of placements that can be drawn: their names, and their numbers of heads.

    One and two heads share a map, with one head on the diagonal; each larger number has its own.
    """
    counts = sorted(set(designs["heads"]) - {0})
    few = tuple(count for count in counts if count <= 2)
    maps: dict[str, tuple[int, ...]] = {}
    if few:
        maps["one or two heads" if len(few) > 1 else formatting.plural(few[0], "head")] = few
    for count in counts[len(few) :]:
        maps[formatting.plural(count, "head")] = (count,)
    return maps


def objectives(designs: pd.DataFrame) -> list[str]:
    """Return the columns other than time and speedup in which these designs differ."""
    return [
        name
        for name in OBJECTIVES
        if name not in {"tpot_s", "speedup"}
        and name in designs
        and designs[name].max() > designs[name].min()
    ]


def front(designs: pd.DataFrame, y: str) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Return the designs of one device to draw as time per token against another objective.

    A design is on a front if no other one beats it in these two (then its column ``both`` is true),
    or in all objectives of the sweep. At most `MOST_ON_FRONT` of these are kept, evenly by time; of
    the others one in each of `CELLS` x `CELLS` cells.

    Args:
        designs: Of one device.
        y: The column of the other objective.

    Returns:
        Those on a front, the others, and how many others there are before they are thinned.
    """
    known = designs[designs["tpot_s"].notna() & designs[y].notna()]
    known = known.assign(both=pareto_front(known[["tpot_s", y]].to_numpy(dtype=np.float64)))
    chosen = known["both"] | known["pareto"].astype(bool)
    on, off = known[chosen].sort_values("tpot_s", kind="stable"), known[~chosen]
    if len(on) > MOST_ON_FRONT:
        on = on.iloc[np.unique(np.linspace(0, len(on) - 1, MOST_ON_FRONT).round().astype(int))]
    cells = pd.DataFrame({name: _cell_of(off[name]) for name in ("tpot_s", y)})
    return on, off[~cells.duplicated()], len(off)


def devices(designs: pd.DataFrame, order: Sequence[str], reference: str | None) -> pd.DataFrame:
    """Return the best runnable design of each device.

    Devices without any speed are left out.

    Args:
        designs: The designs of all devices.
        order: The devices, in the order of the rows.
        reference: The device whose best design is looked up on the others.

    Returns:
        The columns of ``designs``, vanilla_s (seconds per token), and carried (the speedup that the
        reference's best design gives there, NaN without a reference).
    """
    runnable = fitting(
        designs[(designs["policy"] != Policy.ORACLE) & designs["verify"].astype(bool)]
    )
    best = best_of(runnable, "device").set_index("device", drop=False)
    labels = best.loc[best["device"] == reference, "design"].tolist()
    elsewhere = pd.Series(dtype=float)
    if labels:
        same = runnable[runnable["design"] == labels[0]].drop_duplicates("device")
        elsewhere = same.set_index("device")["speedup"]
    rows = best.reindex([name for name in order if name in best.index])
    return rows.assign(
        vanilla_s=rows["tpot_s"] * rows["speedup"], carried=elsewhere.reindex(rows.index)
    ).reset_index(drop=True)


def ceiling(designs: pd.DataFrame) -> pd.Series[float]:
    """Return the oracle's best speedup by device; empty if it was not evaluated."""
    oracle = designs[designs["policy"] == Policy.ORACLE]
    return oracle.groupby("device")["speedup"].max()


def top(designs: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the ``count`` best runnable placements of each device, each with its best design."""
    runnable = fitting(
        designs[(designs["policy"] != Policy.ORACLE) & (designs["policy"] != Policy.VANILLA)]
    )
    best = best_of(runnable, ["device", "policy", "place"]).sort_values(
        "speedup", ascending=False, kind="stable"
    )
    return best.groupby("device", sort=False).head(count)


def _cell_of(values: pd.Series[float]) -> pd.Series[int]:
    """Return in which of `CELLS` equal intervals each value lies."""
    low, high = values.min(), values.max()
    width = (high - low) / CELLS
    return ((values - low) / width).astype(int) if width > 0 else pd.Series(0, index=values.index)
