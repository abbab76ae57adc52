"""What the engine's commands write: ``--out`` and ``--json``. Every path is checked before work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adadecode.sim.cli.options.checks import TextCheck
from adadecode.sim.cli.options.output import directory, file

ProfileDirectory = Annotated[
    Path,
    typer.Option(
        "--out", metavar="DIRECTORY", help="The directory of the profile.", show_default=False
    ),
    TextCheck(directory),
]

HeadsDirectory = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIRECTORY",
        help="The folder of the heads; a stopped run in it goes on.",
        show_default=False,
    ),
    TextCheck(directory),
]

FlipReportFile = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write the report as JSON here.", show_default=False
    ),
    TextCheck(file),
]

CatalogueEntryFile = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The file to write, like my-gpu.toml. No file is overwritten.",
        show_default=False,
    ),
    TextCheck(file),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
