"""Options of ``adadecode-sim memory``: a model as it is to be run, and the devices to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.catalogue import DEVICE_NAMES, MODEL_NAMES, device, model
from adadecode.sim.cli.options.checks import Check, TextCheck, at_least, number
from adadecode.sim.cli.options.design import depths
from adadecode.sim.cli.options.form import Shortlist
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.head_form import DTYPES, HeadForm
from adadecode.sim.hardware.memory import (
    GIB,
    RESERVE,
    STATE_BYTES,
    WEIGHT_BYTES,
    Deployment,
    packed_dtype,
)

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help=f"{MODEL_NAMES[0].upper()}{MODEL_NAMES[1:]}.",
        show_default=False,
    ),
    Check(model),
]

Devices = Annotated[
    list[str],
    typer.Option(
        "--device",
        metavar="DEVICE",
        help=f"The device to run on: {DEVICE_NAMES}. May be repeated.",
        show_default=False,
    ),
    Check(device),
]


@dataclass(frozen=True, kw_only=True)
class DeploymentOptions:
    """How the model is to be run."""

    heads: Annotated[
        tuple[int, ...] | None,
        typer.Option(
            "--heads",
            metavar="DEPTHS",
            help="Depths of the exit heads, like 8,16,24. By default none.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(depths),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="DTYPE",
            help=f"Number format of the layers' matrices: {', '.join(WEIGHT_BYTES)}. By default "
            "that of the checkpoint, or bf16 where it is not packed.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
    ] = None
    context: Annotated[
        int,
        typer.Option(
            "--context",
            help="Tokens of a sequence: its prompt and its output.",
            rich_help_panel=panels.RUN,
        ),
        at_least(1),
    ] = 2048
    prompt: Annotated[
        int | None,
        typer.Option(
            "--prompt",
            help="How many of them are prompt. By default all, which takes the most memory.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
        at_least(1),
    ] = None
    sequences: Annotated[
        int,
        typer.Option(
            "--sequences",
            help="Sequences decoded at once.",
            rich_help_panel=panels.RUN,
        ),
        at_least(1),
    ] = 1
    cap: Annotated[
        int,
        typer.Option(
            "--cap",
            help="Most tokens to draft before a verification.",
            rich_help_panel=panels.DESIGN,
        ),
        at_least(0),
    ] = DEFAULT_CAP
    shortlist: Shortlist = None
    head_dtype: Annotated[
        str | None,
        typer.Option(
            "--head-dtype",
            metavar="DTYPE",
            help=f"Number format of the heads: {', '.join(STATE_BYTES)}. By default that of the "
            "activations. In int8, the heads hold the LM head once more.",
            show_default=False,
            rich_help_panel=panels.FORM,
        ),
    ] = None
    cache_dtype: Annotated[
        str | None,
        typer.Option(
            "--cache-dtype",
            metavar="DTYPE",
            help=f"Number format of keys and values: {', '.join(STATE_BYTES)}. By default that "
            "of the activations.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
    ] = None
    reserve_gib: Annotated[
        float,
        typer.Option(
            "--reserve-gib",
            help="GiB that the runtime takes besides all tensors; an assumption.",
            rich_help_panel=panels.RUN,
        ),
        number(low=0),
    ] = RESERVE / GIB
    usable: Annotated[
        float | None,
        typer.Option(
            "--usable",
            help="Share of a device's memory that programs can use, in (0, 1]. By default what "
            "is published for the kind of device.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
        number(above=0, high=1),
    ] = None

    def deployment(self, shape: ModelShape) -> Deployment:
        """Return the model of this shape as it is to be run.

        Raises:
            DeviceError: If a number format is unknown.
            DesignError: If the model has no place for a head.
            ShapeError: If the lengths are impossible.
        """
        return Deployment(
            shape=shape,
            dtype=self.dtype or packed_dtype(shape) or "bf16",
            heads=self.heads or (),
            context=self.context,
            prompt=self.prompt,
            sequences=self.sequences,
            n_tokens=self.cap + 1,
            head_dtype=self.head_dtype,
            form=HeadForm(
                shortlist=self.shortlist,
                dtype=self.head_dtype if self.head_dtype in DTYPES else None,
            ),
            cache_dtype=self.cache_dtype,
            reserve=round(self.reserve_gib * GIB),
        )
