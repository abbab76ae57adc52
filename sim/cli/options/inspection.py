"""Options of the commands that look at one recording: validate, report, timeline and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.options.checks import TextCheck, at_least
from adadecode.sim.core.parsing import percentage


def _change(option: str, text: str) -> float:
    """Return a percentage between 0 % and 100 % as a share. Raises InputError."""
    share = percentage(option, text)
    if not 0 < share < 1:
        raise InputError(f"wanted {option} between 0% and 100%, both left out, got {text!r}")
    return share


FailOver = Annotated[
    float | None,
    typer.Option(
        "--fail-over",
        metavar="PERCENT",
        help="Exit with code 1 where a structure differs, a run that the manifest promises is "
        "missing, it promises none, or the median error of the predicted time exceeds this "
        "percentage, like 5%; or the median error of a load or the largest of its replay does.",
        show_default=False,
    ),
    TextCheck(percentage),
]

SweepOrProfile = Annotated[
    Path,
    typer.Argument(
        metavar="SWEEP_OR_PROFILE",
        help="A directory that adadecode-sim sweep, plan, serve or observe, or adadecode-profile "
        "wrote.",
        show_default=False,
    ),
]

ProfileOfSweep = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="PROFILE",
        help="Where the profile of the sweep is now, if it was moved.",
        show_default=False,
    ),
]

KeepDomains = Annotated[
    bool,
    typer.Option("--keep-domains", help="Keep the names of the domains; else they are numbered."),
]

NoTry = Annotated[
    bool,
    typer.Option("--no-try", help="Do not try what still works with the copy."),
]

PromptOption = Annotated[
    int | None,
    typer.Option(
        "--prompt",
        help="Number of the prompt, from 0 on. By default the first.",
        show_default=False,
    ),
    at_least(0),
]

MeasuredOption = Annotated[
    bool,
    typer.Option("--measured", help="Add the instrumented run of this design on this prompt."),
]

Rounds = Annotated[
    int,
    typer.Option("--rounds", help="Rounds to draw."),
    at_least(1),
]

Change = Annotated[
    float,
    typer.Option(
        "--change",
        metavar="PERCENT",
        help="How much each assumption is changed, up and down, like 10%.",
    ),
    TextCheck(_change, shown="10%"),
]

Template = Annotated[
    bool,
    typer.Option(
        "--template", help="Print a TOML file that describes a device, to copy and fill in."
    ),
]
