"""Layers carried between all devices of some kernel tables."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, ShapeError
from adadecode.profiles.input_file import read_json
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.transfer_law import SIBLING_SPREAD, SPREAD, law_for
from adadecode.sim.hardware.transfer_matrix import (
    DTYPE,
    Product,
    device_of,
    layer_products,
    transfer_matrix,
)
from benchmarks.harness import RESULTS
from benchmarks.transfer_law import MODELS, TOKENS
from tests.support.kernel_tables import product_table, write_kernel_tables
from tests.support.sim_command import run, run_json

WANTED = ("from", "to", "model", "median_error", "p90_error", "coverage", "mean_width")
MODEL = find_model("llama-3.1-8b")
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "aiconfigurator"


def lawful(system: str, slower: float = 1.0):
    """Return a table of a device that takes this many times what the law says."""
    device = device_of(system)
    table = product_table(rows=(1, 2, 4, 8), widths=(4096, 6144, 14336, 28672))
    table["latency"] = [
        1e3 * slower * law_for(device).seconds(Product(name="x", n=n, k=k).cost(m), device, DTYPE)
        for m, n, k in zip(table["m"], table["n"], table["k"], strict=True)
    ]
    return table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return tables of three devices: two lawful ones and one 30 % slower than the law."""
    for system, slower in (("a100_sxm", 1.0), ("l40s", 1.0), ("h100_sxm", 1.3)):
        write_kernel_tables(tmp_path, lawful(system, slower), system=system)
    return tmp_path


def test_a_pair_has_the_errors_coverage_and_width_of_its_batches(folder: Path) -> None:
    matrix = transfer_matrix(KernelLibrary.of(folder), [MODEL], (1, 2, 8))
    rows = {(row["from"], row["to"]): row for row in matrix.to_dict()["pairs"]}
    assert len(rows) == 6
    right = rows["h100-sxm", "l40s"]
    assert right["median_error"] == pytest.approx(0, abs=1e-9)
    assert right["coverage"] == 1
    wrong = rows["l40s", "h100-sxm"]
    assert wrong["median_error"] == pytest.approx(1 - 1 / 1.3)
    assert wrong["p90_error"] == pytest.approx(1 - 1 / 1.3)
    assert wrong["coverage"] == 0
    assert wrong["mean_width"] == pytest.approx(0.115, abs=1e-3)
    assert right["mean_width"] == pytest.approx(0.115, abs=1e-3)


def test_the_command_prints_the_pairs_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("transfer-matrix", folder, "--models", "llama-3.1-8b", "--n-tokens", "1,2")
    document = run_json(capsys, *words, "--json")
    assert list(document) == ["pairs"]
    assert all(tuple(pair) == WANTED for pair in document["pairs"])
    assert {pair["model"] for pair in document["pairs"]} == {"llama-3.1-8b"}
    other = run_json(capsys, *words, "--rule", "efficiency", "--json")
    assert other != document
    assert run(*words) == 0
    assert "on average: median error" in capsys.readouterr().out


def test_the_table_fits_a_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns hold every name in one piece."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run("transfer-matrix", folder, "--models", "llama-3.1-8b", "--n-tokens", "1") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for words in (
        "a100-80gb-sxm ",
        "to a100-80gb-sxm ",
        "to h100-sxm ",
        "llama-3.1-8b ",
        "covered",
    ):
        assert words in shown


