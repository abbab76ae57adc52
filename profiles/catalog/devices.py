"""The hardware catalogue (hardware.toml): what devices can do.

The figures of a datasheet and those that public micro-benchmarks measured are kept apart. A user's
own file has the same form and passes the same checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from adadecode.profiles.catalog.device_checks import (
    ALIKE,
    BOUNDS,
    CPU,
    DTYPES,
    Bounds,
    check_device,
    check_figure,
    checked_text,
)
from adadecode.profiles.catalog.toml_tables import entries, file_and_name, pick, read_tables
from adadecode.profiles.errors import DeviceError, similar

__all__ = [
    "ALIKE",
    "CATALOGUE",
    "DTYPES",
    "TEMPLATE",
    "Device",
    "Measured",
    "catalogue",
    "find_device",
    "read_devices",
]

CATALOGUE = Path(__file__).with_name("hardware.toml")

TEMPLATE = """[my-gpu]
title = "My GPU"
vendor = "NVIDIA"
architecture = "ada"          # "cpu", or "other", with which no peak can be checked
memory_gib = 24
bandwidth = 300e9             # bytes/s, datasheet
peak = { fp32 = 30.3e12, fp16 = 121e12, bf16 = 121e12 }  # FLOP/s, datasheet, without sparsity
sm_count = 58                 # these two only where the architecture is known
clock_hz = 2.04e9
datasheet = "title and address of the datasheet"
sustained.bandwidth = { value = 235e9, source = "how it was measured" }  # if it was"""

_FORM = "in the form that `adadecode-sim devices --template` prints"

_SPREAD = re.compile(r"adadecode-device: .*, spread (?P<percent>\d+(\.\d+)?)%, [^,]*")

_MIB, _GIB = 2**20, 2**30
_UNITS = {_MIB: "MiB", _GIB: "GiB"}
_REQUIRED = ("title", "vendor", "architecture", "memory_gib", "bandwidth", "peak", "datasheet")
_OPTIONAL = ("sm_count", "clock_hz", "l2_mib", "tdp_w", "sustained")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure that was measured.

    Attributes:
        value: In bytes/s or FLOP/s.
        source: Where it is published, or how it was measured.
        spread: How far the fastest and the slowest repeat lay apart, over the median; 0 where
            nobody says.
    """

    value: float
    source: str
    spread: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator: the figures of its datasheet, and what was measured on it.

    Attributes:
        name: Its name in the catalogue.
        title: Its name as the vendor writes it.
        vendor: Who makes it.
        architecture: What a multiprocessor does per cycle, for the check of the peaks.
        memory_bytes: Capacity as marketed, a "GB" taken as 2**30. The driver keeps a few percent.
        bandwidth: Memory bandwidth in bytes/s.
        peak_flops: Dense FLOP/s by dtype (of ``DTYPES``). ``fp32`` is the rate without tensor
            cores, hence without TF32.
        datasheet: Source of all these.
        sm_count: Multiprocessors, compute units and the like.
        clock_hz: Boost clock.
        l2_bytes: Size of the L2 cache.
        tdp_watts: Power limit.
        sustained_bandwidth: Bytes/s in some benchmark; None where none was found.
        lbm_bandwidth: Bytes/s of lattice Boltzmann streaming: lower than a plain read, but measured
            the same way on most devices, so that ratios between devices mean something.
        read_bandwidth: Bytes/s of a plain read in one benchmark, on fewer devices.
        dot_bandwidth: Bytes/s of a dot product of two long vectors, which only reads, on fewer
            still.
        sustained_flops: FLOP/s of large dense matmuls by dtype, where they were measured.

    Raises:
        DeviceError: If a figure is missing or absurd, or a sparse or non-tensor peak stands in the
            place of a dense tensor peak.
    """

    name: str
    title: str
    vendor: str
    architecture: str
    memory_bytes: int
    bandwidth: float
    peak_flops: Mapping[str, float] = field(hash=False)
    datasheet: str
    sm_count: int | None = None
    clock_hz: float | None = None
    l2_bytes: int | None = None
    tdp_watts: float | None = None
    sustained_bandwidth: Measured | None = None
    lbm_bandwidth: Measured | None = None
    read_bandwidth: Measured | None = None
    dot_bandwidth: Measured | None = None
    sustained_flops: Mapping[str, Measured] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_device(self)

    @property
    def is_cpu(self) -> bool:
        """Whether it is a processor that starts its own work, and no accelerator with a host."""
        return self.architecture == CPU

    def peak(self, dtype: str) -> float:
        """Return the dense datasheet FLOP/s in this dtype.

        Raises:
            DeviceError: If the datasheet gives none.
        """
        if dtype not in self.peak_flops:
            raise DeviceError(
                f"{self.name} has no {dtype} peak (it has {', '.join(self.peak_flops)}): "
                "choose one of these with --dtype"
            )
        return self.peak_flops[dtype]


@cache
def catalogue() -> dict[str, Device]:
    """Return every device of hardware.toml by name, in its order."""
    return read_devices(CATALOGUE)


