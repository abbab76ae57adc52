"""A measured device as an entry of a hardware catalogue, checked as every entry is.

The catalogue is ``profiles/catalog/hardware.toml``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from adadecode.engine.runtime.device_benchmark import (
    BEYOND_CACHE,
    BYTES,
    FLOPS,
    Bench,
    BenchmarkDevice,
)
from adadecode.profiles.catalog.device_checks import CPU
from adadecode.profiles.catalog.devices import Device, read_devices
from adadecode.profiles.errors import DeviceError
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_path import check_output_file
from adadecode.profiles.part_file import PartFile

SUSPICIOUS = 1.9
"""Least ratio of a given peak to the measured one that is suspicious.

Large matmuls of the catalogue reach 0.6 of a dense peak or more, which is 1.65, and half of that of
a sparse one.
"""

SCATTERED = 0.25
"""Least spread of a benchmark that is warned of.

Something else ran there, and its median may be off by as much as an estimate from a datasheet is.
"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class DatasheetFigures:
    """What the user knows from a datasheet; None or absent where they do not.

    Attributes:
        bandwidth: Bytes per second.
        peaks: FLOP per second by dtype.
        watts: Thermal design power.
        memory_gib: Memory as marketed, in GiB.
        title: The device's name.
        vendor: Its vendor.
        datasheet: Where the figures are from.
    """

    bandwidth: float | None = None
    peaks: Mapping[str, float] = field(default_factory=dict)
    watts: float | None = None
    memory_gib: float | None = None
    title: str | None = None
    vendor: str | None = None
    datasheet: str | None = None


def check_target(name: str, out: Path) -> None:
    """Raise InputError where an entry of this name could not be written to ``out``."""
    if not _NAME.fullmatch(name) or name == "sources":
        raise DeviceError(
            "wanted a name of letters, digits, dots and dashes as --name, such as my-gpu, got "
            f"{name!r}"
        )
    if out.suffix != ".toml":
        raise DeviceError(
            f"wanted a file that ends in .toml as --out, such as {name}.toml, got {out}: by that "
            "it is known later"
        )
    if out.exists():
        raise DeviceError(f"{out} exists and is not overwritten: name another file, or remove it")
    check_output_file(out)


def fastest(benches: Iterable[Bench]) -> dict[str, Bench]:
    """Return the benchmark with the highest median of each kind: "bandwidth", or a dtype."""
    best: dict[str, Bench] = {}
    for bench in benches:
        what = "bandwidth" if bench.unit == BYTES else bench.name
        if what not in best or bench.median > best[what].median:
            best[what] = bench
    return best


def entry(
    name: str, place: BenchmarkDevice, benches: Sequence[Bench], given: DatasheetFigures
) -> str:
    """Return the entry as TOML.

    Where a figure of the datasheet is not given, the measured one takes its place, and
    ``datasheet`` says so.

    Args:
        name: Name of the entry.
        place: The device.
        benches: The benchmarks, measured.
        given: What is known from a datasheet.

    Raises:
        DeviceError: Bandwidth or matmuls were not measured.
    """
    best = fastest(benches)
    matmuls = {what: bench for what, bench in best.items() if bench.unit == FLOPS}
    if "bandwidth" not in best or not matmuls:
        raise DeviceError(
            f"nothing was measured on {place.title}: wanted its bandwidth, and matmuls of one "
            "dtype at least"
        )
    bandwidth = given.bandwidth or best["bandwidth"].median
    peaks = {**{dtype: bench.median for dtype, bench in matmuls.items()}, **given.peaks}
    peak_fields = ", ".join(f"{dtype} = {_number(value)}" for dtype, value in peaks.items())
    measured = [] if given.bandwidth else ["bandwidth"]
    measured += [f"peak {dtype}" for dtype in matmuls if dtype not in given.peaks]
    lines = [
        f"[{_key(name)}]",
        f"title = {_text(given.title or place.title)}",
        f"vendor = {_text(given.vendor or place.title.split()[0])}",
        f"architecture = {_text(CPU if place.device.type == 'cpu' else 'other')}",
        f"memory_gib = {_number(given.memory_gib or place.memory_bytes / 2**30)}",
        f"bandwidth = {_number(bandwidth)}",
        f"peak = {{ {peak_fields} }}",
        *([f"l2_mib = {_number(place.cache_bytes / 2**20)}"] if place.cache_bytes else []),
        *([f"tdp_w = {_number(given.watts)}"] if given.watts else []),
        f"datasheet = {_text(_origin(place, given, measured))}",
    ]
    lines += [f"sustained.{what} = {_measured(place, bench)}" for what, bench in best.items()]
    return "\n".join(lines) + "\n"


