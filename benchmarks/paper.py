"""Predict the paper's figure 5 and tables 2 and 3 from what is published, and say what that leaves.

The stack is the paper's (`benchmarks.paper_stack`). No figure is among its own inputs:

- Figure 5: heads are fitted to its rates alone, never to a speedup. The head's cost, where it is
  fitted, follows from the one speedup at gamma 1, which is then no prediction.
- Tables 2 and 3: heads are fitted to figure 5, speedups included.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.latency import LatencyTable
from adadecode.sim.core.design import Design
from adadecode.sim.synthetic.free_parameters import FREE
from adadecode.sim.synthetic.head_model import HeadModel
from adadecode.sim.synthetic.rate_fitting import RateFit, Target, evaluated, fit_rates
from adadecode.sim.synthetic.required_agreement import needed_agreement
from adadecode.sim.synthetic.trace_generator import alike, synthetic_trace
from benchmarks.harness import write_result
from benchmarks.paper_stack import (
    HUMAN_EVAL,
    LLAMA,
    N_PROMPT,
    OPERATORS,
    Stack,
    figure_5_stack,
    kernel_times,
)
from benchmarks.paper_tables import make_tables
from benchmarks.published import (
    ADADECODE,
    FIGURE_5,
    FIGURE_5_RATES,
    GAMMA,
    ONE_HEAD,
    OUTPUTS,
    PLACEMENT,
    UNVERIFIED,
    VANILLA,
)

PROMPTS = alike(40, n_prompt=N_PROMPT, n_output=OUTPUTS)
"""20,480 outputs: rates are known to 0.005."""

NEVER = 1 - 1e-10
"""A gamma that no confidence exceeds, though every head is checked, as the paper's gamma 1 does.

Here gamma 1 checks no head (decision 0003).
"""

SEED = 1
"""Not the seed of the fit, so that the two share no random numbers."""

FREE_BY_HEAD = {"agreement": 3, "confidence": 3, "concentration": 3}

FITS: Mapping[str, Mapping[str, Any]] = {
    "one concentration": {},
    "concentration by depth": {"free": {**FREE, "concentration": 2}},
    "the same, begun at calibrated heads": {
        "free": {**FREE, "concentration": 2},
        "start": {"confidence": (0.7, 0.95), "concentration": (1.0, 3.0)},
    },
    "each head by itself": {"free": FREE_BY_HEAD},
    "no correlation along the text": {"fixed": {"along_text": 0.0}},
    "twice the demo model's": {"fixed": {"along_text": 0.3}},
    "heads agree less alike": {"fixed": {"agreement_across": 0.6}},
    "confidence blind to ease": {"fixed": {"ease": 0.2}},
}
"""Models that are fitted to the rates, as options of `fit_rates`.

The first was chosen before any speedup was looked at, the others after, to see what rates leave
open.
"""

PULL = 0.05
"""Weight of a speedup relative to a rate where it is pulled as far up or down as the rates allow.

The rates stay within 0.02.
"""

JOINT = 0.5
"""Weight of a speedup relative to a rate where both are fitted.

