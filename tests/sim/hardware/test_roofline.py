"""Latencies carried to other devices: what must hold whatever the figures, and a published pair of
devices.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.catalog.devices import Device, Measured, catalogue, find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.hardware.roofline import (
    KERNEL_CYCLES,
    SUSTAINED,
    UNMEASURED,
    UNMEASURED_CPU,
    Carrier,
    Roofline,
    bandwidth_ratio,
    estimate,
    peak_ratio,
    scatter_notes,
    unmeasured_words,
)
from tests.support.operators import operator_csv
from tests.support.paths import SHARED_DATA
from tests.support.recordings import CONFIG, about
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile

A100, H100, V100 = find_device("a100-80gb-sxm"), find_device("h100-sxm"), find_device("v100-sxm")
TO_H100 = Carrier(source=A100, target=H100, source_dtype="fp16", target_dtype="fp16")
LLAMA = ModelCost(shape=find_model("llama-2-7b"))
SHARED = SHARED_DATA / "vidur"


def test_a_ratio_is_the_middle_of_what_was_measured_alike() -> None:
    """Lattice Boltzmann streaming and a dot product on both; the datasheets and triads of two
    origins are for the ends.
    """
    found = bandwidth_ratio(A100, H100)
    assert found.middle == pytest.approx((2693.106 / 1564.884 * 3180 / 1750) ** 0.5)
    assert (found.low, found.high) == (pytest.approx(3350 / 2039), pytest.approx(3180 / 1750))
    back = bandwidth_ratio(H100, A100)
    assert (back.low, back.middle, back.high) == (
        pytest.approx(1 / found.high),
        pytest.approx(1 / found.middle),
        pytest.approx(1 / found.low),
    )


def test_a_ratio_is_the_datasheets_where_nothing_was_measured_alike() -> None:
    """A TPU went through none of these benchmarks."""
    tpu = find_device("tpu-v4")
    assert bandwidth_ratio(A100, tpu).middle == pytest.approx(1228 / 2039)


def test_the_same_device_keeps_its_seconds() -> None:
    """They have no interval, because they were measured."""
    same = Carrier(source=A100, target=A100, source_dtype="fp16", target_dtype="fp16")
    cost = LLAMA.layer(1, 100)
    assert same.carry(3e-4, cost, cost).low == same.carry(3e-4, cost, cost).high == 3e-4


def test_work_bound_by_memory_goes_with_bandwidth() -> None:
    """A gigabyte, next to which a kernel's own time is nothing."""
    cost = Cost(weights=1e9, kernels=1)
    assert TO_H100.carry(1e-3, cost, cost).middle == pytest.approx(
        1e-3 / bandwidth_ratio(A100, H100).middle, rel=0.01
    )


def test_work_bound_by_products_goes_with_peak() -> None:
    """A TFLOP on a few bytes."""
    cost = Cost(weights=1e6, flops=1e12, kernels=1)
    assert TO_H100.carry(5e-3, cost, cost).middle == pytest.approx(
        5e-3 / peak_ratio(A100, H100, "fp16", "fp16").middle, rel=0.01
    )


def test_kernels_alone_go_with_the_clock() -> None:
    """Nothing to move: what a hundred kernels take, at 1.41 and at 1.83 GHz, to the tenth that is
    never taken for fixed.
    """
    cost = Cost(weights=1.0, kernels=100)
    seconds = 100 * KERNEL_CYCLES / 1.41e9
    fixed = TO_H100.carry(seconds, cost, cost).middle
    assert 0.9 * seconds * 1.41 / 1.83 <= fixed <= seconds * 1.41 / 1.83


def test_an_eager_recording_that_waits_for_its_host_waits_everywhere() -> None:
    """0.9 ms a layer, of which an A100 needs 0.3 (the paper's own regime): as long on an H100, and
    no shorter on anything.
    """
    eager, cost = replace(TO_H100, eager=True), LLAMA.layer(1, 100)
    assert eager.carry(9e-4, cost, cost).middle == 9e-4
    slow = replace(eager, target=V100)
    assert slow.carry(9e-4, cost, cost).middle == 9e-4
    assert eager.carry(3e-4, cost, cost).middle < 3e-4
    assert [eager.waits(seconds, cost) for seconds in (9e-4, 3e-4)] == [True, False]
    assert not TO_H100.waits(9e-4, cost)


