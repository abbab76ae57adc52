"""The latencies of a layer on another device, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from rich.console import Group

from adadecode.sim.cli.tables.layout import table, titled


def transfer_table(result: Mapping[str, Any], rate_notes: Iterable[str] = ()) -> Group:
    """Return a row for each batch; what was measured there stands in it where it is known.

    Args:
        result: The document that ``adadecode-sim transfer --json`` prints.
        rate_notes: Why the figures of the target may surprise
            (`adadecode.sim.hardware.precision.rate_notes`).
    """
    compared = result["median_error"] is not None
    columns = ["tokens", "measured here, us", "predicted, us", "interval, us"]
    body = table(*columns, *(["measured there, us", "error"] if compared else []))
    body.columns[0].justify = "right"
    for row in result["rows"]:
        cells = [f"{row[key] * 1e6:.1f}" for key in ("source_s", "predicted_s")]
        cells.append(f"{row['low_s'] * 1e6:.1f} .. {row['high_s'] * 1e6:.1f}")
        if compared:
            missed = "" if row["covered"] else " !"
            cells += [f"{row['measured_s'] * 1e6:.1f}", f"{row['error']:+.1%}{missed}"]
        body.add_row(f"{row['n_tokens']}{'*' if row['launch_bound'] else ''}", *cells)
    return titled(
        f"one decoder layer as it was measured, {result['from']} to {result['to']}"
        + _errors(result),
        body,
        [*_captions(result, compared=compared), *rate_notes],
    )


def _errors(result: Mapping[str, Any]) -> str:
    if result["median_error"] is None:
        return ""
    return (
        f": median error {result['median_error']:.1%}, 90th percentile "
        f"{result['p90_error']:.1%}, {result['coverage']:.0%} covered"
    )


def _captions(result: Mapping[str, Any], *, compared: bool) -> Iterable[str]:
    yield "interval: from how far the known ratios of the two devices lie apart"
    if compared and not all(row["covered"] for row in result["rows"]):
        yield "!: measured outside the interval"
    if result["launch_bound"]:
        yield (
            f"*: launch-bound; {result['from']} needs far less, so it was waiting for its host, "
            f"and {result['to']} will wait as long"
        )
    if result["not_measured"]:
        yield f"not measured: {_runs(result['not_measured'])} tokens"


def _runs(numbers: Iterable[int]) -> str:
    """Return rising numbers in short, as ``3, 5..7``."""
    parts = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}..{part[-1]}" for part in parts)
