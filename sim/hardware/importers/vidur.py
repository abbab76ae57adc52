"""Import operator times recorded for the Vidur simulator as a latency profile.

A layer is the sum of its operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.machine_limits import limits_of_device
from adadecode.profiles.plausibility import Samples, check_work
from adadecode.profiles.profile_folder import new_profile
from adadecode.profiles.schema import TABLES
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.hardware.importers.operator_table import (
    LAYER,
    TOKENS,
    OperatorTable,
    median_of,
    read_operators,
)

PAUSE = 5e-3
"""Seconds that the kernels of a layer may take besides what bytes and FLOPs ask for."""

_BYTES = 2.0
"""Bytes of a weight: Vidur times FP16."""


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
    _check_times(path, model, device, seconds)
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
    latency = pd.DataFrame(rows, columns=TABLES["latency"].names)
    tables: dict[str, Any] = {
        name: latency if name == "latency" else schema.empty_table()
        for name, schema in TABLES.items()
    }
    return _manifest(path, model, device, read, operators), tables


def _check_times(path: Path, model: ModelShape, device: Device, seconds: pd.Series[float]) -> None:
    """Refuse layers that this device cannot have, such as seconds in the place of milliseconds."""
    n_tokens = seconds.index.to_numpy(dtype=np.float64)
    samples = Samples(
        kind="layer",
        seconds=np.asarray(seconds, dtype=np.float64),
        n_tokens=n_tokens,
        context=np.zeros_like(n_tokens),
        rows=np.arange(len(n_tokens)),
        where=str(path),
    )
    machine = limits_of_device(device, pause=PAUSE)
    check_work(samples, model, _BYTES, machine, "give medians in milliseconds, of this device")


def _manifest(
    path: Path,
    model: ModelShape,
    device: Device,
    read: OperatorTable,
    operators: Sequence[str],
) -> dict[str, Any]:
    return {
        "name": f"{model.name} on {device.name}, operator times",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": model.name,
            "n_layers": model.n_layers,
            "n_parameters": model.total_parameters,
            "config": {},
            "shape": model.record(),
        },
        "heads": {"name": "none", "depths": []},
        "hardware": {"device": device.name},
        "software": {"source": "Vidur operator profile"},
        "dtype": "float16",
        "attention": "excluded",
        "graphs": "kernels alone",
        "seed": 0,
        "prompts": {"sha256": sha256_hex(), "count": 0, "domains": []},
        "settings": {"imported": path.name, "sha256": read.sha256, "operators": list(operators)},
        "limitations": [
            (
                "medians of single operators, one sample each; a layer is their sum, without "
                "attending to its context and without gaps between kernels"
            ),
            "no heads, no verification, no text: give a trace of another profile",
            *_repeats(read),
        ],
        "eos_token_ids": [],
        "max_new_tokens": 1,
    }


def _repeats(read: OperatorTable) -> list[str]:
    """Return a sentence on the batches that the file holds more than once."""
    if not read.repeated:
        return []
    named = ", ".join(map(str, read.repeated))
    return [f"{TOKENS} {named} stand in several rows of the file: the first of each counts"]
