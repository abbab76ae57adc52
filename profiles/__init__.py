"""Recorded profiles: what was measured, read back whole or refused. The only thing that passes from engine to simulator.

Loads numpy, pandas and pyarrow; never torch.
"""

from adadecode.profiles.errors import (
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
    "HeadOutput",
    "ShapeError",
    "Trace",
    "UnsupportedModel",
    "describe_host",
    "manifest_digest",
    "read_profile",
    "write_profile",
    "write_table",
]
