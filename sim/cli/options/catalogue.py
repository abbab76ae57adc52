"""Options that name a device or a model of the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import Check

LIST = "list"
"""In the place of a name: list the names there are, and do nothing else."""


def device(_option: str, name: str) -> str:
    """Return the name of a device that is known; list the devices for the name ``list``.

    Raises:
        DeviceError: If neither the catalogue nor a file has it.
    """
    from adadecode.profiles.catalog.devices import find_device

    if name.strip().lower() == LIST:
        from adadecode.sim.cli.devices import print_devices

        print_devices()
        raise typer.Exit
    find_device(name)
    return name


def model(_option: str, name: str) -> str:
    """Return the name of a model that is known; list the models for the name ``list``.

    Raises:
        ShapeError: If neither the catalogue nor a file has it.
    """
    from adadecode.profiles.catalog.models import find_model

    if name.strip().lower() == LIST:
        from adadecode.sim.cli.models import print_models

        print_models()
        raise typer.Exit
    find_model(name)
    return name


DEVICE_NAMES = "a name that `adadecode-sim devices` lists, or FILE.toml"
MODEL_NAMES = "a name that `adadecode-sim models` lists, the path of a config.json, or a profile"

ToDevice = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="DEVICE",
        help=f"Predict for another device: {DEVICE_NAMES}.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
    Check(device),
]

SourceDevice = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DEVICE",
        help="The device that PROFILE was measured on, where the profile does not name one of "
        "the catalogue.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
    Check(device),
]

LayersModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="The model of PROFILE, where it does not hold its config; with `datasheet`, the "
        f"model to run. {MODEL_NAMES[0].upper()}{MODEL_NAMES[1:]}.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
    Check(model),
]