def test_what_cannot_be_compared_is_left_out_and_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_kernel_tables(folder, lawful("l40s"), system="a_new_chip")
    words = ("transfer-matrix", folder, "--models", "llama-3.1-8b", "--n-tokens", "1", "--json")
    assert run(*words) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["pairs"]) == 6
    assert "left out: a_new_chip: the catalogue has no device" in captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "no-such-model"], "no-such-model"),
        (["--models", ","], "names separated by commas"),
        (["--models", "mixtral-8x7b"], "wanted a dense model"),
        (["--models", "llama-3.1-8b", "--n-tokens", "0"], "numbers from 1 on"),
        (["--models", "llama-3.1-8b", "--n-tokens", "4000"], "no product of 4000 rows"),
        (["--models", "llama-2-70b"], "no product as wide as"),
        (["--models", "llama-3.1-8b", "--backend", "vlm"], "no engine 'vlm'"),
    ],
)
def test_bad_input_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("transfer-matrix", folder, *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert any(part in captured.err for part in message.split("|"))


def test_two_devices_are_compared_in_the_newest_version_of_both(folder: Path) -> None:
    before = transfer_matrix(KernelLibrary.of(folder), [MODEL], (1,))
    write_kernel_tables(folder, lawful("l40s", 2.0), system="l40s", version="0.24.0")
    assert transfer_matrix(KernelLibrary.of(folder), [MODEL], (1,)) == before
    write_kernel_tables(folder, lawful("a100_sxm"), system="a100_sxm", version="0.24.0")
    after = {
        (one.source, one.target): one.errors
        for one in transfer_matrix(KernelLibrary.of(folder), [MODEL], (1,)).pairs
    }
    assert after["a100-80gb-sxm", "l40s"] == pytest.approx([-0.5])
    assert after["h100-sxm", "l40s"] == pytest.approx([0], abs=1e-9)


def test_a_layer_is_its_four_products() -> None:
    shapes = [(one.n, one.k) for one in layer_products(MODEL)]
    assert shapes == [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)]
    with pytest.raises(ShapeError, match="dense"):
        layer_products(find_model("mixtral-8x7b"))


def test_systems_are_devices_of_the_catalogue() -> None:
    known = {"a100_sxm": "a100-80gb-sxm", "h200_sxm": "h200-sxm", "l40s": "l40s"}
    for system, name in known.items():
        assert device_of(system) == find_device(name)
    with pytest.raises(DeviceError, match="no device by the name of the system tpu_v9"):
        device_of("tpu_v9")


WORST = {
    ("a100-80gb-sxm", "h100-sxm"): ("llama-3.2-1b", 0.068),
    ("a100-80gb-sxm", "h200-sxm"): ("qwen3-32b", 0.056),
    ("h100-sxm", "a100-80gb-sxm"): ("llama-3.2-3b", 0.090),
    ("h100-sxm", "h200-sxm"): ("qwen3-32b", 0.047),
    ("h200-sxm", "a100-80gb-sxm"): ("llama-3.2-3b", 0.090),
    ("h200-sxm", "h100-sxm"): ("qwen3-1.7b", 0.064),
}
"""The model that the law misses by most between two devices, and by how much it does.

It is no goal, and over 5 % in most pairs: what is there now, so that it does not grow unseen.
"""


@pytest.mark.skipif(not SHARED.is_dir(), reason="the tables of others are not there")
def test_the_law_keeps_within_what_the_documentation_says() -> None:
    """The median model of each pair is missed by at most 5 %, and the worst by its own figure."""
    models = [find_model(name) for name in MODELS]
    matrix = transfer_matrix(KernelLibrary.of(SHARED), models, TOKENS)
    errors: dict[tuple[str, str], dict[str, float]] = {}
    for pair in matrix.to_dict()["pairs"]:
        devices = errors.setdefault((str(pair["from"]), str(pair["to"])), {})
        devices[str(pair["model"])] = float(pair["median_error"])
    assert errors.keys() == WORST.keys()
    for devices, by_model in errors.items():
        assert len(by_model) == len(MODELS)
        assert median(by_model.values()) <= 0.05, devices
        worst, figure = WORST[devices]
        assert max(by_model, key=by_model.__getitem__) == worst, devices
        assert by_model[worst] == pytest.approx(figure, abs=1e-3), devices


def test_intervals_are_no_narrower_than_what_the_fit_measured() -> None:
    """To another architecture a margin is kept; within one the interval is what was measured."""
    measured = read_json(RESULTS / "transfer_law.json")["spreads"]
    assert measured["other"] == pytest.approx(0.089, abs=5e-4)
    assert measured["other"] < SPREAD == 0.115
    assert measured["sibling"] == pytest.approx(SIBLING_SPREAD, abs=1e-3)
    assert measured["sibling"] <= SIBLING_SPREAD
