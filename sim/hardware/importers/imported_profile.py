"""Write what others measured as a profile: a latency table with a manifest and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
from adadecode.sim.hardware.kernel_tables.products import ESTIMATED, KernelTime

PAUSE = 5e-3
"""Seconds that the kernels of a layer may take besides what bytes and FLOPs ask for."""

NO_HOST = KernelTime("host", 1e-9, ESTIMATED, "an engine that hides its host")
"""What the host takes besides kernels: nothing, as little as a table may hold."""


@dataclass(kw_only=True)
class ImportedPoints:
    """Points of a latency table, with what each of them rests on.

    Attributes:
        rows: Rows of the table ``latency``.
        rests_on: For each piece of work, its parts with seconds, basis and note. Alike layers are
            one piece.
    """

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    rests_on: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        kind: str,
        parts: Iterable[KernelTime],
        *,
        layers: Sequence[int] = (-1,),
        n_tokens: int = 1,
        context: int = 0,
        reuse: int = 0,
    ) -> None:
        """Add one piece of work as a point, for each of the layers or depths.

        Args:
            kind: Its kind, as in the table ``latency``.
            parts: Its kernels.
            layers: The layers or depths that it is alike at.
            n_tokens: Tokens at once.
            context: Positions attended to.
            reuse: Layers since the layer ran last.
        """
        known = tuple(parts)
        seconds = sum(part.seconds for part in known)
        self.rows += [(kind, layer, n_tokens, context, reuse, 0, seconds) for layer in layers]
        self.rests_on.append(
            {
                "kind": kind,
                "n_tokens": n_tokens,
                "context": context,
                "seconds": seconds,
                "parts": [part.to_dict() for part in known],
            }
        )

    def share(self, kind: str, **which: str) -> float:
        """Return the share that some parts have in the seconds of a kind of work.

        Args:
            kind: The kind of work.
            which: What the parts hold: their ``basis``, or the name of the ``part``.
        """
        parts = [one for piece in self.rests_on if piece["kind"] == kind for one in piece["parts"]]
        total = sum(one["seconds"] for one in parts)
        return float(sum(one["seconds"] for one in parts if which.items() <= one.items()) / total)


def check_layer_times(
    where: Path | str,
    shape: ModelShape,
    device: Device,
    seconds: pd.Series[float],
    *,
    weight: float = 2.0,
    todo: str,
) -> None:
    """Refuse layers that a device cannot have, such as seconds in the place of milliseconds.

    Args:
        where: The file, for messages.
        shape: The model.
        device: The device.
        seconds: Seconds of a layer by number of tokens, which is the index.
        weight: Bytes of one weight.
        todo: What to do about it, for messages.

    Raises:
        ProfileError: If a layer is too fast or too slow.
    """
    n_tokens = seconds.index.to_numpy(dtype=np.float64)
    samples = Samples(
        kind="layer",
        seconds=np.asarray(seconds, dtype=np.float64),
        n_tokens=n_tokens,
        context=np.zeros_like(n_tokens),
        rows=np.arange(len(n_tokens)),
        where=str(where),
    )
    check_work(samples, shape, weight, limits_of_device(device, pause=PAUSE), todo)


def write_imported(
    out: Path,
    shape: ModelShape,
    device: Device,
    points: ImportedPoints,
    *,
    source: str,
    settings: dict[str, Any],
    limitations: Sequence[str],
    weights: str | None = None,
    serving: pd.DataFrame | None = None,
    n_devices: int = 1,
) -> Profile:
    """Write a profile of latencies that attend to their context.

    Args:
        out: Directory of the profile; missing or empty.
        shape: The model.
        device: The device.
        points: The latencies.
        source: What measured them, in words.
        settings: What was imported, for the manifest.
        limitations: What the latencies lack, a sentence each.
        weights: Format of the layers' weights where they are packed.
        serving: The table ``serving``, where steps of a server were measured.
        n_devices: How many devices share every layer.

    Raises:
        InputError: If ``out`` is in use, or cannot be written into.
    """
    manifest = latency_manifest(
        shape,
        device,
        source=source,
        software=source,
        dtype="bfloat16",
        attention="kernel tables",
        settings={**settings, "rests_on": points.rests_on},
        limitations=[*limitations, "no text: give a trace of another profile"],
        weights=weights,
        n_devices=n_devices,
    )
    with new_profile(out):
        tables = latency_tables(points.rows)
        if serving is not None:
            tables["serving"] = serving
        return write_profile(out, manifest, tables)


def latency_manifest(
    shape: ModelShape,
    device: Device,
    *,
    source: str,
    software: str,
    dtype: str,
    attention: str,
    settings: dict[str, Any],
    limitations: Sequence[str],
    weights: str | None = None,
    n_devices: int = 1,
) -> dict[str, Any]:
    """Return the manifest of a profile that holds latencies alone.

    Args:
        shape: The model.
        device: The device.
        source: What was measured, in words, for the name.
        software: What measured it.
        dtype: Format of the products.
        attention: How attention was measured.
        settings: What was imported.
        limitations: What the latencies lack, a sentence each.
        weights: Format of the layers' weights where they are packed.
        n_devices: How many devices share every layer.
    """
    several = n_devices > 1
    machine = f"{n_devices} x {device.name}" if several else device.name
    return {
        "name": f"{shape.name} on {machine}, {source}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": shape.name,
            "n_layers": shape.n_layers,
            "n_parameters": shape.total_parameters,
            "config": {},
            "shape": shape.record(),
        },
        "heads": {"name": "none", "depths": []},
        "hardware": {
            "device": device.name,
            **({"placing": {"processes": n_devices}} if several else {}),
        },
        "software": {"source": software},
        "dtype": dtype,
        **({} if weights is None else {"weights": weights}),
        "attention": attention,
        "graphs": "kernels alone",
        "seed": 0,
        "prompts": {"sha256": sha256_hex(), "count": 0, "domains": []},
        "settings": settings,
        "limitations": list(limitations),
        "eos_token_ids": [],
        "max_new_tokens": 1,
    }


def latency_tables(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the tables of a profile whose table ``latency`` has these rows, the others empty."""
    latency = pd.DataFrame(rows, columns=TABLES["latency"].names)
    return {
        name: latency if name == "latency" else schema.empty_table()
        for name, schema in TABLES.items()
    }
