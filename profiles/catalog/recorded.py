"""Find what a manifest says it was recorded on in the catalogues: its device and its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.profiles.catalog.devices import Device, catalogue
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import known_model, shape_from_config, shape_from_record
from adadecode.profiles.manifest import section


def device_name(manifest: Mapping[str, Any]) -> str:
    """Return what a manifest calls its device; empty where it calls it nothing."""
    hardware = section(manifest, "hardware")
    return str(hardware.get("device") or section(hardware, "before", "gpu").get("name") or "")


def recorded_device(manifest: Mapping[str, Any]) -> Device | None:
    """Return the device of the catalogue that a manifest names, by name or by title."""
    name, known = device_name(manifest), catalogue()
    by_title = {device.title.lower(): device for device in known.values()}
    return known.get(name) or by_title.get(name.lower())


def recorded_shape(manifest: Mapping[str, Any]) -> ModelShape:
    """Return the shape that a manifest holds, or that its config or the name of its model gives.

    Raises:
        ShapeError: If it tells none.
    """
    about = section(manifest, "model")
    if about.get("shape"):
        return shape_from_record(about["shape"])
    config = section(about, "config")
    # Never a file: a name that a manifest holds is no request to open one.
    return shape_from_config(config) if config else known_model(str(about.get("name")))
