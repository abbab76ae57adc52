"""``adadecode-sim memory``: does a model with exit heads fit on a device?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, DeviceError
from adadecode.sim.cli.options import CapOption, JsonOption, ShortlistOption, print_json
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.head_form import DTYPES, HeadForm
from adadecode.sim.core.parsing import integers
from adadecode.sim.hardware.memory import (
    GIB,
    RESERVE,
    STATE_BYTES,
    WEIGHT_BYTES,
    Deployment,
    Fit,
    fit,
)


def memory(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model of the catalogue, or the path of a config.json.",
            show_default=False,
        ),
    ],
    device: Annotated[
        list[str],
        typer.Option(
            "--device",
            help="A device of the catalogue, or FILE.toml; may be repeated.",
            show_default=False,
        ),
    ],
    *,
    heads: Annotated[
        str,
        typer.Option("--heads", help="Depths of the exit heads, like 8,16,24; none by default."),
    ] = "",
    dtype: Annotated[
        str, typer.Option("--dtype", help=f"Of the layers' matrices: {', '.join(WEIGHT_BYTES)}.")
    ] = "bf16",
    context: Annotated[
        int, typer.Option("--context", help="Positions of a sequence, prompt and output.")
    ] = 2048,
    prompt: Annotated[
        int | None,
        typer.Option(
            "--prompt",
            help="How many of them are prompt; all by default, which is the most.",
            show_default=False,
        ),
    ] = None,
    sequences: Annotated[int, typer.Option("--sequences", help="Sequences side by side.")] = 1,
    cap: CapOption = DEFAULT_CAP,
    head_dtype: Annotated[
        str | None,
        typer.Option(
            "--head-dtype",
            help=f"Of the heads: {', '.join(STATE_BYTES)}; as the activations by default. In int8 they hold the LM head once more.",
        ),
    ] = None,
    shortlist: ShortlistOption = None,
    cache_dtype: Annotated[
        str | None, typer.Option("--cache-dtype", help="Of keys and values, likewise.")
    ] = None,
    reserve_gib: Annotated[
        float,
        typer.Option(
            "--reserve-gib", help="What the runtime takes beside all tensors: an assumption."
        ),
    ] = RESERVE / GIB,
    usable: Annotated[
        float | None,
        typer.Option(
            "--usable",
            help="Share of the marketed memory that programs get; by what is published by default.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a model fits on devices, with the bytes of each part, and what would make it fit."""
    if cap < 0:
        raise DesignError(f"wanted --cap as 0 drafts a round or more, got {cap}")
    if not 0 <= reserve_gib < math.inf:
        raise DeviceError(f"wanted --reserve-gib as a number from 0 on, got {reserve_gib}")
    run = Deployment(
        shape=find_model(model),
        dtype=dtype,
        heads=tuple(integers("--heads", heads)),
        context=context,
        prompt=prompt,
        sequences=sequences,
        n_tokens=cap + 1,
        head_dtype=head_dtype,
        form=HeadForm(shortlist=shortlist, dtype=head_dtype if head_dtype in DTYPES else None),
        cache_dtype=cache_dtype,
        reserve=round(reserve_gib * GIB),
    )
    answers = [fit(run, find_device(name), usable) for name in device]
    if as_json:
        print_json({"model": run.shape.name, "answers": [answer.to_dict() for answer in answers]})
        return
    for shown in _shown(run, answers):
        Console().print(shown)


def _shown(run: Deployment, answers: Sequence[Fit]) -> list[RenderableType]:
    """For people: what it takes, and what each device says to that."""
    form = "" if run.form.is_full else f" ({run.form.label})"
    heads = f", heads {'/'.join(map(str, run.heads))}{form}" if run.heads else ""
    many = f", {run.sequences} sequences" if run.sequences > 1 else ""
    needed = answers[0].memory
    title = f"{run.shape.name} in {run.dtype}{heads}: {run.context} positions, {run.filled} filled at once{many}"
    parts = Table("part")
    parts.add_column("GiB", justify="right")
    for name, value in {**asdict(needed), "total": needed.total}.items():
        parts.add_row(name, f"{value / GIB:.2f}")
    devices = Table("device", "fits")
    for name in ("there, GiB", "left, GiB", "longest context", "would fit in"):
        devices.add_column(name, justify="right")
    for answer in answers:
        left = (answer.capacity - answer.memory.total) / GIB
        other = "" if answer.fits else answer.dtype_that_fits or "no dtype"
        row = (f"{answer.capacity / GIB:.2f}", f"{left:.2f}", str(answer.longest_context), other)
        devices.add_row(answer.device.name, "yes" if answer.fits else "no", *row)
    notes = dict.fromkeys(note for answer in answers for note in answer.notes)
    return [title, parts, devices, *(f"- {note}" for note in notes)]
