"""Facts of the host, from files laid out as Linux does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adadecode.profiles import describe_host
from adadecode.profiles.host import free_memory


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two logical processors of one core: a first-level cache of 32 KiB and a third-level one of 8
    MiB, both shared.
    """
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Example 9000\n\nprocessor\t: 1\nmodel name\t: Example 9000\n"
    )
    (tmp_path / "meminfo").write_text("MemTotal:       1024 kB\nMemFree: 1 kB\n")
    for cpu in ("cpu0", "cpu1"):
        files = {"topology/thread_siblings_list": "0-1\n"}
        for index, level, kind, size in (
            ("index0", "1", "Data", "32K"),
            ("index3", "3", "Unified", "8M"),
        ):
            files |= {
                f"cache/{index}/{name}": value
                for name, value in (
                    ("level", level),
                    ("type", kind),
                    ("size", size),
                    ("shared_cpu_list", "0-1"),
                )
            }
        for name, text in files.items():
            path = tmp_path / "devices/system/cpu" / cpu / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path


def test_a_host_is_described_from_its_files(machine: Path) -> None:
    """A cache that two processors share counts once."""
    host = describe_host(machine, machine)
    assert (host["cpu"], host["cores"], host["memory_bytes"]) == ("Example 9000", 1, 1024 * 1024)
    assert host["caches"] == [
        {"level": 1, "kind": "data", "bytes": 32 * 1024, "count": 1},
        {"level": 3, "kind": "unified", "bytes": 8 * 1024**2, "count": 1},
    ]


def test_a_machine_that_tells_nothing_is_still_described(tmp_path: Path) -> None:
    """None and nothing, but no error."""
    host = describe_host(tmp_path, tmp_path)
    assert (host["cores"], host["caches"]) == (None, [])


def test_this_machine_fits_a_manifest() -> None:
    """Its description is valid on every machine."""
    assert json.loads(json.dumps(describe_host(), allow_nan=False))["python"]


def test_memory_that_is_free_is_what_the_container_may_still_take(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemAvailable:    2048 kB\n")
    assert free_memory(tmp_path, tmp_path) == 2 * 2**20
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_memory(tmp_path, tmp_path) == 2 * 2**20
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_memory(tmp_path, tmp_path) == 4000


def test_the_file_cache_of_a_container_counts_as_free(tmp_path: Path) -> None:
    """A checkpoint that was just read or downloaded fills it; of both generations of cgroups."""
    (tmp_path / "meminfo").write_text("MemAvailable:    2048 kB\n")
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4900\n")
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 3000\n")
    assert free_memory(tmp_path, tmp_path) == 3100
    (tmp_path / "memory").mkdir()
    for name, text in {
        "limit_in_bytes": "4000",
        "usage_in_bytes": "3000",
        "stat": "total_inactive_file 500",
    }.items():
        (tmp_path / "memory" / f"memory.{name}").write_text(text)
    assert free_memory(tmp_path, tmp_path) == 1500
