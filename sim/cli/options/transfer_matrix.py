"""Options about layers carried between all devices of some kernel tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import LatencyError
from adadecode.sim.cli.options.catalogue import MODEL_NAMES
from adadecode.sim.cli.options.checks import TextCheck
from adadecode.sim.core.parsing import rising_integers


class Rule(StrEnum):
    """How seconds are carried to another device."""

    LAW = "law"
    EFFICIENCY = "efficiency"


def shapes(option: str, typed: str) -> tuple[ModelShape, ...]:
    """Return the models named, each once.

    Raises:
        LatencyError: If none is named.
        ShapeError: If one is unknown.
    """
    from adadecode.profiles.catalog.models import find_model

    names = [name.strip() for name in typed.split(",") if name.strip()]
    if not names:
        raise LatencyError(f"wanted {option} as names separated by commas, got {typed!r}")
    return tuple({shape.name: shape for shape in map(find_model, names)}.values())


def batches(option: str, typed: str) -> tuple[int, ...]:
    """Return numbers of tokens, rising, each once. Raises InputError."""
    return tuple(dict.fromkeys(rising_integers(option, typed)))


Tables = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Kernel tables as AIConfigurator lays them out: "
        "SYSTEM/gemm/ENGINE/VERSION/gemm_perf.parquet.",
        show_default=False,
    ),
]

Models = Annotated[
    tuple[ModelShape, ...],
    typer.Option(
        "--models",
        metavar="MODEL,...",
        help=f"Dense models, of which one layer is carried: each {MODEL_NAMES}.",
        show_default=False,
    ),
    TextCheck(shapes),
]

Batches = Annotated[
    tuple[int, ...],
    typer.Option("--n-tokens", metavar="N,...", help="Tokens at once."),
    TextCheck(batches),
]

CarriedBy = Annotated[
    Rule,
    typer.Option(
        "--rule",
        help="How: by the law, with nothing measured on the target, or as an efficiency, as "
        "`transfer` does.",
    ),
]

Engine = Annotated[
    str,
    typer.Option("--backend", metavar="ENGINE", help="The engine that was measured."),
]
