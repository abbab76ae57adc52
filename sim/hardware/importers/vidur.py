"""Import operator times recorded for the Vidur simulator as a latency profile.

A layer is the sum of its operators.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.profile_folder import new_profile
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.hardware.importers.imported_profile import (
    check_layer_times,
    latency_manifest,
    latency_tables,
)
from adadecode.sim.hardware.importers.operator_table import (
    LAYER,
    TOKENS,
    OperatorTable,
    median_of,
    read_operators,
)


def import_vidur(path: Path, model: ModelShape, device: Device, out: Path) -> Profile:
    """Write a latency profile from Vidur's ``mlp.csv``.

    It holds medians of one GPU in seconds. Layers stand at context 0, because attention is not in
    the file.

    Args:
        path: The file.
        model: The model it was recorded on.
        device: The GPU it was recorded on.
        out: Directory of the profile; missing or empty.

    Raises:
        ProfileError: If the file lacks columns, is of another model or holds impossible times.
        InputError: If ``out`` is in use, or cannot be written into.
    """
    with new_profile(out):
        return write_profile(out, *_profile_of(path, model, device))


def _profile_of(
    path: Path, model: ModelShape, device: Device
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the tables."""
    read = read_operators(path, model)
    table = read.times
    operators = [
        name for name in LAYER if median_of(name) in table and table[median_of(name)].notna().all()
    ]
    seconds = 1e-3 * table[[median_of(name) for name in operators]].sum(axis=1)
    tokens: list[int] = table.index.tolist()
    check_layer_times(
        path, model, device, seconds, todo="give medians in milliseconds, of this device"
    )
    rows = [
        ("layer", layer, n, 0, model.n_layers, 0, s)
        for layer in range(model.n_layers)
        for n, s in zip(tokens, seconds, strict=True)
    ]
    rows += [
        ("embed", -1, n, 0, 0, 0, 1e-3 * s)
        for n, s in zip(tokens, table[median_of("emb")], strict=True)
        if s > 0
    ]
    manifest = latency_manifest(
        model,
        device,
        source="operator times",
        software="Vidur operator profile",
        dtype="float16",
        attention="excluded",
        settings={"imported": path.name, "sha256": read.sha256, "operators": operators},
        limitations=[
            (
                "medians of single operators, one sample each; a layer is their sum, without "
                "attending to its context and without gaps between kernels"
            ),
            "no heads, no verification, no text: give a trace of another profile",
            *_repeats(read),
        ],
    )
    return manifest, latency_tables(rows)


def _repeats(read: OperatorTable) -> list[str]:
    """Return a sentence on the batches that the file holds more than once."""
    if not read.repeated:
        return []
    named = ", ".join(map(str, read.repeated))
    return [f"{TOKENS} {named} stand in several rows of the file: the first of each counts"]
