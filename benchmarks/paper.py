"""The paper's figure 5 and table 2, predicted: what follows from what is published, and what does not.

The stack is the paper's: Hugging Face, eager, FP16, one sequence on an A100. There a layer takes as long as its host takes to start it. No figure is among its
own inputs. Figure 5: heads are fitted to its rates alone, never to a speedup; the head's cost, where it is fitted, to the one speedup at gamma 1, which
is then no prediction. Tables 2 and 3: heads are fitted to figure 5, speedups included.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.schema import TABLES
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.importers.vidur import import_vidur
from adadecode.sim.synthetic.head_model import HeadModel
from adadecode.sim.synthetic.rate_fitting import FREE, RateFit, Target, evaluated, fit_rates
from adadecode.sim.synthetic.required_agreement import needed_agreement
from adadecode.sim.synthetic.trace_generator import alike, synthetic_trace
from benchmarks.harness import keep
from benchmarks.published import (  # fmt: skip
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

DEVICE = "a100-80gb-sxm"
"""The paper says A100; which one it does not say. CodeLlama-34B in FP16 (67 GB) fits one of 80 GB alone."""

OPERATORS = {
    "llama-3.1-8b": "meta-llama/Meta-Llama-3-8B/mlp.csv",
    "codellama-34b": "codellama/CodeLlama-34b-Instruct-hf/mlp.csv",
}
"""Published operator times on an A100 (Vidur), where there are some. Llama-3 and 3.1 are one shape."""

PROMPTS = alike(40, n_prompt=128, n_output=OUTPUTS)
"""20,480 outputs: rates are known to 0.005. What a prompt costs is not in a speedup per token."""

NEVER = 1 - 1e-10
"""A gamma that no confidence exceeds, though every head is asked: what the paper's gamma 1 does (here gamma 1 asks nobody, decision 0003)."""

SEED = 1
"""Not the fit's, so that no luck is shared with it."""

EACH = {"agreement": 3, "confidence": 3, "concentration": 3}

FITS: Mapping[str, Mapping[str, Any]] = {
    "one concentration": {},
    "concentration by depth": {"free": {**FREE, "concentration": 2}},
    "the same, begun at calibrated heads": {
        "free": {**FREE, "concentration": 2},
        "start": {"confidence": (0.7, 0.95), "concentration": (1.0, 3.0)},
    },
    "each head by itself": {"free": EACH},
    "no correlation along the text": {"fixed": {"along_text": 0.0}},
    "twice the demo model's": {"fixed": {"along_text": 0.3}},
    "heads agree less alike": {"fixed": {"agreement_across": 0.6}},
    "confidence blind to ease": {"fixed": {"ease": 0.2}},
}
"""Models that were fitted to the rates. The first was settled on before any speedup was looked at, the others after, to see what rates leave open."""

PULL = 0.05
"""How much a speedup weighs beside a rate where it is pulled as far up or down as the rates let it: the rates stay within 0.02."""

