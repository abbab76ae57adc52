"""Find the device that a manifest says it was recorded on in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.profiles.catalog.devices import Device, catalogue
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