def cpu(name: str, bandwidth: float, spread: float = 0.0) -> Device:
    """A CPU as `adadecode-device` writes it, whose figures scattered that much."""
    return Device(
        name=name,
        title=name,
        vendor="ACME",
        architecture="cpu",
        memory_bytes=2**34,
        bandwidth=bandwidth,
        peak_flops={"fp32": 1e11},
        datasheet="not from a datasheet but measured",
        sustained_bandwidth=Measured(value=bandwidth, source="by hand", spread=spread),
        sustained_flops={"fp32": Measured(value=1e11, source="by hand", spread=spread)},
    )


def test_a_cpu_waits_for_no_host_but_a_share_of_its_time_may_stay() -> None:
    """A layer that takes four times what it reads for, carried to a CPU of twice the bandwidth: as
    long as here or half as long, and between the two most likely.
    """
    carrier = Carrier(
        source=cpu("here", 2e10),
        target=cpu("there", 4e10),
        source_dtype="fp32",
        target_dtype="fp32",
        eager=True,
    )
    cost = Cost(weights=2e7, kernels=1)
    assert not carrier.waits(4e-3, cost)
    there = carrier.carry(4e-3, cost, cost)
    assert there.middle == pytest.approx(4e-3 / 2**0.5, rel=0.01)
    assert there.low == pytest.approx(0.9 * 2e-3, rel=0.01)
    assert there.high == pytest.approx(1.1 * 4e-3)
    compiled = replace(carrier, eager=False).carry(4e-3, cost, cost)
    assert compiled.middle == pytest.approx(2e-3, rel=0.01)


def test_a_benchmark_that_scattered_widens_every_interval() -> None:
    """By 336 %: its repeats lay within a factor of 4.36 of their median."""
    calm, wild = cpu("calm", 2e10), cpu("wild", 2e10, spread=3.36)
    ratio = bandwidth_ratio(calm, wild)
    assert (ratio.low, ratio.middle, ratio.high) == pytest.approx((1 / 4.36, 1.0, 4.36))
    assert bandwidth_ratio(wild, calm).high == pytest.approx(4.36)
    assert bandwidth_ratio(wild, replace(wild, bandwidth=4e10)).high == pytest.approx(2)
    assert peak_ratio(calm, wild, "fp32", "fp32").low == pytest.approx(1 / 4.36)
    cost = Cost(weights=2e7, kernels=0)
    there = estimate(cost, wild, "fp32")
    assert there.high / there.middle == pytest.approx(UNMEASURED_CPU * 4.36)
    assert there.middle / there.low == pytest.approx(UNMEASURED_CPU * 4.36)
    (note,) = scatter_notes(calm, wild)
    assert "what was measured on wild scattered by up to 336%" in note


def test_an_estimate_for_a_cpu_is_a_factor_either_way() -> None:
    """Of an accelerator it is a quarter."""
    cost = Cost(weights=2e7, kernels=10)
    there, gpu = estimate(cost, cpu("there", 2e10), "fp32"), estimate(cost, A100, "fp16")
    assert (there.low, there.high) == pytest.approx((there.middle / 4, there.middle * 4))
    assert (gpu.low, gpu.high) == pytest.approx((0.75 * gpu.middle, 1.25 * gpu.middle))
    assert (UNMEASURED, UNMEASURED_CPU) == (0.25, 4.0)
    assert unmeasured_words(cpu("there", 2e10)) == "within a factor of 4 either way"


def test_the_ends_reckon_with_reading_and_multiplying_one_after_the_other() -> None:
    """64 tokens: what a layer multiplies is a fifth to a third of what it reads, so the interval is
    wider than that of one token.
    """
    one, many = (TO_H100.carry(3e-4, LLAMA.layer(n, 0), LLAMA.layer(n, 0)) for n in (1, 64))
    assert many.high / many.middle > 1.15 * one.high / one.middle
    assert many.low / many.middle < one.low / one.middle / 1.15


