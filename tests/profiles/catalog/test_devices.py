"""The hardware catalogue: what it holds, what it refuses, and what a user's own file may say."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest

from adadecode import profiles
from adadecode.profiles.catalog.devices import (
    ALIKE,
    TEMPLATE,
    Device,
    Measured,
    catalogue,
    find_device,
)
from adadecode.profiles.errors import DeviceError, ShapeError

NAMED = """a100-40gb-sxm a100-80gb-sxm a100-80gb-pcie h100-sxm h100-pcie h200-sxm b200-sxm a40 l40s
    a10g l4 t4 rtx-4090 rtx-3060-12gb
    rtx-3060-8gb v100-sxm v100-pcie mi300x tpu-v4 tpu-v5e
    h20-sxm b300-sxm gb200 gb300 rtx-pro-6000 rtx-pro-6000-server rtx-5090 mi325x mi355x tpu-v6e
    gaudi-3 apple-m1-max apple-m1-ultra""".split()
# With sparsity, or (RTX) of FP16 sums: none of these is the dense FP16 or BF16 peak of FP32 sums.
SPARSE = {
    "h100-sxm": 1979e12,
    "h100-pcie": 1513e12,
    "h200-sxm": 1979e12,
    "a100-80gb-sxm": 624e12,
    "a100-40gb-sxm": 624e12,
    "b200-sxm": 4500e12,
}
SPARSE |= {
    "l40s": 733e12,
    "l4": 242e12,
    "a40": 299.4e12,
    "a10g": 140e12,
    "rtx-4090": 330.3e12,
    "rtx-3060-12gb": 51e12,
    "mi300x": 2614.9e12,
    "b300-sxm": 4500e12,
    "rtx-pro-6000": 1007.6e12,
    "mi355x": 5033.2e12,
}
NOT_TENSOR = {
    "rtx-4090": 82.6e12,
    "l4": 30.3e12,
    "a100-80gb-sxm": 78e12,
    "h100-sxm": 133.8e12,
    "t4": 16.2e12,
    "v100-sxm": 31.4e12,
}


def figures(name: str, **changed: object) -> dict[str, object]:
    return vars(catalogue()[name]) | changed


def with_fp16(name: str, flops: float) -> dict[str, object]:
    """A device whose fp16 and bf16 peaks are these; no other dtype gives them away."""
    return figures(
        name,
        peak_flops={"fp16": flops}
        | ({"bf16": flops} if "bf16" in catalogue()[name].peak_flops else {}),
        sustained_flops={},
    )


def test_every_device_that_must_be_there_is() -> None:
    assert set(NAMED) <= set(catalogue())


def test_figures_are_in_bytes_flops_and_seconds() -> None:
    device = find_device("a100-80gb-sxm")
    assert (device.memory_bytes, device.bandwidth, device.peak("bf16"), device.tdp_watts) == (
        80 * 2**30,
        2039e9,
        312e12,
        400,
    )
    assert device.l2_bytes == 40 * 2**20


@pytest.mark.parametrize(
    ("name", "dtype", "flops", "bandwidth", "gib"),
    [
        ("h20-sxm", "bf16", 148e12, 4000e9, 96),
        ("b300-sxm", "fp8", 4500e12, 8000e9, 270),
        ("gb200", "bf16", 2500e12, 8000e9, 186),
        ("gb300", "fp8", 5000e12, 8000e9, 279),
        ("rtx-pro-6000", "bf16", 503.8e12, 1792e9, 96),
        ("rtx-pro-6000-server", "bf16", 500e12, 1597e9, 96),
        ("mi325x", "fp8", 2614.9e12, 6000e9, 256),
        ("mi355x", "bf16", 2516.6e12, 8000e9, 288),
        ("tpu-v6e", "int8", 1836e12, 1638e9, 32),
        ("gaudi-3", "fp8", 1835e12, 3670e9, 128),
        ("apple-m1-ultra", "fp32", 20.8e12, 800e9, 128),
    ],
)
def test_newer_devices_have_the_figures_of_their_datasheets(
    name: str, dtype: str, flops: float, bandwidth: float, gib: int
) -> None:
    """Dense, of one GPU or chip."""
    device = find_device(name)
    assert device.peak(dtype) == flops
    assert (device.bandwidth, device.memory_bytes) == (bandwidth, gib * 2**30)


def test_every_figure_has_a_source_to_look_up() -> None:
    for device in catalogue().values():
        measured = [
            device.sustained_bandwidth,
            *(getattr(device, name) for name in ALIKE),
            *device.sustained_flops.values(),
        ]
        assert all(
            "https://" in source
            for source in (device.datasheet, *(one.source for one in measured if one))
        ), device.name


def test_what_nobody_measured_is_none_not_the_datasheet() -> None:
    device = find_device("tpu-v4")
    assert (
        device.sustained_bandwidth
        is device.lbm_bandwidth
        is device.read_bandwidth
        is device.dot_bandwidth
        is None
    )
    assert device.sustained_flops == {}


@pytest.mark.parametrize(
    ("family", "least"), [("lbm_bandwidth", 20), ("read_bandwidth", 5), ("dot_bandwidth", 3)]
)
def test_bandwidths_for_ratios_are_all_of_one_benchmark(family: str, least: int) -> None:
    measured = [one for device in catalogue().values() if (one := getattr(device, family))]
    assert len(measured) >= least
    assert len({one.source for one in measured}) == 1


def test_lattice_boltzmann_bandwidth_is_whole_cell_updates_of_153_bytes() -> None:
    measured = {
        name: device.lbm_bandwidth.value
        for name, device in catalogue().items()
        if device.lbm_bandwidth
    }
    assert all(
        value / 153e6 == pytest.approx(round(value / 153e6), rel=1e-12)
        for value in measured.values()
    )
    assert (measured["a100-80gb-sxm"], measured["a40"]) == (10228 * 153e6, 3378 * 153e6)


def test_lattice_boltzmann_streaming_is_slower_than_a_plain_read_of_the_same_memory() -> None:
    for device in catalogue().values():
        if device.lbm_bandwidth:
            assert 0.6 * device.bandwidth < device.lbm_bandwidth.value < 0.95 * device.bandwidth, (
                device.name
            )
            assert (
                not device.read_bandwidth
                or device.lbm_bandwidth.value < device.read_bandwidth.value
            ), device.name


@pytest.mark.parametrize("name", ["a10g", "v100-sxm", "v100-32gb-pcie", "rtx-3060-8gb"])
def test_a_figure_of_another_memory_version_is_not_taken_over(name: str) -> None:
    assert find_device(name).lbm_bandwidth is None


def test_a_dtype_the_device_lacks_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"t4 has no bf16 peak \(it has fp32, fp16, int8\)"):
        find_device("t4").peak("bf16")


def test_a_device_travels_to_worker_processes_and_can_be_a_key() -> None:
    device = find_device("l4")
    assert copy.deepcopy(device) == device  # as pickle does it
    assert {device: 1}[device] == 1


@pytest.mark.parametrize("name", sorted(SPARSE))
def test_a_sparse_peak_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"{name}: fp16 peak .*looks like the peak with sparsity"):
        Device(**with_fp16(name, SPARSE[name]))


@pytest.mark.parametrize("name", sorted(NOT_TENSOR))
def test_a_peak_without_tensor_cores_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="looks like the peak without tensor cores"):
        Device(**with_fp16(name, NOT_TENSOR[name]))


def test_a_sparse_int8_peak_shows_in_its_ratio_to_fp16() -> None:
    peaks = {"fp16": 312e12, "int8": 1248e12}
    with pytest.raises(
        DeviceError, match=r"int8 peak is 1.248e\+15 FLOP/s, wanted about 6.24e\+14"
    ):
        Device(**figures("a100-80gb-sxm", peak_flops=peaks, sustained_flops={}))


def test_without_fp16_the_other_peaks_are_held_against_bf16() -> None:
    peaks = {"bf16": 121e12, "fp8": 242.5e12, "int8": 242.5e12}
    assert Device(**figures("l4", peak_flops=peaks, sustained_flops={})).peak("int8") == 242.5e12
    for dtype in ("fp8", "int8"):
        with pytest.raises(
            DeviceError,
            match=rf"{dtype} peak is 9.99e\+14 FLOP/s, "
            r"wanted about 2.42e\+14 \(twice its bf16 peak",
        ):
            Device(**figures("l4", peak_flops=peaks | {dtype: 999e12}, sustained_flops={}))


def test_bf16_on_a_gpu_that_has_none_is_refused() -> None:
    with pytest.raises(DeviceError, match="turing has no bf16 tensor cores"):
        Device(**figures("t4", peak_flops={"fp16": 65e12, "bf16": 65e12}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bandwidth": float("nan")}, "l4.bandwidth is nan: wanted a finite number above 0"),
        ({"memory_bytes": 0}, "l4.memory_bytes is 0: wanted"),
        ({"bandwidth": 1e37}, r"l4.bandwidth is 1e\+37: wanted 1e\+08..1e\+17 bytes/s"),
        ({"bandwidth": 300}, r"l4.bandwidth is 300: wanted 1e\+08..1e\+17 bytes/s.*: check the u"),
        ({"bandwidth": 10**400}, "l4.bandwidth is larger than any: wanted"),
        ({"memory_bytes": 24}, "l4.memory_bytes is 24: wanted"),
        ({"memory_bytes": 1e300}, "l4.memory_bytes is .*: wanted"),
        ({"clock_hz": 2.04}, r"l4.clock_hz is 2.04: wanted 1e\+06..1e\+11 Hz"),
        ({"tdp_watts": 1e9}, r"l4.tdp_watts is 1e\+09: wanted 0.1..1e\+06 watts"),
        ({"l2_bytes": 48}, "l4.l2_bytes is 48: wanted"),
        ({"sm_count": 10**9}, "l4.sm_count is 1e.09: wanted"),
        ({"peak_flops": {"fp32": 30.3}}, r"l4.peak.fp32 is 30.3: wanted 1e\+08..1e\+19 FLOP/s"),
        (
            {"read_bandwidth": Measured(value=0.3, source="a benchmark")},
            "l4.sustained.read_bandwidth is 0.3: wanted",
        ),
        ({"peak_flops": {"fp12": 1e12}}, "'fp12' is no dtype: wanted one of fp32, fp16"),
        ({"sm_count": None}, "lacks sm_count or clock_hz"),
        ({"sm_count": 58.5}, "l4.sm_count is 58.5: wanted a whole number"),
        ({"sm_count": 0}, "l4.sm_count is 0: wanted a finite number above 0"),
        ({"architecture": "lovelace"}, "'lovelace' is none of volta, .*: take 'other'"),
        ({"datasheet": " "}, "wanted a text that others can look up"),
        (
            {"sustained_bandwidth": Measured(value=310e9, source="a benchmark")},
            "3.1e.11, above the datasheet's 3e.11",
        ),
        (
            {"sustained_bandwidth": Measured(value=235e9, source="")},
            "source of l4.sustained.bandwidth is ''",
        ),
        (
            {"lbm_bandwidth": Measured(value=310e9, source="a benchmark")},
            "l4.sustained.lbm_bandwidth is 3.1e.11, above the datasheet's 3e.11",
        ),
        (
            {"read_bandwidth": Measured(value=-1.0, source="a benchmark")},
            "l4.sustained.read_bandwidth is -1.0: wanted a finite number above 0",
        ),
        (
            {"sustained_flops": {"fp16": Measured(value=242e12, source="a benchmark")}},
            "above the datasheet's 1.21e.14",
        ),
    ],
)
def test_absurd_figures_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Device(**figures("l4", **changed))


def test_an_unknown_device_is_an_error_with_the_nearest_names_and_where_to_look() -> None:
    """In one line: the template of a file is printed on request."""
    with pytest.raises(DeviceError) as caught:
        find_device("rtx4090")
    message = str(caught.value)
    assert "no device 'rtx4090' in the catalogue, the nearest are rtx-4090" in message
    assert "`adadecode-sim devices` lists them" in message
    assert "`adadecode-sim devices --template`" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["list", "all", "?", ""])
def test_a_word_that_is_like_no_device_gets_no_guess(name: str) -> None:
    with pytest.raises(DeviceError, match="in the catalogue: `adadecode-sim devices` lists them"):
        find_device(name)


def test_the_template_is_itself_a_device(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TEMPLATE)
    assert find_device(file).name == "my-gpu"
    assert find_device(f"{file}:my-gpu").sustained_bandwidth == Measured(
        value=235e9, source="how it was measured"
    )


@pytest.mark.parametrize(
    ("told", "spread"),
    [
        ('spread = 3.36, source = "by hand"', 3.36),
        ('source = "by hand, spread 336.0%, 2026-11-30"', 0.0),
        ('source = "adadecode-device: read, 1 MiB arrays, spread 336.0%, 2026-11-30"', 3.36),
    ],
)
def test_how_far_a_figure_scattered_is_read_also_from_older_files(
    tmp_path: Path, told: str, spread: float
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TEMPLATE.replace('source = "how it was measured"', told))
    measured = find_device(file).sustained_bandwidth
    assert measured is not None
    assert measured.spread == pytest.approx(spread)


@pytest.mark.parametrize("spread", ["-0.1", "nan", "true", '"3%"'])
def test_a_spread_that_is_none_is_refused(tmp_path: Path, spread: str) -> None:
    file = tmp_path / "mine.toml"
    told = f'spread = {spread}, source = "by hand"'
    file.write_text(TEMPLATE.replace('source = "how it was measured"', told))
    with pytest.raises(DeviceError, match=r"the spread of my-gpu\.sustained\.bandwidth is "):
        find_device(file)


def test_a_cpu_is_told_from_an_accelerator() -> None:
    assert Device(**figures("l4", architecture="cpu")).is_cpu
    assert not find_device("l4").is_cpu


def test_bandwidths_for_ratios_in_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TEMPLATE + '\nsustained.lbm_bandwidth = { value = 228e9, source = "by hand" }')
    device = find_device(file)
    assert (device.lbm_bandwidth, device.read_bandwidth) == (
        Measured(value=228e9, source="by hand"),
        None,
    )
    assert device.sustained_flops == {}


def test_of_several_devices_in_a_file_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(TEMPLATE + "\n" + TEMPLATE.replace("[my-gpu]", "[other-gpu]"))
    assert find_device(f"{file}:other-gpu").name == "other-gpu"
    with pytest.raises(
        DeviceError, match=r"2 devices in .*: give .*two.toml:my-gpu or .*two.toml:other-gpu"
    ):
        find_device(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bandwidth = 300e9 ", "", "device my-gpu lacks bandwidth"),
        (
            "bandwidth = 300e9 ",
            "bandwith = 1\nbandwidth = 300e9 ",
            "my-gpu has bandwith, which means nothing here",
        ),
        (
            "memory_gib = 24",
            "memory_gib = '24'",
            "my-gpu.memory_gib is '24': wanted a finite number above 0",
        ),
        (
            "peak = { fp32 = 30.3e12, fp16 = 121e12, bf16 = 121e12 }",
            "peak = 121e12",
            "my-gpu.peak is 1210+.0: wanted a table",
        ),
        (
            '{ value = 235e9, source = "how it was measured" }',
            "235e9",
            "sustained.bandwidth is 2350+.0: wanted { value = NUMBER, source = TEXT }",
        ),
        ("[my-gpu]", "[my-gpu", "wanted TOML in "),
        ("memory_gib = 24", "memory_gib = 1e308", "my-gpu.memory_gib is 1e.308: wanted .* GiB"),
        ("memory_gib = 24", f"memory_gib = 1{'0' * 400}", "my-gpu.memory_gib is larger than any"),
        ("memory_gib = 24", f"memory_gib = 1{'0' * 5000}", "wanted TOML in "),
        ("memory_gib = 24", "memory_gib = 2024-01-01", "my-gpu.memory_gib is .*: wanted a finite"),
        ("bandwidth = 300e9 ", "bandwidth = 1e37 ", r"my-gpu.bandwidth is 1e.37: wanted"),
        ("bandwidth = 300e9 ", "bandwidth = [300e9] ", "my-gpu.bandwidth is .*: wanted a finite"),
        ("[my-gpu]", f"[{'.'.join('a' * 200)}]", "nested too deeply"),
        ("[my-gpu]", f"x = {'[' * 5000}\n[my-gpu]", "nested too deeply|wanted TOML"),
    ],
)
def test_a_file_that_says_it_wrong_is_told_how(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TEMPLATE.replace(old, new))
    with pytest.raises(DeviceError, match=message):
        find_device(file)


def test_a_device_that_is_no_table_is_named_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        TEMPLATE.replace("sustained.bandwidth = {", "sustained.bandwidth = { unit = 1,")
    )
    with pytest.raises(DeviceError, match=r"my-gpu.sustained.bandwidth is \{'unit': 1, "):
        find_device(file)
    file.write_text("my-gpu = 3")
    with pytest.raises(DeviceError, match="my-gpu = 3 is no device"):
        find_device(file)


def test_both_errors_are_part_of_the_package() -> None:
    assert (profiles.DeviceError, profiles.ShapeError) == (DeviceError, ShapeError)


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TEMPLATE.replace("memory_gib = 24", "memory_gib = -24"))
    with pytest.raises(DeviceError, match=r"^in .*mine\.toml: my-gpu"):
        find_device(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no file .*gone.toml: give the name of a device"):
        find_device(tmp_path / "gone.toml")


def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "mine.toml"
    os.mkfifo(pipe)
    with pytest.raises(DeviceError, match="wanted a regular file, got the pipe"):
        find_device(pipe)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(DeviceError, match="no file "):
        find_device("x" * 5000 + ".toml")
