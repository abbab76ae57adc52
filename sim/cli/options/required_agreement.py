"""Options of the question what agreement a speedup needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import TextCheck, number
from adadecode.sim.cli.options.design import thresholds
from adadecode.sim.synthetic.head_model import SyntheticError

Speedup = Annotated[
    float,
    typer.Option("--speedup", help="The speedup over vanilla to reach.", show_default=False),
    number(above=0),
]

Gammas = Annotated[
    tuple[float, ...],
    typer.Option(
        "--gammas",
        metavar="GAMMAS",
        help="Confidence that a draft must exceed, the same for all heads. With several, the "
        "best one is taken.",
        rich_help_panel=panels.DESIGN,
    ),
    TextCheck(thresholds),
]


@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """What work costs: the latencies of a profile, or a few numbers in layers."""

    latency: Annotated[
        Path | None,
        typer.Option(
            "--latency",
            metavar="PROFILE",
            help="Use the latencies of this profile. By default those of --like.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
    ] = None
    head_cost: Annotated[
        float | None,
        typer.Option(
            "--head-cost",
            help="In place of latencies: the time of a head check, in layers that all take the "
            "same.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
        number(low=0),
    ] = None
    verify_cost: Annotated[
        float | None,
        typer.Option(
            "--verify-cost",
            help="With --head-cost: the time of a verification, in layers. By default that of a "
            "head check.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
        number(low=0),
    ] = None

    def __post_init__(self) -> None:
        costs = self.head_cost is not None or self.verify_cost is not None
        if self.latency is not None and costs:
            raise SyntheticError(
                "--head-cost and --verify-cost stand for latencies: give them, or --latency"
            )
        if self.verify_cost is not None and self.head_cost is None:
            raise SyntheticError(
                "wanted what a head costs: --head-cost 0.7 (in layers), or --latency PROFILE"
            )