def find_device(name_or_path: str | Path) -> Device:
    """Return a device of the catalogue, or of a TOML file in the same form.

    Args:
        name_or_path: A name of the catalogue; ``FILE.toml``, or ``FILE.toml:NAME`` for one of
            several devices in a file.

    Raises:
        DeviceError: If the name is unknown, or the file cannot be read or holds absurd figures.
    """
    text = str(name_or_path)
    if filed := file_and_name(text):
        path, name = filed
        return pick(read_devices(path), path, name, "device", DeviceError)
    known = catalogue()
    wanted = text.strip().lower()
    if wanted not in known:
        near = similar(wanted, known)
        hint = f", the nearest are {', '.join(near)}" if near else ""
        raise DeviceError(
            f"no device {text!r} in the catalogue{hint}: `adadecode-sim devices` lists them; "
            "for another one give a file, FILE.toml (`adadecode-sim devices --template` prints one)"
        )
    return known[wanted]


def read_devices(path: Path) -> dict[str, Device]:
    """Return every device of a TOML file by name.

    Raises:
        DeviceError: If the file cannot be read, or a device fails a check.
    """
    missing = f"give the name of a device of the catalogue, or the path of a TOML file {_FORM}"
    tables = read_tables(path, missing, DeviceError)
    sources = tables.pop("sources", {})
    if not isinstance(sources, dict):
        raise DeviceError(f"sources is {sources!r} in {path}: wanted a table of texts")
    if not tables:
        raise DeviceError(f"no device in {path}: wanted one or more tables {_FORM}")
    return entries(path, tables, lambda name, table: _device(name, table, sources))


def _device(name: str, entry: object, sources: Mapping[str, str]) -> Device:
    """Return the device that one table of a file describes."""
    table = _checked_table(name, entry)
    sustained = {
        figure: _measured(f"{name}.sustained.{figure}", one, sources)
        for figure, one in table.get("sustained", {}).items()
    }
    return Device(
        name=name,
        title=table["title"],
        vendor=table["vendor"],
        architecture=table["architecture"],
        memory_bytes=_bytes(name, "memory_gib", table, _GIB),
        bandwidth=table["bandwidth"],
        peak_flops=dict(table["peak"]),
        datasheet=_source(name, table["datasheet"], sources),
        sm_count=table.get("sm_count"),
        clock_hz=table.get("clock_hz"),
        l2_bytes=_bytes(name, "l2_mib", table, _MIB) if "l2_mib" in table else None,
        tdp_watts=table.get("tdp_w"),
        sustained_bandwidth=sustained.pop("bandwidth", None),
        lbm_bandwidth=sustained.pop("lbm_bandwidth", None),
        read_bandwidth=sustained.pop("read_bandwidth", None),
        dot_bandwidth=sustained.pop("dot_bandwidth", None),
        sustained_flops=sustained,
    )


def _checked_table(name: str, table: object) -> dict[str, Any]:
    """Return the table, once it has the keys that a device needs, and no other."""
    if not isinstance(table, dict):
        raise DeviceError(f"{name} = {table!r} is no device: wanted a table {_FORM}")
    missing = [key for key in _REQUIRED if key not in table]
    unknown = [key for key in table if key not in (*_REQUIRED, *_OPTIONAL)]
    if missing:
        raise DeviceError(f"device {name} lacks {', '.join(missing)}: give them {_FORM}")
    if unknown:
        raise DeviceError(
            f"device {name} has {', '.join(unknown)}, which means nothing here: "
            f"wanted only {', '.join((*_REQUIRED, *_OPTIONAL))}"
        )
    for key in ("peak", "sustained"):
        if not isinstance(table.get(key, {}), dict):
            raise DeviceError(
                f"{name}.{key} is {table[key]!r}: wanted a table of figures by dtype {_FORM}"
            )
    return table


def _measured(figure: str, entry: object, sources: Mapping[str, str]) -> Measured:
    if not isinstance(entry, dict) or set(entry) - {"spread"} != {"value", "source"}:
        raise DeviceError(
            f"{figure} is {entry!r}: wanted {{ value = NUMBER, source = TEXT }}, "
            "because a figure that nobody can look up is a guess"
        )
    source = _source(figure, entry["source"], sources)
    return Measured(
        value=entry["value"], source=source, spread=entry.get("spread", _spread_in_words(source))
    )


def _spread_in_words(source: str) -> float:
    """Return the spread that `adadecode-device` told in words alone before it had a field."""
    told = _SPREAD.fullmatch(source)
    return float(told["percent"]) / 100 if told else 0.0


def _source(figure: str, text: object, sources: Mapping[str, str]) -> str:
    """Return where a figure is from: the text itself, or the entry of [sources] with this name."""
    return checked_text(
        f"the source of {figure}", sources.get(text, text) if isinstance(text, str) else text
    )


def _bytes(name: str, key: str, table: Mapping[str, Any], unit: int) -> int:
    """Return a size in bytes, given in MiB or GiB."""
    most = BOUNDS["memory_bytes"].high
    check_figure(f"{name}.{key}", table[key], Bounds(1 / unit, most / unit, _UNITS[unit]))
    return round(float(table[key]) * unit)
