"""What a device sustains, measured with torch: bandwidth far beyond its caches, and large matmuls.

This needs torch and numpy but no model and no ``transformers``, so that it runs on whatever machine
has the device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.errors import DeviceError
from adadecode.profiles.host import describe_host, free_memory

BYTES, FLOPS = "B", "FLOP"

Lap = Callable[[], object]
"""Does the work once."""

BEYOND_CACHE = 4
"""Least size of an array, in sizes of the last-level cache.

A smaller one would measure the cache. This is STREAM's rule (https://www.cs.virginia.edu/stream/ref.html).
"""
ARRAY_BYTES = {"cuda": 2**30, "cpu": 2**28}
"""Bytes of one array where caches allow and memory is free.

A GPU then works on it for a quarter of a millisecond or more, next to which a launch is nothing.
"""
MATRIX_SIZES = {"cuda": (4096, 8192), "cpu": (1024, 2048)}
"""Rows of square matrices: large enough to be bound by products. The fastest counts."""
PROBE_SIZE = 256
LONGEST_LAP_S = 2.0
"""Seconds: no matmul that would take longer is done.

A CPU without units for a dtype is measured on smaller ones.
"""
WINDOW_S = 0.05
"""Seconds that a timing spans at least, next to which clocks and synchronisation are nothing."""
FREE_SHARE = 0.5
"""Share of the memory that is free now of which no more is taken: others use the device too."""
DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.float8_e4m3fn,
    "int8": torch.int8,
}


@dataclass(frozen=True, kw_only=True)
class BenchmarkDevice:
    """A device to measure.

    Attributes:
        device: The torch device.
        title: Its name.
        memory_bytes: All of its memory.
        free_bytes: What is free now.
        cache_bytes: Its last-level caches together; None where unknown.
    """

    device: torch.device
    title: str
    memory_bytes: int
    free_bytes: int
    cache_bytes: int | None

    @property
    def room(self) -> int:
        """Bytes that may be taken at once."""
        return int(FREE_SHARE * self.free_bytes)


@dataclass(kw_only=True)
class Bench:
    """One benchmark.

    Attributes:
        name: What is measured.
        size: How large, in words.
        unit: Bytes or FLOPs.
        amount: Bytes or FLOPs of a lap.
        prepare: Allocates what a lap needs and returns the lap.
        rates: Amount per second of each repeat.
    """

    name: str
    size: str
    unit: str
    amount: float
    prepare: Callable[[], Lap]
    rates: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Bytes or FLOPs per second."""
        return float(np.median(self.rates))

    @property
    def spread(self) -> float:
        """How far the fastest and the slowest repeat lie apart, over the median."""
        return (max(self.rates) - min(self.rates)) / self.median


def find_device(name: str) -> BenchmarkDevice:
    """Return the device of this name: auto (a GPU where there is one), cpu, cuda or cuda:N.

    Raises:
        InputError: There is no such device.
        DeviceError: The machine hides how much memory it has.
    """
    device = torch_device(name)
    return _cpu() if device.type == "cpu" else _gpu(device)


def _gpu(device: torch.device) -> BenchmarkDevice:
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return BenchmarkDevice(
        device=device,
        title=properties.name,
        memory_bytes=total,
        free_bytes=free,
        cache_bytes=getattr(properties, "L2_cache_size", None) or None,
    )


def _cpu() -> BenchmarkDevice:
    host = describe_host()
    free = free_memory()
    if host["memory_bytes"] is None or free is None:
        raise DeviceError(
            "this machine does not tell how much memory it has: install psutil, which knows"
        )
    last = max((cache["level"] for cache in host["caches"]), default=0)
    caches = [cache["bytes"] * cache["count"] for cache in host["caches"] if cache["level"] == last]
    return BenchmarkDevice(
        device=torch.device("cpu"),
        title=host["cpu"] or host["architecture"],
        memory_bytes=host["memory_bytes"],
        free_bytes=free,
        cache_bytes=sum(caches) or None,
    )


