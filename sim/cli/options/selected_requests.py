"""Options that take a part of a file of requests."""

from __future__ import annotations

from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import at_least, number

FirstRequests = Annotated[
    int | None,
    typer.Option(
        "--first",
        metavar="N",
        help="Take only so many requests of the file.",
        show_default=False,
        rich_help_panel=panels.LOAD,
    ),
    at_least(1),
]

RateScale = Annotated[
    float,
    typer.Option(
        "--rate-scale",
        metavar="TIMES",
        help="Let the requests of the file arrive so many times as fast.",
        rich_help_panel=panels.LOAD,
    ),
    number(low=1e-6, high=1e6),
]
