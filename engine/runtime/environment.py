"""What things run on: devices by name, hardware, software, and the energy counter."""

from __future__ import annotations

import importlib.metadata
import math
import os
from contextlib import suppress
from typing import Any

import torch

from adadecode.profiles.errors import InputError
from adadecode.profiles.host import describe_host

THREADS_A_CORE = 4
"""Most threads for each core: more of them only wait for each other."""


def torch_device(name: str) -> torch.device:
    """Return the device of this name: auto (a GPU where there is one), cpu, cuda or cuda:N.

    Raises:
        InputError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if name != "cpu" and not (kind == "cuda" and (name == "cuda" or index.isdecimal())):
        raise InputError(f"unknown device {name!r}: known are auto, cpu, cuda and cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(index or 0) >= count:
        raise InputError(
            f"wanted the device {name}, torch finds {count} CUDA devices on this machine: use "
            "--device cpu"
        )
    return torch.device(name)


def set_threads(count: int) -> None:
    """Let torch use ``count`` CPU threads.

    Raises:
        InputError: It is fewer than 1, or more than `THREADS_A_CORE` a core.
    """
    if count < 1:
        raise InputError(
            f"wanted --threads of at least 1, got {count}: leave it out for torch's own number"
        )
    cores = os.cpu_count() or 1
    if count > THREADS_A_CORE * cores:
        raise InputError(
            f"wanted --threads of at most {THREADS_A_CORE * cores} on the {cores} cores of this "
            f"machine, got {count}: more only wait for each other"
        )
    torch.set_num_threads(count)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the host, and the GPU if the model is on one: name, driver, memory, clocks, power."""
    about: dict[str, Any] = {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "host": describe_host(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        gpu: dict[str, Any] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
        }
        gpu["l2_bytes"] = getattr(properties, "L2_cache_size", None)
        meter = EnergyMeter(device)
        gpu |= meter.describe()
        about["gpu"] = gpu
    return about


_MEMORY = (
    "out of memory",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What a GPU's libraries (CUDA, NCCL, cuBLAS, cuDNN) write where their own allocation fails.

Torch has no error of its own for it.
"""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a failed allocation, on a GPU or on the host."""
    return (
        isinstance(error, MemoryError)
        or out_of_gpu_memory(error)
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


def out_of_gpu_memory(error: BaseException) -> bool:
    """Return whether an error is a failed allocation on a GPU, by torch's allocator or outside it.

    Outside, it is a ``torch.AcceleratorError``, a ``DistBackendError`` or a plain RuntimeError.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return True
    message = str(error)
    return (
        isinstance(error, RuntimeError)
        and "DefaultCPUAllocator" not in message
        and any(text in message for text in _MEMORY)
    )


def describe_software() -> dict[str, str]:
    """Return the versions of what decides the timings."""
    versions = {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    for package in ("transformers", "numpy", "adadecode"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    for package in ("accelerate", "torchao", "bitsandbytes"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


class EnergyMeter:
    """The GPU's energy counter, through NVML; NaN where there is none."""

    def __init__(self, device: torch.device) -> None:
        self._handle: Any = None
        if device.type != "cuda":
            return
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            index = torch.cuda.current_device() if device.index is None else device.index
            uuid = torch.cuda.get_device_properties(
                index
            ).uuid  # NVML counts devices that CUDA_VISIBLE_DEVICES hides
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            self.joules()
        except Exception:  # noqa: BLE001 -- no NVML, or one that refuses: then there is no counter
            self._handle = None

    def joules(self) -> float:
        """Return the joules since the driver was loaded; NaN where the device hides them."""
        return (
            math.nan
            if self._handle is None
            else self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        )

    def describe(self) -> dict[str, Any]:
        """Return driver, clocks (MHz), temperature (C), power drawn and its limit (W) now.

        What NVML does not give is left out.
        """
        if self._handle is None:
            return {}
        nvml, handle = self._nvml, self._handle
        wanted = {
            "driver": nvml.nvmlSystemGetDriverVersion,
            "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
        }
        values = {}
        for name, read in wanted.items():
            try:
                values[name] = read()
            except nvml.NVMLError:
                continue
        return values
