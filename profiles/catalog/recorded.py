"""Find what a manifest says it was recorded on in the catalogues: its device and its model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from adadecode.profiles.catalog.devices import Device, catalogue
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import known_model, shape_from_config, shape_from_record
from adadecode.profiles.errors import ShapeError
from adadecode.profiles.input_file import is_there
from adadecode.profiles.manifest import check_manifest, read_manifest, section
from adadecode.profiles.schema import MANIFEST


def device_name(manifest: Mapping[str, Any]) -> str:
    """Return what a manifest calls its device; empty where it calls it nothing."""
    hardware = section(manifest, "hardware")
    return str(hardware.get("device") or section(hardware, "before", "gpu").get("name") or "")


def recorded_device(manifest: Mapping[str, Any]) -> Device | None:
    """Return the device of the catalogue that a manifest names, by name or by title."""
    name, known = device_name(manifest), catalogue()
    by_title = {device.title.lower(): device for device in known.values()}
    return known.get(name) or by_title.get(name.lower())


def recorded_format(model: str | Path) -> str | None:
    """Return the number format, as PyTorch calls it, in which a profile was recorded.

    It is None for what is no profile.

    Raises:
        ProfileError: If the manifest cannot be read.
    """
    folder = Path(model)
    if not is_there(folder / MANIFEST):
        return None
    return str(read_manifest(folder)["dtype"])


def shape_of_profile(folder: Path) -> ModelShape:
    """Return the shape of the model that a profile was recorded with, under its name.

    Raises:
        ProfileError: If the manifest cannot be read.
        ShapeError: If it tells no shape.
    """
    manifest = read_manifest(folder)
    check_manifest(manifest, str(folder))
    return replace(recorded_shape(manifest), name=str(manifest["model"]["name"]))


def recorded_shape(manifest: Mapping[str, Any]) -> ModelShape:
    """Return the shape of the model that a profile was recorded with.

    It is the one that the manifest holds as a whole; or that of the config, where its family is
    known here and the engine measured the same; or what the engine measured; or, in recordings
    without either, that of the model's name.

    Args:
        manifest: The manifest.

    Raises:
        ShapeError: If it tells none.
    """
    about = section(manifest, "model")
    if about.get("shape"):
        return shape_from_record(about["shape"])
    measured, config = section(about, "measured"), section(about, "config")
    name = str(about.get("name"))
    if not measured:
        # Never a file: a name that a manifest holds is no request to open one.
        return shape_from_config(config) if config else known_model(name)
    found = shape_from_record({**measured, "name": name, "source": "measured by the engine"})
    with suppress(ShapeError):
        known = shape_from_config(config)
        if known.same_work(found):
            return known
    return found