JOINT = 0.5
"""How much a speedup weighs beside a rate where both are fitted: 2 % of the one are as bad as 1 % of the other, about as well as each can be read."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A model in the paper's stack, in seconds: a layer for one token (its host's time, or its kernels'), one head check, one verification."""

    shape: ModelShape
    depths: tuple[int, ...]
    layer: float
    head: float
    verify: float
    kernels: LatencyTable

    @classmethod
    def of(cls, name: str, tokens_per_s: float, data: Path) -> Stack:
        """So that vanilla reaches this speed: what its verification's kernels leave of a token is layers. Heads by bytes, at the quarters of the stack."""
        shape = find_model(name)
        kernels = kernel_times(name, data)
        verify = kernels.verify(1)
        layer = (1 / tokens_per_s - verify) / shape.n_layers
        return cls(
            shape=shape,
            depths=quarters(shape),
            layer=layer,
            head=kernels.head(quarters(shape)[0], shape.n_layers),
            verify=verify,
            kernels=kernels,
        )

    @property
    def table(self) -> LatencyTable:
        """A layer on several tokens takes its time for one, or its kernels' if that is more: eager hosts start the same kernels for any batch."""
        n_layers, context = self.shape.n_layers, PROMPTS[0].n_prompt + OUTPUTS
        rows: list[tuple[Any, ...]] = []
        for n in range(1, DEFAULT_CAP + 2):
            for c in (n, context):
                seconds = max(self.layer, self.kernels.layers(0, 1, n, c, n_layers))
                rows += [("layer", k, n, c, n_layers, 0, seconds) for k in range(n_layers)]
            rows.append(("verify", -1, n, 0, 0, 0, max(self.verify, self.kernels.verify(n))))
            rows.append(("embed", -1, n, 0, 0, 0, self.kernels.embed(n)))
        rows += [("head", depth, 1, 0, n_layers, 0, self.head) for depth in self.depths]
        rows.append(
            ("prefill", -1, PROMPTS[0].n_prompt, 0, 0, 0, self.kernels.prefill(PROMPTS[0].n_prompt))
        )
        rows.append(
            ("host", -1, 1, 0, 0, 0, 1e-12)
        )  # a host's time is in the layers; a latency is above 0
        return LatencyTable.from_samples(
            pd.DataFrame(rows, columns=TABLES["latency"].names), n_layers
        )


