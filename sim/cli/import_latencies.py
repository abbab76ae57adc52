"""``adadecode-sim import``: latencies that others recorded, as a profile."""

from __future__ import annotations

import typer

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.sim.cli.interruption import left_in, on_interrupt
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import NewProfile
from adadecode.sim.cli.options.transfer import RecordedDevice, RecordedModel, VidurCsv
from adadecode.sim.cli.say import say

imports = typer.Typer(
    help="Make a profile of latencies that other programs recorded.",
    no_args_is_help=True,
)


@imports.command("vidur")
@takes_option_sets
def import_vidur_csv(
    csv: VidurCsv, *, model: RecordedModel, device: RecordedDevice, out: NewProfile
) -> None:
    """Import the operator times of the Vidur simulator.

    They are of layers without attention, on one GPU.
    """
    from adadecode.sim.hardware.importers.vidur import import_vidur

    with on_interrupt(left_in(out)):
        profile = import_vidur(csv, find_model(model), find_device(device), out)
    tokens = profile.latency.loc[profile.latency["kind"] == "layer", "n_tokens"]
    say(
        f"{out}: layers of {model} on {device} for {tokens.min()}..{tokens.max()} tokens. "
        f"Next: adadecode-sim transfer {out} --to DEVICE"
    )
    for limitation in profile.manifest["limitations"]:
        say(f"note: {limitation}")


@imports.callback()
def _group() -> None:
    """Make a profile of latencies that other programs recorded."""
