"""Recorded profiles: what was measured, read back whole or refused. The only thing that passes from engine to simulator.

Loads numpy, pandas and pyarrow; never torch.
"""

from profiles.errors import (
    AdaDecodeError,
    DesignError,
    DeviceError,
    HeadsError,
    InputError,
    LatencyError,
    ProfileError,
    PromptError,
    ShapeError,
    UnsupportedModel,
)
from profiles.host import describe_host
from profiles.latency import LatencyTable
from profiles.manifest import manifest_digest
from profiles.schema import LATENCY_KINDS, MANIFEST, REQUIRED_MANIFEST, SCHEMA, SCHEMA_VERSION, TABLES
from profiles.store import Profile, read_profile, write_profile, write_table
from profiles.trace import Said, Trace

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
    "HeadsError",
    "InputError",
    "LatencyError",
    "LatencyTable",
    "Profile",
    "ProfileError",
    "PromptError",
    "Said",
    "ShapeError",
    "Trace",
    "UnsupportedModel",
    "describe_host",
    "manifest_digest",
    "read_profile",
    "write_profile",
    "write_table",
]
