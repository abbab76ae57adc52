"""Bandwidth and matmuls measured with torch: what is counted, and how much memory is taken.

How fast anything is does not matter here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adadecode.engine.runtime import device_benchmark
from adadecode.engine.runtime.device_benchmark import (
    BEYOND_CACHE,
    BYTES,
    FLOPS,
    Bench,
    BenchmarkDevice,
    Lap,
    array_size,
    bandwidth_benches,
    find_device,
    matmul_benches,
    measure,
    usual_dtypes,
)
from adadecode.profiles.errors import DeviceError, InputError

MIB = 2**20
CPU = BenchmarkDevice(
    device=torch.device("cpu"),
    title="a CPU",
    memory_bytes=8 * 2**30,
    free_bytes=4 * 2**30,
    cache_bytes=32 * MIB,
)


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast it is does not matter here."""
    monkeypatch.setattr(device_benchmark, "WINDOW_S", 1e-3)


def counting(name: str, done: list[str]) -> Bench:
    def prepare() -> Lap:
        done.append(name)
        return lambda: None

    return Bench(name=name, size="none", unit=FLOPS, amount=1.0, prepare=prepare)


def test_the_cpu_tells_its_memory_and_its_name() -> None:
    place = find_device("cpu")
    assert 0 < place.free_bytes <= place.memory_bytes
    assert place.title
    assert place.room <= place.free_bytes // 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "unknown device 'tpu': known are auto, cpu, cuda and cuda:N"),
        ("cuda:", "unknown device 'cuda:'"),
        ("cpu:1", "unknown device 'cpu:1'"),
        ("cuda:99", "wanted the device cuda:99, torch finds . CUDA devices"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_device(name)


def test_arrays_lie_far_beyond_the_caches() -> None:
    """A large cache asks for larger arrays than usual."""
    assert array_size(CPU) == device_benchmark.ARRAY_BYTES["cpu"]
    large = replace(CPU, cache_bytes=100 * MIB)
    assert array_size(large) == BEYOND_CACHE * 100 * MIB


def test_three_arrays_take_no_more_than_half_of_what_is_free() -> None:
    """With little memory they shrink, but never into the cache."""
    small = replace(CPU, free_bytes=900 * MIB)
    assert array_size(small) == 150 * MIB
    with pytest.raises(
        DeviceError,
        match="measuring needs 384 MiB on a CPU, of 600 MiB free no more than 300 are taken",
    ):
        array_size(replace(CPU, free_bytes=600 * MIB))


def test_bytes_are_counted_as_stream_counts_them() -> None:
    """One, two and three arrays; what the processor reads before it writes is not counted."""
    found = {bench.name: bench.amount for bench in bandwidth_benches(CPU, MIB)}
    assert found == {"read": MIB, "copy": 2 * MIB, "triad": 3 * MIB}


def test_a_triad_is_a_sum_of_one_array_and_a_multiple_of_another() -> None:
    (triad,) = (bench for bench in bandwidth_benches(CPU, 64) if bench.name == "triad")
    assert torch.equal(triad.prepare()(), torch.full((16,), 0.5 + 0.4 * 0.5))  # type: ignore[arg-type]


def test_a_matmul_of_n_rows_is_two_n_cubed_operations() -> None:
    (bench,) = matmul_benches(CPU, "fp32", [64])
    assert (bench.name, bench.amount, bench.unit) == ("fp32", 2 * 64**3, FLOPS)


def test_matrices_that_would_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without units for a dtype is measured on the smallest one."""
    monkeypatch.setattr(device_benchmark, "LONGEST_LAP_S", 0.0)
    monkeypatch.setattr(device_benchmark, "PROBE_SIZE", 32)
    assert [bench.size for bench in matmul_benches(CPU, "bf16", [64, 128])] == ["32 x 32"]


def test_matrices_that_do_not_fit_are_left_out() -> None:
    """Two operands, their FP32 source and the result: 16 bytes for each of the numbers of one."""
    tight = replace(CPU, free_bytes=2 * 16 * 64**2)
    assert [bench.size for bench in matmul_benches(tight, "fp32", [64, 128])] == ["64 x 64"]


def test_repeats_are_taken_in_turn() -> None:
    done: list[str] = []
    ticks: list[int] = []
    benches = [counting(name, done) for name in ("a", "b")]
    measure(CPU, benches, 3, lambda: ticks.append(1))
    assert done == ["a", "b"] * 3
    assert len(ticks) == 6
    assert [len(bench.rates) for bench in benches] == [3, 3]


def test_memory_that_runs_out_is_said_in_one_sentence() -> None:
    def prepare() -> Lap:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(
        DeviceError, match="the memory of a CPU does not suffice for fp32 of 64 x 64"
    ):
        measure(
            CPU, [Bench(name="fp32", size="64 x 64", unit=FLOPS, amount=1.0, prepare=prepare)], 1
        )


def test_a_rate_is_the_median_and_its_spread_goes_from_end_to_end() -> None:
    bench = Bench(
        name="read",
        size="",
        unit=BYTES,
        amount=1.0,
        prepare=lambda: lambda: None,
        rates=[1.0, 4.0, 2.0],
    )
    assert (bench.median, bench.spread) == (2.0, 1.5)


def test_torchs_precision_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """FP32 is measured without TF32, whatever was set."""
    seen: list[str] = []
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        measure(
            CPU,
            [
                Bench(
                    name="",
                    size="",
                    unit=FLOPS,
                    amount=1.0,
                    prepare=lambda: lambda: seen.append(torch.get_float32_matmul_precision()),
                )
            ],
            1,
        )
        assert (set(seen), torch.get_float32_matmul_precision()) == ({"highest"}, "high")
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
def test_a_gpu_is_measured_in_every_dtype_it_has() -> None:
    place = find_device("cuda")
    benches = bandwidth_benches(place, 16 * MIB) + [
        bench for dtype in ("fp32", "fp16") for bench in matmul_benches(place, dtype, [256])
    ]
    measure(place, benches, 2)
    assert all(rate > 0 for bench in benches for rate in bench.rates)
    assert {"fp32", "fp16", "int8"} <= set(usual_dtypes(place))
