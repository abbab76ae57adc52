"""``adadecode-sim``: predict early-exit decoding from a recorded profile. No model, no GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import typer

from adadecode.sim.cli.errors import exiting_on_error
from adadecode.sim.cli.lazy_group import CommandEntry, LazyGroup
from adadecode.sim.cli.version import version_option

PREDICT = "Predict and compare"
DESIGN = "Look into one design"
HARDWARE = "Models and devices"
OTHER = "Profiles from elsewhere"


class Commands(LazyGroup):
    """The commands of ``adadecode-sim``, in the order in which they are listed."""

    entries: ClassVar[Mapping[str, CommandEntry]] = {
        "predict": CommandEntry(
            module="adadecode.sim.cli.predict",
            function="predict",
            summary="Predict the speed and the speedup of one design.",
            panel=PREDICT,
        ),
        "sweep": CommandEntry(
            module="adadecode.sim.cli.sweep",
            function="sweep",
            summary="Predict a whole design space and find the best design on each device.",
            panel=PREDICT,
        ),
        "report": CommandEntry(
            module="adadecode.sim.cli.report",
            function="report",
            summary="Write a report on a sweep, a profile, a plan or a load, as one HTML page.",
            panel=PREDICT,
        ),
        "validate": CommandEntry(
            module="adadecode.sim.cli.validate",
            function="validate",
            summary="Compare the simulator with the runs that a profile measured.",
            panel=PREDICT,
        ),
        "serve": CommandEntry(
            module="adadecode.sim.cli.serve",
            function="serve",
            summary="Serve many users, as vLLM would, or with early exits.",
            panel=PREDICT,
        ),
        "plan": CommandEntry(
            module="adadecode.sim.cli.plan",
            function="plan",
            summary="Find how many servers a load needs, and which device is cheapest.",
            panel=PREDICT,
        ),
        "observe": CommandEntry(
            module="adadecode.sim.cli.observe",
            function="observe",
            summary="Send a load to a real server, and record what its requests wait.",
            panel=PREDICT,
        ),
        "limits": CommandEntry(
            module="adadecode.sim.cli.limits",
            function="limits",
            summary="Find where one design stops paying, and what the answer depends on.",
            panel=DESIGN,
        ),
        "account": CommandEntry(
            module="adadecode.sim.cli.account",
            function="account",
            summary="Count the FLOPs, bytes and joules of an output token, and the wasted part.",
            panel=DESIGN,
        ),
        "timeline": CommandEntry(
            module="adadecode.sim.cli.timeline",
            function="timeline",
            summary="Write the schedule of one prompt as a Chrome trace and as a picture.",
            panel=DESIGN,
        ),
        "memory": CommandEntry(
            module="adadecode.sim.cli.memory",
            function="memory",
            summary="Find whether a model with exit heads fits on a device.",
            panel=HARDWARE,
        ),
        "transfer": CommandEntry(
            module="adadecode.sim.cli.transfer",
            function="transfer",
            summary="Carry the measured time of a decoder layer to another device.",
            panel=HARDWARE,
        ),
        "transfer-matrix": CommandEntry(
            module="adadecode.sim.cli.transfer_matrix",
            function="transfer_matrix",
            summary="Carry layers between all devices of some kernel tables, and compare.",
            panel=HARDWARE,
        ),
        "devices": CommandEntry(
            module="adadecode.sim.cli.devices",
            function="devices",
            summary="List the devices of the catalogue.",
            panel=HARDWARE,
        ),
        "models": CommandEntry(
            module="adadecode.sim.cli.models",
            function="models",
            summary="List the models of the catalogue.",
            panel=HARDWARE,
        ),
        "share": CommandEntry(
            module="adadecode.sim.cli.share",
            function="share",
            summary="Write a copy of a profile without its text, to give away.",
            panel=OTHER,
        ),
        "import": CommandEntry(
            module="adadecode.sim.cli.import_latencies",
            function="imports",
            summary="Make a profile of latencies that other programs recorded.",
            panel=OTHER,
        ),
        "synthesize": CommandEntry(
            module="adadecode.sim.cli.synthesize",
            function="synthesize",
            summary="Write a synthetic text, drawn from a few rates or like a recorded one.",
            panel=OTHER,
        ),
        "acceptance": CommandEntry(
            module="adadecode.sim.cli.acceptance",
            function="acceptance",
            summary="Find the agreement of the heads that a speedup needs.",
            panel=OTHER,
        ),
    }


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Predict what early-exit decoding gives, from a recorded profile. No model, no GPU.",
)


@app.callback()
def common(*, _version: Annotated[bool, version_option("adadecode-sim")] = False) -> None:
    """Take the options that stand before the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    What the user gave and cannot be used, or an extra that is not installed, is a message on
    stderr and exit code 2; Ctrl-C is a message and exit code 130.

    Args:
        arguments: The words after the program's name; those of the process by default.
    """
    with exiting_on_error():
        app(None if arguments is None else list(arguments))
