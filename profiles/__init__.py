"""Recorded profiles: what was measured, read back whole or refused.

A profile is the only thing that passes from the engine to the simulator. The names here load what
they need (numpy, pandas, pyarrow; never torch) when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

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
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "AdaDecodeError": "adadecode.profiles.errors",
            "DesignError": "adadecode.profiles.errors",
            "DeviceError": "adadecode.profiles.errors",
            "HeadOutput": "adadecode.profiles.trace",
            "HeadsError": "adadecode.profiles.errors",
            "InputError": "adadecode.profiles.errors",
            "LATENCY_KINDS": "adadecode.profiles.schema",
            "LatencyError": "adadecode.profiles.errors",
            "LatencyTable": "adadecode.profiles.latency",
            "MANIFEST": "adadecode.profiles.schema",
            "Profile": "adadecode.profiles.store",
            "ProfileError": "adadecode.profiles.errors",
            "PromptError": "adadecode.profiles.errors",
            "REQUIRED_MANIFEST": "adadecode.profiles.schema",
            "SCHEMA": "adadecode.profiles.schema",
            "SCHEMA_VERSION": "adadecode.profiles.schema",
            "SamplingError": "adadecode.profiles.errors",
            "ShapeError": "adadecode.profiles.errors",
            "TABLES": "adadecode.profiles.schema",
            "Trace": "adadecode.profiles.trace",
            "UnsupportedModel": "adadecode.profiles.errors",
            "describe_host": "adadecode.profiles.host",
            "manifest_digest": "adadecode.profiles.manifest",
            "read_profile": "adadecode.profiles.store",
            "write_profile": "adadecode.profiles.store",
            "write_table": "adadecode.profiles.store",
        },
    )

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