def quarters(shape: ModelShape) -> tuple[int, ...]:
    """Depths at 1/4, 2/4 and 3/4 of the stack, where the paper has its heads in Llama-3.1-8B."""
    return tuple(shape.n_layers * k // 4 for k in (1, 2, 3))


@cache
def kernel_times(name: str, data: Path) -> LatencyTable:
    """What the kernels alone take on the A100: published operator times where they are, else bytes and FLOPs; heads and verification always by these."""
    shape, device = find_model(name), find_device(DEVICE)
    depths, longest = quarters(shape), PROMPTS[0].n_prompt + OUTPUTS
    path = data / OPERATORS.get(name, "none")
    if not path.is_file():
        return datasheet_latencies(
            shape,
            device,
            dtype="fp16",
            max_context=longest,
            max_tokens=DEFAULT_CAP + 1,
            depths=depths,
        ).middle
    with tempfile.TemporaryDirectory() as folder:
        profile = import_vidur(path, shape, device, Path(folder) / "profile")
        return carried_latencies(
            profile, device, max_context=longest, max_tokens=DEFAULT_CAP + 1, depths=depths
        ).middle


def speedups(model: HeadModel, table: LatencyTable, designs: Sequence[Design]) -> pd.DataFrame:
    """Rows of `evaluated` for these designs, on heads drawn anew."""
    return evaluated(
        synthetic_trace({PROMPTS[0].domain: model}, PROMPTS, seed=SEED), table, designs
    )


def paper_stack(data: Path) -> Stack:
    """Llama-3.1-8B on HumanEval, the head's cost from the speedup at gamma 1: three heads asked in vain for every token."""
    tokens_per_s = VANILLA["llama-3.1-8b"]["HumanEval"]
    return replace(
        Stack.of("llama-3.1-8b", tokens_per_s, data),
        head=(1 / FIGURE_5[1.0] - 1) / (len(PLACEMENT) * tokens_per_s),
    )


def fitted(data: Path) -> dict[str, RateFit]:
    """Heads fitted to the rates of figure 5 in several ways; to its speedups too as "joint"; and, as "pulled", as fast and as slow as the rates allow."""
    table = paper_stack(data).table
    pulled = {
        f"pulled {way}": [one._replace(speedup=by * FIGURE_5[one.gamma]) for one in FIGURE_5_RATES]
        for way, by in (("up", 1.5), ("down", 0.6))
    }
    joint = [one._replace(speedup=FIGURE_5[one.gamma]) for one in FIGURE_5_RATES]
    asked: dict[str, tuple[Sequence[Target], Mapping[str, Any]]] = {
        name: (FIGURE_5_RATES, how) for name, how in FITS.items()
    }
    asked |= {
        name: (targets, {"free": EACH, "latency": table, "speedup_weight": PULL})
        for name, targets in pulled.items()
    }
    asked["joint"] = (joint, {"free": EACH, "latency": table, "speedup_weight": JOINT})
    n_layers = find_model("llama-3.1-8b").n_layers
    return {
        name: fit_rates(targets, n_layers=n_layers, depths=PLACEMENT, **how)
        for name, (targets, how) in track(
            asked.items(), "fitting heads to figure 5", transient=True
        )
    }


def figure_5(fits: Mapping[str, RateFit], data: Path) -> dict[str, Any]:
    """Speedup by gamma: heads fitted to the rates, in the paper's stack and, at the same rates, on the kernels alone."""
    stack = paper_stack(data)
    by_bytes = Stack.of("llama-3.1-8b", VANILLA["llama-3.1-8b"]["HumanEval"], data)
    designs = [Design.of(gamma=min(gamma, NEVER), placement=PLACEMENT) for gamma in FIGURE_5]
    curves = {
        name: speedups(fit.model, stack.table, designs)["speedup"].tolist()
        for name, fit in fits.items()
    }
    first = next(iter(fits.values())).model
    nothing = speedups(first, by_bytes.table, designs)["speedup"].tolist()
    kernels = speedups(fits["joint"].model, stack.kernels, designs)["speedup"].tolist()
    open_to = [curve for name, curve in curves.items() if name != "joint"]
    rows = []
    for place, (gamma, published) in enumerate(FIGURE_5.items()):
        row = {
            "gamma": gamma,
            "published": published,
            "predicted": curves[next(iter(fits))][place],
            "nothing_fitted": nothing[place],
        }
        row |= {
            "lowest": min(curve[place] for curve in open_to),
            "highest": max(curve[place] for curve in open_to),
        }
        row |= {"joint": curves["joint"][place], "kernels_alone": kernels[place]}
        row |= {
            f"error{of}": row[key] / published - 1
            for of, key in (
                ("", "predicted"),
                ("_nothing_fitted", "nothing_fitted"),
                ("_joint", "joint"),
            )
        }
        rows.append(row)
    told = [row for row in rows if row["gamma"] < 1]
    return {
        "rows": rows,
        "layer_s": stack.layer,
        "in_layers": {
            "head_by_bytes": by_bytes.head / stack.layer,
            "head_fitted": stack.head / stack.layer,
            "verify": stack.verify / stack.layer,
        },
        "mean_error": float(np.mean([abs(row["error"]) for row in told])),
        "mean_error_nothing_fitted": float(
            np.mean([abs(row["error_nothing_fitted"]) for row in rows])
        ),
        "inside": sum(row["lowest"] <= row["published"] <= row["highest"] for row in told),
        "curves": curves,
        "mean_errors": {
            name: float(
                np.mean([abs(curve[k] / row["published"] - 1) for k, row in enumerate(told)])
            )
            for name, curve in curves.items()
        },
    }


def vanilla(data: Path) -> list[dict[str, Any]]:
    """Tokens/s of nine cells from one: a layer's host time is that of Llama-3.1-8B on HumanEval, and a layer never takes less than its kernels."""
    host = Stack.of("llama-3.1-8b", VANILLA["llama-3.1-8b"]["HumanEval"], data).layer
    rows = []
    for name, tasks in VANILLA.items():
        shape, kernels = find_model(name), kernel_times(name, data)
        kernel = kernels.layers(0, 1, 1, PROMPTS[0].n_prompt + OUTPUTS // 2, shape.n_layers)
        for task, published in tasks.items():
            speed = 1 / (shape.n_layers * max(host, kernel) + kernels.verify(1))
            floor = 1 / (shape.n_layers * kernel + kernels.verify(1))
            row = {
                "model": name,
                "task": task,
                "published": published,
                "predicted": speed,
                "error": speed / published - 1,
            }
            rows.append(
                {
                    **row,
                    "kernels_alone": floor,
                    "kernel_s": kernel,
                    "given": (name, task) == ("llama-3.1-8b", "HumanEval"),
                }
            )
    return rows


def table_2(fits: Mapping[str, RateFit], data: Path) -> list[dict[str, Any]]:
    """The nine speedups, were all heads as right and as sure as those of Llama-3.1-8B on HumanEval; and how right they would have to be instead."""
    rows = []
    for name, tasks in ADADECODE.items():
        for task in track(tasks, f"table 2, {name}", transient=True):
            stack = Stack.of(name, VANILLA[name][task], data)
            if name == "llama-3.1-8b":
                stack = replace(stack, head=paper_stack(data).head)
            joint, rates = (
                replace(fit.model, n_layers=stack.shape.n_layers, depths=stack.depths)
                for fit in (fits["joint"], next(iter(fits.values())))
            )
            designs = [Design.of(gamma=GAMMA, placement=stack.depths)]
            got, of_rates = (
                speedups(heads, stack.table, designs).to_dict("records")[0]
                for heads in (joint, rates)
            )
            needed = needed_agreement(
                joint, stack.table, designs, tasks[task], PROMPTS[:20], seed=SEED
            )
            row: dict[str, Any] = {
                "model": name,
                "task": task,
                "published": tasks[task],
                "predicted": got["speedup"],
            }
            row |= {
                "error": got["speedup"] / tasks[task] - 1,
                "early": got["early_rate"],
                "rejected": got["reject_rate"],
            }
            row |= {
                "from_rates_alone": of_rates["speedup"],
                "head_in_layers": stack.head / stack.layer,
                "layer_s": stack.layer,
            }
            row |= {"achievable": [needed.lowest, needed.highest], "needed": None}
            if needed.model is not None and needed.row is not None:
                told = {"early": needed.row["early_rate"], "rejected": needed.row["reject_rate"]}
                row["needed"] = {"agreement": list(needed.model.agreement), **told}
            rows.append(row)
    return rows


def table_3(model: HeadModel, data: Path) -> list[dict[str, Any]]:
    """What else is told of Llama-3.1-8B on HumanEval: verification left out, and one head alone."""
    designs = [
        Design.of(gamma=GAMMA, placement=PLACEMENT),
        Design.of(gamma=GAMMA, placement=PLACEMENT, verify=False),
    ]
    designs += [Design.of(gamma=GAMMA, placement=(depth,)) for depth in PLACEMENT]
    verified, unverified, *single = speedups(model, paper_stack(data).table, designs)[
        "speedup"
    ].tolist()
    told = [
        (
            "without verification / with it",
            UNVERIFIED / ADADECODE["llama-3.1-8b"]["HumanEval"],
            unverified / verified,
        ),
        *(
            (f"one head, at {depth}", ONE_HEAD, got)
            for depth, got in zip(PLACEMENT, single, strict=True)
        ),
    ]
    return [
        {"what": what, "published": published, "predicted": got, "error": got / published - 1}
        for what, published, got in told
    ]


def main(arguments: list[str] | None = None) -> None:
    """Fit, predict, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/vidur/a100"),
        help="Vidur's operator times of an A100, by model",
    )
    args = parser.parse_args(arguments)
    missing = [name for name, path in OPERATORS.items() if not (args.data / path).is_file()]
    fits = fitted(args.data)
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
        "figure_5": figure_5(fits, args.data),
        "vanilla": vanilla(args.data),
        "table_2": table_2(fits, args.data),
        "table_3": table_3(fits["joint"].model, args.data),
        "operator_times_missing": missing,
    }
    keep("paper", results)
    console = Console()
    console.print(*tables(results, fits))
    if missing:
        console.print(
            f"no published operator times of {', '.join(missing)} in {args.data}: kernels by bytes and FLOPs instead"
        )


def tables(results: Mapping[str, Any], fits: Mapping[str, RateFit]) -> list[Table]:
    """For people."""
    told = results["figure_5"]
    first = next(iter(fits.values()))
    rates = _table(
        f"rates of figure 5: {first}", "gamma", "rate", "published", "fitted heads", "residual"
    )
    for row in first.rows.to_dict("records"):
        rates.add_row(
            f"{row['gamma']:g}",
            row["what"],
            *(f"{row[key]:.1%}" for key in ("asked", "got")),
            f"{row['residual']:+.1%}",
        )
    heads = told["in_layers"]
    curve = _table(
        f"figure 5, speedups. A layer {told['layer_s'] * 1e3:.2f} ms (vanilla's tokens/s); a head {heads['head_fitted']:.2f} layers (speedup at gamma 1) or "
        f"{heads['head_by_bytes']:.2f} (bytes). Mean error {told['mean_error']:.1%} of five from the rates and the head's cost; "
        f"{told['mean_error_nothing_fitted']:.1%} of six from the rates alone; {told['inside']} of 5 within what the rates leave open",
        "gamma", "published", "predicted", "error", "head by bytes", "error", "rates leave open", "fitted to both", "error", "kernels alone",
    )  # fmt: skip
    for row in told["rows"]:
        error = f"{row['error']:+.1%}" if row["gamma"] < 1 else "given"
        ends = f"{row['lowest']:.2f} .. {row['highest']:.2f}"
        figures = [f"{row[key]:.2f}" for key in ("published", "predicted")]
        bare = [f"{row['nothing_fitted']:.2f}", f"{row['error_nothing_fitted']:+.1%}"]
        rest = [
            ends,
            f"{row['joint']:.2f}",
            f"{row['error_joint']:+.1%}",
            f"{row['kernels_alone']:.2f}",
        ]
        curve.add_row(f"{row['gamma']:g}", *figures, error, *bare, *rest)
    ways = _table(
        "the same by how heads were fitted",
        "heads",
        "numbers",
        "rates within",
        "mean error",
        *(f"gamma {g:g}" for g in FIGURE_5 if g < 1),
    )
    for name, fit in fits.items():
        errors = f"{told['mean_errors'][name]:.1%}"
        ways.add_row(
            name,
            str(fit.n_free),
            f"{fit.largest:.3f}",
            errors,
            *(f"{value:.2f}" for value in told["curves"][name][:-1]),
        )
    speed = _table(
        "table 2, vanilla tokens/s, all from one cell",
        "model",
        "task",
        "published",
        "predicted",
        "error",
        "kernels alone",
    )
    for row in results["vanilla"]:
        error = "given" if row["given"] else f"{row['error']:+.1%}"
        speed.add_row(
            row["model"],
            row["task"],
            *(f"{row[key]:.1f}" for key in ("published", "predicted")),
            error,
            f"{row['kernels_alone']:.1f}",
        )
    nine = _table(
        f"table 2, speedups at gamma {GAMMA}. Predicted: heads as right and as sure as figure 5's (rates and speedups)",
        "model", "task", "published", "predicted", "error", "rates alone", "head, layers", "would need: agreement", "early", "rejected",
    )  # fmt: skip
    for row in results["table_2"]:
        need = row["needed"]
        reach = f"none: {row['achievable'][0]:.2f} .. {row['achievable'][1]:.2f}"
        cells = (
            [
                " ".join(f"{share:.2f}" for share in need["agreement"]),
                f"{need['early']:.0%}",
                f"{need['rejected']:.0%}",
            ]
            if need
            else [reach, "", ""]
        )
        figures = [
            f"{row['published']:.2f}",
            f"{row['predicted']:.2f}",
            f"{row['error']:+.1%}",
            f"{row['from_rates_alone']:.2f}",
        ]
        nine.add_row(row["model"], row["task"], *figures, f"{row['head_in_layers']:.2f}", *cells)
    rest = _table(
        "table 3, from heads fitted to figure 5", "what", "published", "predicted", "error"
    )
    for row in results["table_3"]:
        rest.add_row(
            row["what"],
            f"{row['published']:.3f}",
            f"{row['predicted']:.3f}",
            f"{row['error']:+.1%}",
        )
    return [rates, curve, ways, speed, nine, rest]


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(
            name,
            justify="left"
            if name in {"model", "task", "rate", "what", "heads", "would need: agreement"}
            else "right",
        )
    return table


if __name__ == "__main__":
    main()
