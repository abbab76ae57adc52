"""The tables of `benchmarks.paper`, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.table import Table

from adadecode.sim.synthetic.rate_fitting import RateFit
from benchmarks import harness
from benchmarks.published import FIGURE_5, GAMMA

make_table = partial(
    harness.make_table,
    words=("model", "task", "rate", "what", "heads", "would need: agreement"),
)

Rows = Sequence[Mapping[str, Any]]


def make_tables(results: Mapping[str, Any], fits: Mapping[str, RateFit]) -> list[Table]:
    """Return all tables.

    Args:
        results: What the benchmark keeps.
        fits: The heads by name, the first fitted to the rates alone.
    """
    return [
        rate_table(next(iter(fits.values()))),
        speedup_table(results["figure_5"]),
        fit_table(results["figure_5"], fits),
        vanilla_table(results["vanilla"]),
        table_2(results["table_2"]),
        table_3(results["table_3"]),
    ]


def rate_table(fit: RateFit) -> Table:
    """Return the rates of figure 5, published and of fitted heads."""
    table = make_table(
        f"rates of figure 5: {fit}", "gamma", "rate", "published", "fitted heads", "residual"
    )
    for row in fit.rows.to_dict("records"):
        table.add_row(
            f"{row['gamma']:g}",
            row["what"],
            f"{row['asked']:.1%}",
            f"{row['got']:.1%}",
            f"{row['residual']:+.1%}",
        )
    return table


def speedup_table(figure_5: Mapping[str, Any]) -> Table:
    """Return the speedups of figure 5, published and predicted."""
    heads = figure_5["in_layers"]
    table = make_table(
        f"figure 5, speedups. A layer {figure_5['layer_s'] * 1e3:.2f} ms (vanilla's tokens/s); "
        f"a head {heads['head_fitted']:.2f} layers (speedup at gamma 1) or "
        f"{heads['head_by_bytes']:.2f} (bytes). Mean error {figure_5['mean_error']:.1%} of five "
        f"from the rates and the head's cost; {figure_5['mean_error_nothing_fitted']:.1%} of six "
        f"from the rates alone; {figure_5['inside']} of 5 within what the rates leave open",
        "gamma",
        "published",
        "predicted",
        "error",
        "head by bytes",
        "error",
        "rates leave open",
        "fitted to both",
        "error",
        "kernels alone",
    )
    for row in figure_5["rows"]:
        table.add_row(
            f"{row['gamma']:g}",
            f"{row['published']:.2f}",
            f"{row['predicted']:.2f}",
            f"{row['error']:+.1%}" if row["gamma"] < 1 else "given",
            f"{row['nothing_fitted']:.2f}",
            f"{row['error_nothing_fitted']:+.1%}",
            f"{row['lowest']:.2f} .. {row['highest']:.2f}",
            f"{row['joint']:.2f}",
            f"{row['error_joint']:+.1%}",
            f"{row['kernels_alone']:.2f}",
        )
    return table


def fit_table(figure_5: Mapping[str, Any], fits: Mapping[str, RateFit]) -> Table:
    """Return the speedups of figure 5 by how heads were fitted."""
    table = make_table(
        "the same by how heads were fitted",
        "heads",
        "numbers",
        "rates within",
        "mean error",
        *(f"gamma {gamma:g}" for gamma in FIGURE_5 if gamma < 1),
    )
    for name, fit in fits.items():
        table.add_row(
            name,
            str(fit.n_free),
            f"{fit.largest:.3f}",
            f"{figure_5['mean_errors'][name]:.1%}",
            *(f"{value:.2f}" for value in figure_5["curves"][name][:-1]),
        )
    return table


def vanilla_table(rows: Rows) -> Table:
    """Return vanilla's tokens/s of table 2."""
    table = make_table(
        "table 2, vanilla tokens/s, all from one cell",
        *("model", "task", "published", "predicted", "error", "kernels alone"),
    )
    for row in rows:
        table.add_row(
            row["model"],
            row["task"],
            f"{row['published']:.1f}",
            f"{row['predicted']:.1f}",
            "given" if row["given"] else f"{row['error']:+.1%}",
            f"{row['kernels_alone']:.1f}",
        )
    return table


def table_2(rows: Rows) -> Table:
    """Return the speedups of table 2."""
    table = make_table(
        f"table 2, speedups at gamma {GAMMA}. Predicted: heads as right and as sure as figure 5's "
        "(rates and speedups)",
        *("model", "task", "published", "predicted", "error", "rates alone", "head, layers"),
        *("would need: agreement", "early", "rejected"),
    )
    for row in rows:
        needed = row["needed"]
        if needed:
            agreement = " ".join(f"{share:.2f}" for share in needed["agreement"])
            cells = [agreement, f"{needed['early']:.0%}", f"{needed['rejected']:.0%}"]
        else:
            lowest, highest = row["achievable"]
            cells = [f"none: {lowest:.2f} .. {highest:.2f}", "", ""]
        table.add_row(
            row["model"],
            row["task"],
            f"{row['published']:.2f}",
            f"{row['predicted']:.2f}",
            f"{row['error']:+.1%}",
            f"{row['from_rates_alone']:.2f}",
            f"{row['head_in_layers']:.2f}",
            *cells,
        )
    return table


def table_3(rows: Rows) -> Table:
    """Return the ablations of table 3."""
    table = make_table(
        "table 3, from heads fitted to figure 5", "what", "published", "predicted", "error"
    )
    for row in rows:
        table.add_row(
            row["what"],
            f"{row['published']:.3f}",
            f"{row['predicted']:.3f}",
            f"{row['error']:+.1%}",
        )
    return table