2 % of a speedup are then as bad as 1 % of a rate, about as well as each can be read.
"""


def speedups(model: HeadModel, table: LatencyTable, designs: Sequence[Design]) -> pd.DataFrame:
    """Return the rows of `evaluated` for these designs, on heads drawn anew."""
    trace = synthetic_trace({PROMPTS[0].domain: model}, PROMPTS, seed=SEED)
    return evaluated(trace, table, designs)


def fit_heads(data: Path) -> dict[str, RateFit]:
    """Fit heads to figure 5.

    Args:
        data: Vidur's operator times of an A100.

    Returns:
        By name: the `FITS` to the rates; "pulled up" and "pulled down", as fast and as slow as the
        rates allow; and "joint", fitted to the speedups too.
    """
    table = figure_5_stack(data).table
    jobs: dict[str, tuple[Sequence[Target], Mapping[str, Any]]] = {
        name: (FIGURE_5_RATES, options) for name, options in FITS.items()
    }
    for name, factor, weight in (
        ("pulled up", 1.5, PULL),
        ("pulled down", 0.6, PULL),
        ("joint", 1.0, JOINT),
    ):
        targets = [
            target._replace(speedup=factor * FIGURE_5[target.gamma]) for target in FIGURE_5_RATES
        ]
        options = {"free": FREE_BY_HEAD, "latency": table, "speedup_weight": weight}
        jobs[name] = (targets, options)
    n_layers = find_model(LLAMA).n_layers
    return {
        name: fit_rates(targets, n_layers=n_layers, depths=PLACEMENT, **options)
        for name, (targets, options) in track(
            jobs.items(), "fitting heads to figure 5", transient=True
        )
    }


def predict_figure_5(fits: Mapping[str, RateFit], data: Path) -> dict[str, Any]:
    """Predict the speedup by gamma, with heads fitted to the rates.

    They are predicted in the paper's stack and, at the same rates, on the kernels alone.

    Args:
        fits: What `fit_heads` returned.
        data: Vidur's operator times of an A100.
    """
    stack = figure_5_stack(data)
    by_bytes = Stack.of(LLAMA, VANILLA[LLAMA][HUMAN_EVAL], data)
    designs = [Design.of(gamma=min(gamma, NEVER), placement=PLACEMENT) for gamma in FIGURE_5]
    curves = {
        name: speedups(fit.model, stack.table, designs)["speedup"].tolist()
        for name, fit in fits.items()
    }
    first = next(iter(fits))
    nothing_fitted = speedups(fits[first].model, by_bytes.table, designs)["speedup"].tolist()
    kernels_alone = speedups(fits["joint"].model, stack.kernels, designs)["speedup"].tolist()
    rows = []
    for index, (gamma, published) in enumerate(FIGURE_5.items()):
        by_rates = [curve[index] for name, curve in curves.items() if name != "joint"]
        row = {
            "gamma": gamma,
            "published": published,
            "predicted": curves[first][index],
            "nothing_fitted": nothing_fitted[index],
            "lowest": min(by_rates),
            "highest": max(by_rates),
            "joint": curves["joint"][index],
            "kernels_alone": kernels_alone[index],
        }
        row["error"] = row["predicted"] / published - 1
        row["error_nothing_fitted"] = row["nothing_fitted"] / published - 1
        row["error_joint"] = row["joint"] / published - 1
        rows.append(row)
    return {
        "rows": rows,
        "layer_s": stack.layer,
        "in_layers": {
            "head_by_bytes": by_bytes.head / stack.layer,
            "head_fitted": stack.head / stack.layer,
            "verify": stack.verify / stack.layer,
        },
        **_figure_5_errors(rows, curves),
    }


def _figure_5_errors(
    rows: Sequence[Mapping[str, Any]], curves: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """Return the mean errors of figure 5, and how many points the rates include.

    The point at gamma 1 is no prediction where the head's cost is fitted to it.
    """
    predicted = [row for row in rows if row["gamma"] < 1]
    return {
        "mean_error": _mean(abs(row["error"]) for row in predicted),
        "mean_error_nothing_fitted": _mean(abs(row["error_nothing_fitted"]) for row in rows),
        "inside": sum(row["lowest"] <= row["published"] <= row["highest"] for row in predicted),
        "curves": dict(curves),
        "mean_errors": {
            name: _mean(
                abs(curve[index] / row["published"] - 1) for index, row in enumerate(predicted)
            )
            for name, curve in curves.items()
        },
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def predict_vanilla(data: Path) -> list[dict[str, Any]]:
    """Predict vanilla's tokens/s in nine cells of table 2 from one of them.

    A layer's host time is that of Llama-3.1-8B on HumanEval, and a layer never takes less than its
    kernels.
    """
    host = Stack.of(LLAMA, VANILLA[LLAMA][HUMAN_EVAL], data).layer
    rows = []
    for name, tasks in VANILLA.items():
        n_layers, kernels = find_model(name).n_layers, kernel_times(name, data)
        kernel = kernels.layers(0, 1, 1, N_PROMPT + OUTPUTS // 2, n_layers)
        for task, published in tasks.items():
            predicted = 1 / (n_layers * max(host, kernel) + kernels.verify(1))
            row = {
                "model": name,
                "task": task,
                "published": published,
                "predicted": predicted,
                "error": predicted / published - 1,
                "kernels_alone": 1 / (n_layers * kernel + kernels.verify(1)),
                "kernel_s": kernel,
                "given": (name, task) == (LLAMA, HUMAN_EVAL),
            }
            rows.append(row)
    return rows


def predict_table_2(fits: Mapping[str, RateFit], data: Path) -> list[dict[str, Any]]:
    """Predict the nine speedups of table 2.

    All heads are taken to be as right and as sure as those of Llama-3.1-8B on HumanEval. How right
    they would have to be instead is given too.
    """
    return [
        _predict_cell(name, task, fits, data)
        for name, tasks in ADADECODE.items()
        for task in track(tasks, f"table 2, {name}", transient=True)
    ]


def _predict_cell(name: str, task: str, fits: Mapping[str, RateFit], data: Path) -> dict[str, Any]:
    """Predict one speedup of table 2."""
    published = ADADECODE[name][task]
    stack = Stack.of(name, VANILLA[name][task], data)
    if name == LLAMA:
        stack = replace(stack, head=figure_5_stack(data).head)
    joint, by_rates = (
        replace(fit.model, n_layers=stack.shape.n_layers, depths=stack.depths)
        for fit in (fits["joint"], next(iter(fits.values())))
    )
    designs = [Design.of(gamma=GAMMA, placement=stack.depths)]
    predicted, from_rates = (
        speedups(heads, stack.table, designs).to_dict("records")[0] for heads in (joint, by_rates)
    )
    needed = needed_agreement(joint, stack.table, designs, published, PROMPTS[:20], seed=SEED)
    row: dict[str, Any] = {
        "model": name,
        "task": task,
        "published": published,
        "predicted": predicted["speedup"],
        "error": predicted["speedup"] / published - 1,
        "early": predicted["early_rate"],
        "rejected": predicted["reject_rate"],
        "from_rates_alone": from_rates["speedup"],
        "head_in_layers": stack.head / stack.layer,
        "layer_s": stack.layer,
        "achievable": [needed.lowest, needed.highest],
        "needed": None,
    }
    if needed.model is not None and needed.row is not None:
        row["needed"] = {
            "agreement": list(needed.model.agreement),
            "early": needed.row["early_rate"],
            "rejected": needed.row["reject_rate"],
        }
    return row


def predict_table_3(model: HeadModel, data: Path) -> list[dict[str, Any]]:
    """Predict Llama-3.1-8B on HumanEval without verification, and with one head alone."""
    designs = [
        Design.of(gamma=GAMMA, placement=PLACEMENT),
        Design.of(gamma=GAMMA, placement=PLACEMENT, verify=False),
        *(Design.of(gamma=GAMMA, placement=(depth,)) for depth in PLACEMENT),
    ]
    rows = speedups(model, figure_5_stack(data).table, designs)
    verified, unverified, *single = rows["speedup"].tolist()
    published_ratio = UNVERIFIED / ADADECODE[LLAMA][HUMAN_EVAL]
    cells = [
        ("without verification / with it", published_ratio, unverified / verified),
        *(
            (f"one head, at {depth}", ONE_HEAD, predicted)
            for depth, predicted in zip(PLACEMENT, single, strict=True)
        ),
    ]
    return [
        {
            "what": name,
            "published": published,
            "predicted": predicted,
            "error": predicted / published - 1,
        }
        for name, published, predicted in cells
    ]


def main(arguments: list[str] | None = None) -> None:
    """Fit, predict, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/vidur/a100"),
        help="Vidur's operator times of an A100, by model",
    )
    data: Path = parser.parse_args(arguments).data
    missing = [name for name, path in OPERATORS.items() if not (data / path).is_file()]
    fits = fit_heads(data)
    results = {
        "fits": {
            name: {
                "told": str(fit),
                "rows": fit.rows.to_dict("records"),
                "model": fit.model.to_dict(),
                "within": fit.largest,
            }
            for name, fit in fits.items()
        },
        "figure_5": predict_figure_5(fits, data),
        "vanilla": predict_vanilla(data),
        "table_2": predict_table_2(fits, data),
        "table_3": predict_table_3(fits["joint"].model, data),
        "operator_times_missing": missing,
    }
    write_result("paper", results)
    console = Console()
    console.print(*make_tables(results, fits))
    if missing:
        console.print(
            f"no published operator times of {', '.join(missing)} in {data}: "
            "kernels by bytes and FLOPs instead"
        )


if __name__ == "__main__":
    main()
