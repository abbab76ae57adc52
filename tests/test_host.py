"""Facts of the host, from files laid out as Linux does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiles import describe_host


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two logical processors of one core: a first-level cache of 32 KiB and a third-level one of 8 MiB, both shared."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Example 9000\n\nprocessor\t: 1\nmodel name\t: Example 9000\n")
    (tmp_path / "meminfo").write_text("MemTotal:       1024 kB\nMemFree: 1 kB\n")
    for cpu in ("cpu0", "cpu1"):
        files = {"topology/thread_siblings_list": "0-1\n"}
        for index, level, kind, size in (("index0", "1", "Data", "32K"), ("index3", "3", "Unified", "8M")):
            files |= {
                f"cache/{index}/{name}": value
                for name, value in (("level", level), ("type", kind), ("size", size), ("shared_cpu_list", "0-1"))
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
    """Whatever it is."""
    assert json.loads(json.dumps(describe_host(), allow_nan=False))["python"]