def test_half_the_bytes_take_half_the_time_but_for_the_kernels() -> None:
    """INT8 weights on the same device."""
    same = Carrier(source=A100, target=A100, source_dtype="fp16", target_dtype="fp16")
    wide, narrow = LLAMA.layer(1, 0), replace(LLAMA, weight_bytes=1.0).layer(1, 0)
    kernels = Roofline.of(A100, "fp16").kernels(wide)
    assert same.carry(3e-4, wide, narrow).middle == pytest.approx(
        kernels + (3e-4 - kernels) / 2, rel=0.01
    )


@given(
    source=st.sampled_from(list(catalogue().values())),
    target=st.sampled_from(list(catalogue().values())),
    n_tokens=st.integers(1, 512),
    context=st.integers(0, 4096),
    slower=st.floats(1.05, 5.0),
)
def test_an_interval_holds_its_middle_and_more_time_never_becomes_less(
    source, target, n_tokens: int, context: int, slower: float
) -> None:
    """It holds on every pair of devices."""
    dtypes = [
        next(one for one in ("fp16", "bf16", "fp32") if one in device.peak_flops)
        for device in (source, target)
    ]
    carrier = Carrier(source=source, target=target, source_dtype=dtypes[0], target_dtype=dtypes[1])
    cost = LLAMA.layer(n_tokens, context)
    seconds = estimate(cost, source, dtypes[0]).middle
    one, other = (carrier.carry(s, cost, cost) for s in (seconds, seconds * slower))
    assert 0 < one.low <= one.middle <= one.high
    assert other.middle >= one.middle


def test_a_device_without_a_measured_bandwidth_sustains_what_others_do() -> None:
    """The share is the catalogue's own median, and an L40S is no slower than its datasheet says by
    more.
    """
    shares = [
        device.sustained_bandwidth.value / device.bandwidth
        for device in catalogue().values()
        if device.sustained_bandwidth
    ]
    assert round(median(shares), 2) == SUSTAINED
    unmeasured = find_device("l40s")
    assert unmeasured.sustained_bandwidth is None
    assert Roofline.of(unmeasured, "bf16").bandwidth == SUSTAINED * unmeasured.bandwidth


def test_a_dtype_that_a_device_lacks_is_refused() -> None:
    """A V100 has no BF16."""
    cost = LLAMA.layer(1, 1)
    with pytest.raises(DeviceError, match="v100-sxm has no bf16 peak"):
        Carrier(source=A100, target=V100, source_dtype="bf16", target_dtype="bf16").carry(
            1e-3, cost, cost
        )


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published operator times are not here")
def test_an_unseen_gpu_is_predicted_from_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """T3: a Llama-2-7B layer on an H100 from an A100's operator times, 1 to 64 tokens: 5 % in the
    median, 90 % covered.
    """
    for name, device in (("a100", "a100-80gb-sxm"), ("h100", "h100-sxm")):
        csv = SHARED / name / "meta-llama" / "Llama-2-7b-hf" / "mlp.csv"
        assert (
            run(
                "import",
                "vidur",
                csv,
                "--model",
                "llama-2-7b",
                "--device",
                device,
                "--out",
                tmp_path / name,
            )
            == 0
        )
    capsys.readouterr()
    document = run_json(
        capsys,
        "transfer",
        tmp_path / "a100",
        "--to",
        "h100-sxm",
        "--against",
        tmp_path / "h100",
        "--json",
    )
    assert {"median_error", "p90_error", "coverage", "rows"} <= document.keys()
    assert document["median_error"] <= 0.05
    assert document["coverage"] >= 0.9
    assert [row["n_tokens"] for row in document["rows"]][:4] == [1, 2, 4, 8]


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Handmade operator times of an A100."""
    csv, out = operator_csv(tmp_path / "mlp.csv"), tmp_path / "p"
    assert (
        run(
            "import",
            "vidur",
            csv,
            "--model",
            "llama-2-7b",
            "--device",
            "a100-80gb-sxm",
            "--out",
            out,
        )
        == 0
    )
    assert "for 1..8 tokens" in capsys.readouterr().out
    return out


def test_the_commands_tell_a_table(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Carried to a smaller card: no measurement there, so no error is told."""
    assert run("transfer", imported, "--to", "l4") == 0
    assert "a100-80gb-sxm to l4" in capsys.readouterr().out
    document = run_json(capsys, "transfer", imported, "--to", "l4", "--json", "--tokens", "1..2")
    assert document["median_error"] is None
    assert [row["n_tokens"] for row in document["rows"]] == [1, 2]


