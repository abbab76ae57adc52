"""``adadecode-sim import``: latencies that others recorded, as a profile."""

from __future__ import annotations

from pathlib import Path

import typer

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.store import Profile
from adadecode.sim.cli.interruption import left_in, on_interrupt
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.kernel_tables import (
    KernelTableOptions,
    ServedDevice,
    ServedModel,
    ServingSimFolder,
)
from adadecode.sim.cli.options.output import NewProfile
from adadecode.sim.cli.options.transfer import RecordedDevice, RecordedModel, VidurCsv
from adadecode.sim.cli.say import say

imports = typer.Typer(
    help="Make a profile of latencies that other programs recorded.",
    no_args_is_help=True,
)

_PREDICT = "adadecode-sim predict {} --trace PROFILE"


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
    _tell(out, profile, f"adadecode-sim transfer {out} --to DEVICE", f"{model} on {device}")


@imports.command("aiconfigurator")
@takes_option_sets
def import_aiconfigurator(options: KernelTableOptions, *, out: NewProfile) -> None:
    """Put a model together from the kernel tables of AIConfigurator.

    They hold products and attention as production engines run them. Several GPUs may share every
    layer.
    """
    from adadecode.sim.hardware.importers.aiconfigurator import import_kernels, system_device
    from adadecode.sim.hardware.kernel_tables.library import KernelLibrary

    with on_interrupt(left_in(out)):
        library = (
            KernelLibrary.installed()
            if options.tables is None
            else KernelLibrary.of(options.tables)
        )
        tables = library.tables(options.system, options.backend, options.version)
        device = (
            system_device(options.system) if options.device is None else find_device(options.device)
        )
        profile = import_kernels(
            tables,
            find_model(options.model),
            device,
            out,
            options.quant,
            cache=options.cache,
            n_devices=options.n_devices,
        )
    machine = device.name if options.n_devices == 1 else f"{options.n_devices} x {device.name}"
    _tell(out, profile, _PREDICT.format(out), f"{options.model} on {machine} ({tables.name})")


@imports.command("llmservingsim")
@takes_option_sets
def import_serving_sim(
    folder: ServingSimFolder,
    *,
    model: ServedModel = None,
    device: ServedDevice = None,
    out: NewProfile,
) -> None:
    """Import what LLMServingSim measured of a model under vLLM.

    The folder says which model and which GPU it was.
    """
    from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim

    with on_interrupt(left_in(out)):
        profile = import_llmservingsim(
            folder,
            out,
            None if model is None else find_model(model),
            None if device is None else find_device(device),
        )
    _tell(out, profile, _PREDICT.format(out), profile.manifest["name"].partition(",")[0])


@imports.callback()
def _group() -> None:
    """Make a profile of latencies that other programs recorded."""


def _tell(out: Path, profile: Profile, follows: str, what: str) -> None:
    """Say what was imported, what it lacks, and what to do with it."""
    tokens = profile.latency.loc[profile.latency["kind"] == "layer", "n_tokens"]
    say(f"{out}: layers of {what} for {tokens.min()}..{tokens.max()} tokens. Next: {follows}")
    for limitation in profile.manifest["limitations"]:
        say(f"note: {limitation}")
