"""``adadecode-sim devices``: the devices that can be named."""

from __future__ import annotations

from typing import Any

from adadecode.profiles.catalog.devices import TEMPLATE, Device, catalogue
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.inspection import Template
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.print_json import print_json

_GIB = 2**30

_NOTES = (
    "bf16, fp16, fp32: dense TFLOP/s of the datasheet; - where it gives none",
    (
        "another device: adadecode-sim devices --template > my-gpu.toml, fill it in, and give "
        "my-gpu.toml in place of a name"
    ),
)


@takes_option_sets
def devices(*, template: Template = False, as_json: Json = False) -> None:
    """List the devices of the catalogue.

    Every name can stand for a device, as in --to, --from, --device and --devices. Another device
    is described in a TOML file: --template prints one to fill in.
    """
    if template:
        print(TEMPLATE)
    elif as_json:
        print_json({"devices": [_row(device) for device in catalogue().values()]})
    else:
        print_devices()


def print_devices() -> None:
    """Print the catalogue as a table."""
    from adadecode.sim.cli.tables.layout import console, notes, table

    listing = table(
        "name", "device", "GiB", "GB/s", "bf16", "fp16", "fp32", "W", texts=("device",), names=True
    )
    for device in catalogue().values():
        listing.add_row(
            device.name,
            device.title,
            f"{device.memory_bytes / _GIB:.0f}",
            f"{device.bandwidth / 1e9:,.0f}",
            *(_teraflops(device, dtype) for dtype in ("bf16", "fp16", "fp32")),
            "-" if device.tdp_watts is None else f"{device.tdp_watts:.0f}",
        )
    console().print(listing)
    for line in notes(_NOTES):
        console().print(line)


def _teraflops(device: Device, dtype: str) -> str:
    peak = device.peak_flops.get(dtype)
    return "-" if peak is None else f"{peak / 1e12:,.0f}"


def _row(device: Device) -> dict[str, Any]:
    """Return what the catalogue holds of a device, for ``--json``."""
    return {
        "name": device.name,
        "title": device.title,
        "vendor": device.vendor,
        "architecture": device.architecture,
        "memory_bytes": device.memory_bytes,
        "bandwidth": device.bandwidth,
        "peak_flops": dict(device.peak_flops),
        "tdp_watts": device.tdp_watts,
        "datasheet": device.datasheet,
    }
