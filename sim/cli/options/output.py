"""Options about what a command prints and writes. Every path is checked before work begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.output_path import check_output_directory, check_output_file
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import TextCheck


def file(option: str, typed: str) -> Path:
    """Return the path of a file that can be written. Raises InputError."""
    return check_output_file(typed, option)


def directory(option: str, typed: str) -> Path:
    """Return the path of a directory that can be written into. Raises InputError."""
    return check_output_directory(typed, option)


def new_directory(option: str, typed: str) -> Path:
    """Return the path of a directory that can be written into and holds no result yet.

    Raises:
        InputError: If it cannot be written into, or something is there already.
    """
    from adadecode.profiles.profile_folder import check_unused

    path = check_output_directory(typed, option)
    check_unused(path, option)
    return path


Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON and nothing else.", rich_help_panel=panels.OUTPUT),
]

SweepDirectory = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIRECTORY",
        help="Directory for the results. A sweep that was interrupted continues from it.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(directory),
]

NewProfile = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIRECTORY",
        help="Directory of the new profile: a new one, or an empty one.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(new_directory),
]

HtmlFile = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The page to write: one HTML file that holds everything.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(file),
]

MarkdownFile = Annotated[
    Path | None,
    typer.Option(
        "--markdown",
        metavar="FILE",
        help="Also write the text and the tables as Markdown.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(file),
]

CsvDirectory = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="DIRECTORY",
        help="Also write every table as CSV with plain numbers, into a directory that is made "
        "if it does not exist.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(directory),
]

ChromeTraceFile = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The Chrome trace to write (JSON); open it in ui.perfetto.dev.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(file),
]

SvgFile = Annotated[
    Path | None,
    typer.Option(
        "--svg",
        metavar="FILE",
        help="Also draw the first rounds as an SVG picture.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(file),
]

ScheduleHtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Also draw the first rounds as a page to zoom into (needs plotly).",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(file),
]
