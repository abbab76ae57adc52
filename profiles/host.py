"""Describe the machine this runs on, without torch. The engine adds what it knows of the GPU."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


def describe_host(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> dict[str, Any]:
    """Return the CPU, memory and system of this machine, ready for a manifest.

    Args:
        proc: Where the system describes its processes.
        sys: Where it describes its hardware.

    Returns:
        ``cpu`` (model name), ``architecture``, ``cores`` (physical), ``threads`` (logical),
        ``usable_threads`` (that this process may run on), ``memory_bytes``, ``caches`` (a
        ``{level, kind, bytes, count}`` for each size and kind, bytes of each one), ``os`` and
        ``python``. None for what is unknown.
    """
    info = _cpuinfo(proc / "cpuinfo")
    return {
        "cpu": info.get("model name") or platform.processor() or None,
        "architecture": platform.machine(),
        "cores": _cores(sys),
        "threads": os.cpu_count(),
        "usable_threads": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": _memory_bytes(proc / "meminfo"),
        "caches": _caches(sys),
        "os": platform.platform(),
        "python": platform.python_version(),
    }


_CONTAINERS = (
    (Path("memory.max"), Path("memory.current"), Path("memory.stat"), "inactive_file"),
    (
        Path("memory/memory.limit_in_bytes"),
        Path("memory/memory.usage_in_bytes"),
        Path("memory/memory.stat"),
        "total_inactive_file",
    ),
)
"""Files of both generations of cgroups: the limit, what is taken, and its file cache.

The kernel gives the file cache back before it refuses memory.
"""


def free_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the bytes that a program can still take, of the machine or of its container.

    None where nothing tells.
    """
    free = _pairs(proc / "meminfo").get("MemAvailable:")
    if free is not None:
        free *= 1024
    else:
        try:
            import psutil  # optional: only machines without /proc need it
        except ImportError:
            return None
        free = int(psutil.virtual_memory().available)
    for limit, usage, stat, cached in _CONTAINERS:
        most, taken = (_text(cgroup / name).strip() for name in (limit, usage))
        if most.isdecimal() and taken.isdecimal():
            held = int(taken) - _pairs(cgroup / stat).get(cached, 0)
            free = min(free, max(0, int(most) - max(0, held)))
    return free


def _pairs(path: Path) -> dict[str, int]:
    """Return the numbers of a file with lines ``NAME NUMBER ...``, by name."""
    words = (line.split() for line in _text(path).splitlines())
    return {found[0]: int(found[1]) for found in words if len(found) > 1 and found[1].isdecimal()}


def _cpuinfo(path: Path) -> dict[str, str]:
    """Return the first processor of /proc/cpuinfo; empty where there is none."""
    first = _text(path).split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory_bytes(path: Path) -> int | None:
    """Return MemTotal of /proc/meminfo; elsewhere the answer of psutil, if it is installed."""
    total = _pairs(path).get("MemTotal:")
    if total is not None:
        return total * 1024
    try:
        import psutil  # optional: only machines without /proc need it
    except ImportError:
        return None
    return int(psutil.virtual_memory().total)


def _cores(sys: Path) -> int | None:
    """Count the physical cores: logical ones that share a core list the same siblings."""
    siblings = {
        _text(path)
        for path in (sys / "devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    }
    return len(siblings) or None


def _caches(sys: Path) -> list[dict[str, Any]]:
    """Return the distinct caches of all cores, inner ones first."""
    found: set[tuple[int, str, int, str]] = set()
    for index in (sys / "devices/system/cpu").glob("cpu[0-9]*/cache/index*"):
        level, kind, size, shared = (
            _text(index / name).strip() for name in ("level", "type", "size", "shared_cpu_list")
        )
        if level.isdigit() and size[:-1].isdigit() and size[-1] in _UNITS:
            found.add((int(level), kind.lower(), int(size[:-1]) * _UNITS[size[-1]], shared))
    kinds = sorted({(level, kind, size) for level, kind, size, _ in found})
    return [
        {
            "level": level,
            "kind": kind,
            "bytes": size,
            "count": sum(cache[:3] == (level, kind, size) for cache in found),
        }
        for level, kind, size in kinds
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
