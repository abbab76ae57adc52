"""``--version``, the same for every command."""

from __future__ import annotations

import typer
from typer.models import OptionInfo

import adadecode


def version_option(program: str) -> OptionInfo:
    """Return the option that prints ``<program> <version>`` and ends the program.

    Args:
        program: The name of the program, like adadecode-sim.
    """

    def print_version(wanted: bool) -> None:  # noqa: FBT001  typer calls it with the flag
        if wanted:
            print(f"{program} {adadecode.__version__}")
            raise typer.Exit

    option: OptionInfo = typer.Option(
        "--version", help="Print the version and exit.", callback=print_version, is_eager=True
    )
    return option
