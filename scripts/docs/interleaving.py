"""What the page on the order of a recording says, chosen by its figures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

ERRORS = {"time_error": "run time", "speedup_error": "speedup"}
"""The errors that the orders are compared by, and what each is an error of."""


def spread_of(recordings: Sequence[Mapping[str, Any]], name: str) -> dict[str, float] | None:
    """Return the median, lowest and highest value over recordings; None where none has a value."""
    values = [row[name] for row in recordings if row[name] is not None]
    if not values:
        return None
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "count": len(values),
    }


def compare_orders(result: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each error: which order has the smaller one, if this is shown.

    A difference of medians is shown where it is larger than the range of either order, from its
    lowest to its highest recording.

    Args:
        result: The content of ``benchmarks/results/interleaving.json``.
    """
    orders = result["orders"]
    return [
        sentence(
            quantity,
            spread_of(orders["coarse"]["recordings"], name),
            spread_of(orders["fine"]["recordings"], name),
        )
        for name, quantity in ERRORS.items()
    ]


def sentence(
    quantity: str, coarse: Mapping[str, float] | None, fine: Mapping[str, float] | None
) -> str:
    """Return the sentence about one error.

    Args:
        quantity: What it is an error of.
        coarse: Its spread in the coarse order, None where it was not measured.
        fine: Its spread in the fine order.
    """
    if coarse is None or fine is None:
        return f"**{quantity.capitalize()}**: not measured in both orders, so nothing is shown."
    if min(coarse["count"], fine["count"]) < 2:
        return (
            f"**{quantity.capitalize()}**: nothing is shown. With one recording in each order, the "
            "spread is unknown."
        )
    gain = coarse["median"] - fine["median"]
    spread = max(coarse["max"] - coarse["min"], fine["max"] - fine["min"])
    points, within = f"{abs(gain) * 100:.1f}", f"{spread * 100:.1f}"
    if abs(gain) <= spread:
        return (
            f"**{quantity.capitalize()}**: no gain shown. The medians differ by {points} "
            f"percentage points, within the spread of {within}."
        )
    return (
        f"**{quantity.capitalize()}**: the error of the fine order is "
        f"{'smaller' if gain > 0 else 'larger'} than that of the coarse one by {points} percentage "
        f"points, more than the spread of {within}."
    )
