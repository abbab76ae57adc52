"""Recorded profiles: what was measured, read back whole or refused.

A profile is the only thing that passes from the engine to the simulator. The names here load what
they need (numpy, pandas, pyarrow; never torch) when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adadecode.profiles.errors import (
        AdaDecodeError,
        DesignError,
        DeviceError,
        HeadsError,
        InputError,
        LatencyError,
        ProfileError,
        PromptError,
        SamplingError,
        ShapeError,
        UnsupportedModel,
    )
    from adadecode.profiles.host import describe_host
    from adadecode.profiles.latency import LatencyTable
    from adadecode.profiles.manifest import manifest_digest
    from adadecode.profiles.schema import (
        LATENCY_KINDS,
        MANIFEST,
        REQUIRED_MANIFEST,
        SCHEMA,
        SCHEMA_VERSION,
        TABLES,
    )
    from adadecode.profiles.store import Profile, read_profile, write_profile, write_table
    from adadecode.profiles.trace import HeadOutput, Trace

_NAMES = {
    "errors": (
        "AdaDecodeError",
        "DesignError",
        "DeviceError",
        "HeadsError",
        "InputError",
        "LatencyError",
        "ProfileError",
        "PromptError",
        "SamplingError",
        "ShapeError",
        "UnsupportedModel",
    ),
    "host": ("describe_host",),
    "latency": ("LatencyTable",),
    "manifest": ("manifest_digest",),
    "schema": (
        "LATENCY_KINDS",
        "MANIFEST",
        "REQUIRED_MANIFEST",
        "SCHEMA",
        "SCHEMA_VERSION",
        "TABLES",
    ),
    "store": ("Profile", "read_profile", "write_profile", "write_table"),
    "trace": ("HeadOutput", "Trace"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "LATENCY_KINDS",
    "MANIFEST",
    "REQUIRED_MANIFEST",
    "SCHEMA",
    "SCHEMA_VERSION",
    "TABLES",
    "AdaDecodeError",
    "DesignError",
    "DeviceError",
    "HeadOutput",
    "HeadsError",
    "InputError",
    "LatencyError",
    "LatencyTable",
    "Profile",
    "ProfileError",
    "PromptError",
    "SamplingError",
    "ShapeError",
    "Trace",
    "UnsupportedModel",
    "describe_host",
    "manifest_digest",
    "read_profile",
    "write_profile",
    "write_table",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'adadecode.profiles' has no attribute {name!r}")
    return getattr(importlib.import_module(f"adadecode.profiles.{_HOMES[name]}"), name)
