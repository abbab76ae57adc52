"""The memory of a model, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import RenderableType

from adadecode.sim.cli.tables.layout import notes, table, titled
from adadecode.sim.hardware.fit import Fit
from adadecode.sim.hardware.memory import GIB, Deployment
from adadecode.sim.hardware.precision import TORCH


def memory_tables(
    run: Deployment, answers: Sequence[Fit], *, recorded_in: str | None = None
) -> Iterator[RenderableType]:
    """Yield the memory that each part takes, and what each device can hold.

    Args:
        run: The model as it is to be run.
        answers: Whether it fits, one for each device.
        recorded_in: The number format of the recording that the model is named by.
    """
    form = "" if run.form.is_full else f" ({run.form.label})"
    heads = f", heads {'/'.join(map(str, run.heads))}{form}" if run.heads else ""
    many = f", {run.sequences} sequences" if run.sequences > 1 else ""
    title = (
        f"{run.shape.name} in {run.dtype}{heads}: {run.context} positions, "
        f"{run.filled} filled at once{many}"
    )
    needed = answers[0].memory
    parts = table("part", "GiB")
    for name, size in {**asdict(needed), "total": needed.total}.items():
        parts.add_row(name.replace("_", " "), f"{size / GIB:.2f}")
    yield titled(title, parts)
    devices = table(
        "device",
        "fits",
        "usable, GiB",
        "left, GiB",
        "longest context",
        "would fit in",
        texts=("fits", "would fit in"),
        names=True,
    )
    for answer in answers:
        left = (answer.capacity - answer.memory.total) / GIB
        devices.add_row(
            answer.device.name,
            "yes" if answer.fits else "no",
            f"{answer.capacity / GIB:.2f}",
            f"{left:.2f}",
            f"{answer.longest_context}",
            "" if answer.fits else answer.dtype_that_fits or "no dtype",
        )
    yield devices
    own = TORCH.get(recorded_in or "", recorded_in)
    if own is not None and own != run.dtype:
        line = f"recorded in {own}, counted in {run.dtype}: --dtype {own} counts as recorded"
        yield from notes([line])
    yield from notes(dict.fromkeys(note for answer in answers for note in answer.notes))
