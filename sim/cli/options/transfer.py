"""Options about latencies of other hardware: carry them to a device, or import recorded ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.errors import LatencyError
from adadecode.sim.cli.options.catalogue import DEVICE_NAMES, MODEL_NAMES, device, model
from adadecode.sim.cli.options.checks import Check, TextCheck
from adadecode.sim.cli.options.scenario import weight_format
from adadecode.sim.hardware.memory import WEIGHT_BYTES


def token_range(option: str, typed: str) -> range:
    """Return the numbers of ``FIRST..LAST``, both included. Raises LatencyError."""
    first, dots, last = typed.partition("..")
    try:
        ends = int(first), int(last if dots else first)
    except ValueError:
        raise LatencyError(f"wanted {option} as FIRST..LAST, like 1..64, got {typed!r}") from None
    if not 1 <= ends[0] <= ends[1]:
        raise LatencyError(f"wanted {option} as FIRST..LAST, from 1 on and rising, got {typed!r}")
    return range(ends[0], ends[1] + 1)


LatencyProfile = Annotated[
    Path,
    typer.Argument(
        metavar="PROFILE",
        help="A directory that adadecode-profile or `adadecode-sim import` wrote.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """Where a layer's latencies are carried from and to."""

    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="DEVICE",
            help=f"The device to carry latencies to: {DEVICE_NAMES}.",
            show_default=False,
        ),
        Check(device),
    ]
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DEVICE",
            help="The device that PROFILE was measured on, where the profile does not name one "
            "of the catalogue.",
            show_default=False,
        ),
        Check(device),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help=f"The model of PROFILE, where it does not hold its config: {MODEL_NAMES}.",
            show_default=False,
        ),
        Check(model),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="DTYPE",
            help=f"Number format of the weights there: {', '.join(WEIGHT_BYTES)}. By default as "
            "recorded.",
            show_default=False,
        ),
        Check(weight_format),
    ] = None
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="PROFILE",
            help="A profile that was measured on that device, to compare the prediction with.",
            show_default=False,
        ),
    ] = None
    tokens: Annotated[
        range,
        typer.Option(
            "--tokens",
            metavar="FIRST..LAST",
            help="Tokens at once to give times for.",
        ),
        TextCheck(token_range, shown="1..64"),
    ] = range(1, 65)


VidurCsv = Annotated[
    Path,
    typer.Argument(
        metavar="CSV", help="Vidur's mlp.csv of one model on one GPU.", show_default=False
    ),
]

RecordedModel = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help=f"The model that was timed: {MODEL_NAMES}.",
        show_default=False,
    ),
    Check(model),
]

RecordedDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help=f"The GPU that it was timed on: {DEVICE_NAMES}.",
        show_default=False,
    ),
    Check(device),
]
