"""A measured device as an entry of the catalogue: what stands where, and what is refused."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adadecode.engine.runtime.catalogue_entry import (
    DatasheetFigures,
    check_target,
    doubtful_peaks,
    entry,
    reserved,
    scattered,
    write_entry,
)
from adadecode.engine.runtime.device_benchmark import BYTES, FLOPS, Bench, BenchmarkDevice
from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.errors import DeviceError, InputError
from tests.support.failing_disk import Fault, failing_disk, steps_of

PLACE = BenchmarkDevice(
    device=torch.device("cpu"),
    title='ACME "Anvil" 9',
    memory_bytes=12 * 2**30,
    free_bytes=2**33,
    cache_bytes=2**20,
)


def bench(name: str, unit: str, *rates: float, amount: float = 2.0**30) -> Bench:
    return Bench(
        name=name,
        size="large",
        unit=unit,
        amount=amount,
        prepare=lambda: lambda: None,
        rates=list(rates),
    )


BENCHES = [
    bench("read", BYTES, 9e10, 1e11, 1.1e11),
    bench("copy", BYTES, 8e10),
    bench("fp32", FLOPS, 1e12),
    bench("fp32", FLOPS, 2e12),
]


def written(
    tmp_path: Path,
    given: DatasheetFigures | None = None,
    place: BenchmarkDevice = PLACE,
    name: str = "anvil",
) -> Device:
    out = tmp_path / "mine.toml"
    with reserved(out) as part:
        device = write_entry(entry(name, place, BENCHES, given or DatasheetFigures()), name, part)
    assert device == find_device(out)
    return device


def test_what_was_measured_stands_for_a_datasheet_that_nobody_gave(tmp_path: Path) -> None:
    """The fastest kernel and the fastest matrices, by their medians."""
    device = written(tmp_path)
    assert (device.architecture, device.bandwidth, device.peak_flops) == (
        "cpu",
        1e11,
        {"fp32": 2e12},
    )
    assert (
        "not from a datasheet but measured by adadecode-device: bandwidth, peak fp32"
        in device.datasheet
    )
    assert device.sustained_bandwidth is not None
    assert device.sustained_bandwidth.source.startswith("adadecode-device: read, large")
    assert (device.sustained_bandwidth.value, device.sustained_flops["fp32"].value) == (1e11, 2e12)
    assert (device.memory_bytes, device.l2_bytes, device.tdp_watts) == (12 * 2**30, 2**20, None)


def test_how_far_the_repeats_lay_apart_is_written_and_warned_of(tmp_path: Path) -> None:
    """A fifth is written alone; of the slower benchmarks of a kind nothing is."""
    device = written(tmp_path)
    assert device.sustained_bandwidth is not None
    assert device.sustained_bandwidth.spread == pytest.approx(0.2)
    assert device.sustained_flops["fp32"].spread == 0
    wild = bench("triad", BYTES, 1e11, 2e11, 7.72e11)
    slower = bench("copy", BYTES, 1e10, 9e10)
    assert scattered(BENCHES) == []
    assert scattered([*BENCHES, slower, wild]) == [wild]
    assert wild.spread == pytest.approx(3.36)


def test_a_gpu_is_written_as_another_architecture(tmp_path: Path) -> None:
    place = replace(PLACE, device=torch.device("cuda"))
    assert written(tmp_path, place=place).architecture == "other"


def test_figures_of_a_datasheet_stand_beside_what_was_measured(tmp_path: Path) -> None:
    given = DatasheetFigures(
        bandwidth=1.2e11,
        peaks={"fp32": 3e12, "bf16": 6e12},
        watts=75.0,
        memory_gib=16,
        datasheet="ACME 2031, https://acme.example",
    )
    device = written(tmp_path, given)
    assert (device.bandwidth, device.peak_flops, device.tdp_watts) == (
        1.2e11,
        {"fp32": 3e12, "bf16": 6e12},
        75.0,
    )
    assert device.datasheet == "ACME 2031, https://acme.example; memory as marketed"
    assert device.sustained_flops["fp32"].value == 2e12
    assert device.memory_bytes == 16 * 2**30


def test_a_measurement_within_the_caches_says_so(tmp_path: Path) -> None:
    device = written(tmp_path, place=replace(PLACE, cache_bytes=2**29))
    assert device.sustained_bandwidth is not None
    assert "NOT beyond caches of 512 MiB" in device.sustained_bandwidth.source


def test_names_and_titles_are_quoted_where_toml_asks_for_it(tmp_path: Path) -> None:
    device = written(tmp_path, DatasheetFigures(title="Über\n\x7f😀 \\ 1"), name="gpu-2.5")
    assert (device.name, device.title) == ("gpu-2.5", "Über😀 \\ 1")


def test_a_datasheet_below_what_was_measured_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    out = tmp_path / "mine.toml"
    text = entry("anvil", PLACE, BENCHES, DatasheetFigures(bandwidth=3e10))
    with (
        pytest.raises(
            DeviceError, match=r"anvil.sustained.bandwidth is 1e\+11, above the datasheet's 3e\+10"
        ),
        reserved(out) as part,
    ):
        write_entry(text, "anvil", part)
    assert not list(tmp_path.iterdir())


def test_a_sparse_peak_is_suspected() -> None:
    """It is twice the dense one, of which large matmuls reach 0.6. FP32 has no sparse one."""
    matmuls = [bench("fp16", FLOPS, 7e14), bench("fp32", FLOPS, 1e12)]
    assert doubtful_peaks(matmuls, DatasheetFigures(peaks={"fp16": 1979e12, "fp32": 9e12})) == [
        "fp16"
    ]
    assert doubtful_peaks(matmuls, DatasheetFigures(peaks={"fp16": 989e12})) == []


def test_without_a_matmul_there_is_no_entry() -> None:
    with pytest.raises(DeviceError, match="nothing was measured on ACME"):
        entry("anvil", PLACE, BENCHES[:2], DatasheetFigures())


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("my gpu", "a.toml", "wanted a name of letters, digits, dots and dashes as --name"),
        ("sources", "a.toml", "got 'sources'"),
        ("gpu", "a.txt", "wanted a file that ends in .toml as --out, such as gpu.toml"),
        ("gpu", "old.toml", "old.toml exists and is not overwritten"),
        ("gpu", "gone/a.toml", "cannot write .*a.toml, the directory .*gone does not exist"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_refused_before_measuring(
    tmp_path: Path, name: str, file: str, message: str
) -> None:
    (tmp_path / "old.toml").write_text("")
    with pytest.raises(InputError, match=message):
        check_target(name, tmp_path / file)


def test_a_file_that_came_up_in_the_meantime_stays(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    text = entry("anvil", PLACE, BENCHES, DatasheetFigures())
    with reserved(out) as part:
        out.write_text("theirs")
        with pytest.raises(DeviceError, match="exists and is not overwritten"):
            write_entry(text, "anvil", part)
    assert out.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_nobody_measures_for_a_file_that_another_process_measures_for(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    with (
        reserved(out),
        pytest.raises(InputError, match=r"another process is writing .*mine\.toml: wait for it"),
        reserved(out),
    ):
        pytest.fail("both hold it")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_no_file_and_the_command_can_be_run_again(
    tmp_path: Path, number: int
) -> None:
    """At any step. What stays at the last ones is the whole file."""
    text = entry("anvil", PLACE, BENCHES, DatasheetFigures())
    out = tmp_path / "mine.toml"

    def write() -> None:
        with reserved(out) as part:
            write_entry(text, "anvil", part)

    for at in range(len(steps_of(tmp_path, write))):
        out.unlink(missing_ok=True)
        with (
            failing_disk(tmp_path, Fault(at=at, outcome=number)),
            suppress(InputError),
        ):
            write()
        assert not out.exists() or find_device(out).name == "anvil"
        assert {path.name for path in tmp_path.iterdir()} <= {"mine.toml"}
        if not out.exists():
            check_target("anvil", out)
            write()


def test_what_a_killed_process_left_does_not_hinder_the_next(tmp_path: Path) -> None:
    (tmp_path / "mine.toml.part").write_text("[anvil]")
    check_target("anvil", tmp_path / "mine.toml")
    written(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize("kind", ["link", "pipe", "dangling"])
def test_what_is_no_file_is_not_written_to(tmp_path: Path, kind: str) -> None:
    out, kept = tmp_path / "mine.toml", tmp_path / "kept.toml"
    if kind == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to(kept)
    if kind == "link":
        kept.write_text("kept")
    with pytest.raises(InputError, match=r"is not overwritten|it is a link to"):
        check_target("anvil", out)
    assert kept.exists() == (kind == "link")
