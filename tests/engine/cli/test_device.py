"""``adadecode-device`` on this CPU, with small working sets: what it writes and refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adadecode.engine.cli.entry_points import device_main
from adadecode.engine.runtime import device_benchmark
from adadecode.engine.runtime.device_benchmark import Bench
from adadecode.engine.runtime.timing_lock import timing_alone
from adadecode.profiles.catalog.devices import find_device

Run = Callable[..., tuple[int, str, str]]
SMALL = (
    "--device",
    "cpu",
    "--threads",
    "1",
    "--repeats",
    "2",
    "--array-mib",
    "0.25",
    "--matrix",
    "32,64",
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``adadecode-device`` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(device_benchmark, "WINDOW_S", 1e-3)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["adadecode-device", *words])
        with pytest.raises(SystemExit) as stop:
            device_main()
        return (int(stop.value.code or 0), *capsys.readouterr())

    return call


def test_it_writes_a_device_that_the_catalogue_reads(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--name", "my-cpu", "--out", "my-cpu.toml", "--tdp-w", "65", *SMALL)
    assert code == 0, err
    device = find_device(tmp_path / "my-cpu.toml")
    assert (device.name, device.architecture, device.tdp_watts) == ("my-cpu", "cpu", 65)
    assert {"fp32", "bf16"} <= device.sustained_flops.keys()
    assert device.sustained_bandwidth is not None
    assert "1 thread, median of 2" in device.sustained_bandwidth.source
    assert all(word in out for word in ("read", "copy", "triad", "64 x 64", "2 repeats in turn"))
    assert "my-cpu.toml written" in err


def test_a_benchmark_that_scattered_is_warned_of(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By 336 %: what else ran on the machine is in the figures."""

    def measure(_place: object, benches: list[Bench], *_: object) -> None:
        for bench in benches:
            bench.rates = [1e9, 2e9, 7.72e9]

    monkeypatch.setattr(device_benchmark, "measure", measure)
    code, _, err = run("--name", "my-cpu", "--out", "my-cpu.toml", *SMALL)
    assert code == 0
    assert "warning: read of 0.25 MiB arrays scattered by 336% over 3 repeats" in err
    measured = find_device(tmp_path / "my-cpu.toml").sustained_bandwidth
    assert measured is not None
    assert measured.spread == pytest.approx(3.36)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bandwidth", "nan"), "wanted a finite number above 0 as the figure bandwidth, got nan"),
        (("--peak-fp16", "-1"), "as the figure fp16, got -1.0"),
        (("--repeats", "0"), "wanted --repeats of at least 1"),
        (("--matrix", "33"), "wanted --matrix as multiples of 16"),
        (("--matrix", "a"), "wanted --matrix as multiples of 16"),
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--array-mib", "1e9"), "measuring needs"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    run: Run, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """Alone, even where another process times: nothing is measured, so nothing is disturbed."""
    with timing_alone(lambda _: pytest.fail("nobody else times")):
        code, _, err = run("--name", "my-cpu", "--out", "my-cpu.toml", *SMALL, *words)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "my-cpu.toml").exists()


def test_a_file_that_exists_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text("theirs")
    code, _, err = run("--name", "my-cpu", "--out", "old.toml", *SMALL)
    assert (code, (tmp_path / "old.toml").read_text()) == (2, "theirs")
    assert "old.toml exists and is not overwritten" in err
