"""``adadecode-sim``: what-ifs from a recorded profile. No model, no GPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.acceptance import acceptance
from adadecode.sim.cli.account import account
from adadecode.sim.cli.limits import limits
from adadecode.sim.cli.memory import memory
from adadecode.sim.cli.predict import predict
from adadecode.sim.cli.report import report
from adadecode.sim.cli.sweep import sweep
from adadecode.sim.cli.synthesize import synthesize
from adadecode.sim.cli.timeline import timeline_command
from adadecode.sim.cli.transfer import imports, transfer
from adadecode.sim.cli.validate import validate_command

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)
app.add_typer(imports, name="import")
app.command()(transfer)
app.command()(report)
app.command()(memory)
app.command()(account)
app.command()(predict)
app.command()(limits)
app.command()(synthesize)
app.command()(acceptance)
app.command()(sweep)
app.command("validate")(validate_command)
app.command("timeline")(timeline_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. What the user gave and cannot be used: a message on stderr and exit code 2."""
    try:
        app(None if arguments is None else list(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