def doubtful_peaks(benches: Sequence[Bench], given: DatasheetFigures) -> list[str]:
    """Return the dtypes whose given peak is so high that it is likely to be the one with sparsity.

    FP32 has none.
    """
    best = fastest(benches)
    compared = [dtype for dtype in given.peaks if dtype != "fp32" and dtype in best]
    return [dtype for dtype in compared if given.peaks[dtype] > SUSPICIOUS * best[dtype].median]


def scattered(benches: Sequence[Bench]) -> list[Bench]:
    """Return the benchmarks whose figure is written and whose repeats lay far apart."""
    return [bench for bench in fastest(benches).values() if bench.spread > SCATTERED]


@contextmanager
def reserved(out: Path) -> Iterator[PartFile]:
    """Hold a file that is to be written, so that no other process measures for it meanwhile.

    Where the block is left before `write_entry`, nothing stays.

    Raises:
        InputError: Another process holds it, or it cannot be written.
    """
    with ExitStack() as stack:
        with refusing(out):
            part = stack.enter_context(PartFile(out))
        yield part


def write_entry(text: str, name: str, part: PartFile) -> Device:
    """Write the text, check it as the catalogue is checked, and return the device.

    Args:
        text: The entry.
        name: Its name.
        part: The file, as `reserved` gives it. Nothing stays where an error is raised.

    Raises:
        DeviceError: The entry is wrong, or the file exists.
        InputError: The file cannot be written.
    """
    out = part.place
    with refusing(out):
        part.write(text.encode())
        part.sync()
    device = read_devices(part.path)[name]
    if out.exists():  # it came up while the device was measured
        raise DeviceError(f"{out} exists and is not overwritten: name another file, or remove it")
    with refusing(out):
        part.move()
    return device


def _origin(place: BenchmarkDevice, given: DatasheetFigures, measured: Sequence[str]) -> str:
    """Return where the figures are from, and which of them are no datasheet's."""
    words = (
        [given.datasheet]
        if given.datasheet
        else ["figures given to adadecode-device"]
        if given.bandwidth or given.peaks
        else []
    )
    if measured:
        words.append(
            f"not from a datasheet but measured by adadecode-device: {', '.join(measured)}"
        )
    memory = (
        "as marketed"
        if given.memory_gib
        else "as the driver tells it"
        if place.device.type == "cuda"
        else "all of this machine's"
    )
    return "; ".join([*words, f"memory {memory}"])


def _measured(place: BenchmarkDevice, bench: Bench) -> str:
    """Return a figure with how it came about."""
    threads = (
        f", {(n := torch.get_num_threads())} thread{'s' if n > 1 else ''}"
        if place.device.type == "cpu"
        else ""
    )
    inside = ""
    if (
        bench.unit == BYTES
        and place.cache_bytes
        and bench.amount < BEYOND_CACHE * place.cache_bytes
    ):
        inside = f", NOT beyond caches of {place.cache_bytes / 2**20:.6g} MiB"
    words = (
        f"adadecode-device: {bench.name}, {bench.size}{inside}, torch "
        f"{torch.__version__}{threads}, "
        f"median of {len(bench.rates)}, spread {bench.spread:.1%}, {datetime.now(UTC).date()}"
    )
    value, spread = _number(bench.median), _number(bench.spread)
    return f"{{ value = {value}, spread = {spread}, source = {_text(words)} }}"


def _key(name: str) -> str:
    return _text(name) if "." in name else name


def _text(words: str) -> str:
    """Return a TOML string.

    JSON's escapes are TOML's, once no character is left to escape as a surrogate pair.
    """
    return json.dumps("".join(c for c in words if c.isprintable()), ensure_ascii=False)


def _number(value: float) -> str:
    return f"{value:.6g}"
