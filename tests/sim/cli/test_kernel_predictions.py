"""What commands say of kernel tables at home: intervals, several devices, and measured power."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adadecode.sim.sweep.store import read_sweep
from tests.support.kernel_tables import product_table, write_exchanges, write_kernel_tables
from tests.support.paths import DEMO_PROFILE
from tests.support.sim_command import run, run_json

TEXT = ["--trace", DEMO_PROFILE, "--map", "3:6,7:14"]
DESIGN = ["--heads", "6,14", "--gamma", "0.5"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    products = product_table()
    products["power"] = 250.0
    folder = write_kernel_tables(tmp_path_factory.mktemp("tables"), products)
    write_exchanges(folder)
    return folder


@pytest.fixture(scope="module")
def alone(tables: Path) -> Path:
    return imported(tables, "alone")


@pytest.fixture(scope="module")
def shared(tables: Path) -> Path:
    return imported(tables, "shared", "--tp", "2")


def imported(tables: Path, name: str, *more: str) -> Path:
    out = tables.parent / f"{tables.name}-{name}"
    words = ["--model", "llama-3.1-8b", "--system", "a100_sxm", "--tables", tables, "--out", out]
    assert run("import", "aiconfigurator", *words, *more) == 0
    return out


def predicted(capsys: pytest.CaptureFixture[str], profile: Path, *more: Any) -> dict[str, Any]:
    return run_json(capsys, "predict", profile, *TEXT, *DESIGN, *more, "--json")


def test_a_table_at_home_has_an_interval(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of its kernels: half as wide as what a datasheet gives."""
    capsys.readouterr()
    found = predicted(capsys, alone)
    assert found["basis"] == "measured"
    assert 0.85 < found["tpot_s_low"] / found["tpot_s"] < 1
    assert 1 < found["tpot_s_high"] / found["tpot_s"] < 1.15
    assert found["speedup_low"] < found["speedup"] < found["speedup_high"]
    assert run("predict", alone, *TEXT, *DESIGN) == 0
    assert "what is uncertain about the kernels" in " ".join(capsys.readouterr().out.split())


def test_two_devices_are_named_and_faster_but_not_twice(
    alone: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    one, two = predicted(capsys, alone), predicted(capsys, shared)
    assert (one["device"], two["device"]) == ("a100-80gb-sxm", "2 x a100-80gb-sxm")
    assert any("2 x a100-80gb-sxm share every layer" in note for note in two["notes"])
    assert 0.5 < two["tpot_s"] / one["tpot_s"] < 0.8
    at_home = predicted(capsys, shared, "--to", "a100-80gb-sxm")
    assert at_home["tpot_s"] == two["tpot_s"]


@pytest.mark.parametrize("more", [("--to", "h100-sxm"), ("--regime", "eager"), ("--dtype", "int8")])
def test_several_devices_are_predicted_as_they_were_measured_alone(
    shared: Path, more: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", shared, *TEXT, *DESIGN, *more) == 2
    assert "2 x a100-80gb-sxm, which share every layer" in " ".join(capsys.readouterr().err.split())


def test_an_account_takes_the_text_of_another_profile(
    alone: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two devices draw twice the watts for more than half the time."""
    capsys.readouterr()
    asked = [*TEXT, *DESIGN, "--to", "a100-80gb-sxm", "--json"]
    one, two = (run_json(capsys, "account", profile, *asked) for profile in (alone, shared))
    assert (one["model"], one["hypothetical"]) == ("llama-3.1-8b", True)
    assert (one["energy"]["basis"], one["energy"]["device"]) == ("measured", "a100-80gb-sxm")
    joules = one["energy"]["joules"]
    assert joules["middle"] == pytest.approx(250 * one["energy"]["seconds_per_token"], rel=1e-6)
    assert joules["low"] < joules["middle"] < joules["high"]
    assert two["energy"]["device"] == "2 x a100-80gb-sxm"
    assert 1 < two["energy"]["joules"]["middle"] / joules["middle"] < 1.6
    assert one["flops_per_token"] == two["flops_per_token"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "holds latencies alone, and no text to replay"),
        (["--trace", DEMO_PROFILE], "has 32 layers, the trace 16: say where its heads would"),
        ([*TEXT, "--model", "llama-2-7b"], "leave --model out"),
    ],
)
def test_an_account_of_tables_without_what_it_needs_is_refused(
    alone: Path, words: list[Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("account", alone, *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_sweep_takes_the_power_of_kernels(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--max-heads", "1", "--gammas", "0.5,0.8", "--out", tmp_path / "s"]
    assert run("sweep", alone, *TEXT, *words) == 0
    for row in read_sweep(tmp_path / "s").designs.to_dict("records"):
        assert row["energy_j_per_token"] == pytest.approx(250 * row["tpot_s"], rel=1e-6)
        assert row["energy_low"] < row["energy_j_per_token"] < row["energy_high"]
        assert row["energy_over_low"] <= row["energy_over_vanilla"] <= row["energy_over_high"]
        assert row["speedup_low"] <= row["speedup"] <= row["speedup_high"]