def array_size(place: BenchmarkDevice, wanted: int | None = None) -> int:
    """Return the bytes of one array of the bandwidth benchmarks, which hold three at once.

    Args:
        place: The device.
        wanted: Bytes that the user wants; far beyond the caches by default.

    Raises:
        DeviceError: The arrays do not fit into what may be taken.
    """
    least = BEYOND_CACHE * (place.cache_bytes or 0)
    size = wanted or max(least, min(ARRAY_BYTES[place.device.type], place.room // 3))
    if 3 * size > place.room:
        raise DeviceError(
            f"measuring needs {3 * size / 2**20:.0f} MiB on {place.title}, of "
            f"{place.free_bytes / 2**20:.0f} MiB free no more than "
            f"{place.room / 2**20:.0f} are taken: end other programs there, or give a smaller "
            "--array-mib"
        )
    return size


def bandwidth_benches(place: BenchmarkDevice, size: int) -> list[Bench]:
    """Return the benchmarks read, copy and triad (a = b + s c) of FP32 arrays.

    Bytes are counted as STREAM does: what the program reads and writes.

    Args:
        place: The device.
        size: Bytes of one array.
    """
    n, device = max(1, size // 4), place.device

    def arrays(count: int) -> list[torch.Tensor]:
        return [torch.full((n,), 0.5, device=device) for _ in range(count)]

    def read() -> Lap:
        (a,) = arrays(1)
        return a.sum

    def copy() -> Lap:
        a, b = arrays(2)
        return partial(a.copy_, b)

    def triad() -> Lap:
        a, b, c = arrays(3)
        return partial(torch.add, b, c, alpha=0.4, out=a)

    words = f"{4 * n / 2**20:.6g} MiB arrays"
    return [
        Bench(name=name, size=words, unit=BYTES, amount=4.0 * n * passes, prepare=prepare)
        for name, passes, prepare in (("read", 1, read), ("copy", 2, copy), ("triad", 3, triad))
    ]


def matmul_benches(place: BenchmarkDevice, dtype: str, sizes: Sequence[int]) -> list[Bench]:
    """Return square matmuls of random numbers, as far as memory and `LONGEST_LAP_S` allow.

    Args:
        place: The device.
        dtype: A key of `DTYPES`.
        sizes: Rows of the matrices.

    Raises:
        RuntimeError: Torch has no product of this dtype there.
    """

    def bench(n: int) -> Bench:
        return Bench(
            name=dtype,
            size=f"{n} x {n}",
            unit=FLOPS,
            amount=2.0 * n**3,
            prepare=partial(_matmul, place.device, dtype, n),
        )

    probe = min(PROBE_SIZE, *sizes)
    lap = bench(probe).prepare()
    lap()
    rate = 2.0 * probe**3 / min(_seconds(lap, place.device, 1) for _ in range(3))
    held = {"fp8": 4, "int8": 6}.get(
        dtype, 3 * DTYPES[dtype].itemsize
    )  # two matrices and the wider result
    fitting = [
        n for n in sizes if 2.0 * n**3 / rate <= LONGEST_LAP_S and (held + 4) * n**2 <= place.room
    ]  # 4: made from FP32
    return [bench(n) for n in fitting or [probe]]


def _matmul(device: torch.device, dtype: str, n: int) -> Lap:
    """Return a matmul with its operands in memory.

    FP32 is done without TF32. The others add up in FP32, or INT32, as torch has them.
    """
    kind = DTYPES[dtype]
    if dtype == "int8":
        left, right = (
            torch.randint(-127, 128, (n, n), dtype=kind, device=device) for _ in range(2)
        )
        return partial(torch._int_mm, left, right.t())
    left, right = (torch.randn(n, n, device=device).to(kind) for _ in range(2))
    if dtype == "fp8":
        one = torch.ones((), device=device)
        return partial(torch._scaled_mm, left, right.t(), one, one, out_dtype=torch.bfloat16)
    return partial(torch.mm, left, right, out=torch.empty(n, n, dtype=kind, device=device))


def usual_dtypes(place: BenchmarkDevice) -> tuple[str, ...]:
    """Return the dtypes that are worth measuring on a device.

    8-bit types are on a GPU alone, and BF16 on a GPU only where the hardware has it.
    """
    if place.device.type == "cpu":
        return ("fp32", "fp16", "bf16")
    with torch.cuda.device(place.device):
        real = torch.cuda.is_bf16_supported(including_emulation=False)
    return ("fp32", "fp16", *(("bf16",) if real else ()), "fp8", "int8")


def measure(
    place: BenchmarkDevice,
    benches: Sequence[Bench],
    repeats: int,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Run every benchmark in turn, ``repeats`` times, and add the rates to each.

    In turn, because what disturbs the machine then disturbs all of them.

    Args:
        place: The device.
        benches: The benchmarks.
        repeats: How often each is measured.
        tick: Called after each measurement.

    Raises:
        DeviceError: Memory runs out.
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        for _ in range(repeats):
            for bench in benches:
                lap = bench.prepare()
                lap()  # warm: memory touched, kernels chosen
                laps = math.ceil(WINDOW_S / max(_seconds(lap, place.device, 1), 1e-6))
                bench.rates.append(laps * bench.amount / _seconds(lap, place.device, laps))
                del lap  # and what it holds, before the next is prepared
                tick()
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"the memory of {place.title} does not suffice for {bench.name} of {bench.size}: end "
            "other programs there"
        ) from error
    finally:
        torch.set_float32_matmul_precision(precision)


def _seconds(lap: Lap, device: torch.device, laps: int) -> float:
    """Return the seconds that ``laps`` laps take, with the device idle before and after."""
    _wait(device)
    began = time.perf_counter()
    for _ in range(laps):
        lap()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
