"""Options that name a scenario: whose latencies, whose text, which device."""

from __future__ import annotations

from typing import Annotated

import typer

from adadecode.sim.hardware.memory import WEIGHT_BYTES
from adadecode.sim.prediction.scenario import DATASHEET

LatencyArgument = Annotated[
    str,
    typer.Argument(
        metavar="LATENCY",
        help=f"A directory that adadecode-profile wrote, or one of imported latencies; or {DATASHEET}, where nothing was measured.",
        show_default=False,
    ),
]
DomainsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--domain", help="Only prompts of this domain; may be repeated.", show_default=False
    ),
]
TraceOption = Annotated[
    str | None,
    typer.Option(
        "--trace",
        help="The profile whose text is replayed, where it is not LATENCY.",
        show_default=False,
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to", help="Another device: a name of the catalogue, or FILE.toml.", show_default=False
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="The device LATENCY was measured on, where it does not say.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=f"The model of LATENCY, where it does not say; with {DATASHEET}, the model to run.",
        show_default=False,
    ),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype", help=f"Weights in another format: {', '.join(WEIGHT_BYTES)}.", show_default=False
    ),
]
MapOption = Annotated[
    str | None,
    typer.Option(
        "--map",
        help="Where heads of the trace stand in the model of LATENCY, like 3:8,7:16.",
        show_default=False,
    ),
]