def test_batches_that_were_not_measured_are_told(
    imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four of the batches 1 to 12 were measured."""
    document = run_json(capsys, "transfer", imported, "--to", "l4", "--tokens", "1..12", "--json")
    assert document["not_measured"] == [3, 5, 6, 7, 9, 10, 11, 12]
    assert run("transfer", imported, "--to", "l4", "--tokens", "1..12") == 0
    assert "not measured: 3, 5..7, 9..12 tokens" in capsys.readouterr().out


def test_rows_taken_for_launch_bound_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording at a quarter of what a T4 could, which the user says is of a T4."""
    model = {**about()["model"], "config": {**CONFIG, "hidden_size": 256, "intermediate_size": 640}}
    profile = synthetic_profile(
        tmp_path / "p",
        manifest={**about("eager"), "model": model, "hardware": {"device": "my machine"}},
    )
    document = run_json(
        capsys, "transfer", profile.path, "--from", "t4", "--to", "h100-sxm", "--json"
    )
    assert (
        document["launch_bound"]
        == [row["n_tokens"] for row in document["rows"]]
        == list(range(1, 9))
    )
    assert all(row["predicted_s"] == row["source_s"] for row in document["rows"])
    assert run("transfer", profile.path, "--from", "t4", "--to", "h100-sxm") == 0
    assert "launch-bound" in capsys.readouterr().out
    assert (
        run_json(
            capsys,
            "transfer",
            profile.path,
            "--from",
            "t4",
            "--to",
            "h100-sxm",
            "--tokens",
            "1",
            "--json",
        )["not_measured"]
        == []
    )


def test_narrow_weights_are_carried(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """INT4: more than twice as fast, on the same card."""
    document = run_json(
        capsys, "transfer", imported, "--to", "a100-80gb-sxm", "--dtype", "int4", "--json"
    )
    assert all(row["predicted_s"] < row["source_s"] / 2 for row in document["rows"])


def test_latencies_alone_predict_nothing(
    imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They hold no text; by every command that replays one."""
    for command in (["predict"], ["validate"], ["timeline", "--out", imported / "t.json"]):
        assert run(command[0], imported, *command[1:]) == 2
        assert "latencies alone" in capsys.readouterr().err


def test_an_import_overwrites_nothing(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither an earlier import nor any other file is overwritten."""
    csv = operator_csv(imported.parent / "again.csv")
    assert (
        run(
            "import",
            "vidur",
            csv,
            "--model",
            "llama-2-7b",
            "--device",
            "a100-80gb-sxm",
            "--out",
            imported,
        )
        == 2
    )
    assert "name another one with --out" in capsys.readouterr().err


def test_a_recording_says_which_device_it_was_made_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown device is refused until the user names it."""
    profile = synthetic_profile(tmp_path / "p")
    assert run("transfer", profile.path, "--to", "l4") == 2
    assert "say which device it was with --from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "h100-sxn"], "nearest"),
        (["--to", "h100-sxm", "--tokens", "4..1"], "from 1 on and rising"),
        (["--to", "h100-sxm", "--tokens", "some"], "wanted --tokens as FIRST..LAST"),
        (["--to", "h100-sxm", "--tokens", "900..999"], "no batch of 900..999 tokens was measured"),
        (["--to", "h100-sxm", "--from", "nothing"], "no device 'nothing'"),
        (["--to", "h100-sxm", "--model", "lama"], "no model 'lama'"),
        (
            ["--to", "h100-sxm", "--model", "mistral-7b"],
            "is of llama-2-7b (32 layers, 6738415616 parameters), mistral-7b has 32 layers",
        ),
        (["--to", "l4", "--from", "h100-sxm"], "was recorded on a100-80gb-sxm, not on h100-sxm"),
    ],
)
def test_what_cannot_be_carried_is_refused(
    imported: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """There is one message, and the exit code is 2."""
    assert run("transfer", imported, *arguments) == 2
    assert message in capsys.readouterr().err
