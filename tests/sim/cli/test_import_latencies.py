"""``adadecode-sim import``: what it says of the file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from adadecode.sim.hardware.kernel_tables import library
from tests.support.kernel_tables import write_kernel_tables
from tests.support.operators import operator_csv, operator_table
from tests.support.sim_command import run


def test_it_says_what_the_latencies_lack_and_which_batches_are_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever imports a file may not read its manifest."""
    table = operator_table()
    csv = operator_csv(tmp_path / "mlp.csv", pd.concat([table, table[table["num_tokens"] == 4]]))
    options = ["--model", "llama-2-7b", "--device", "a100-80gb-sxm", "--out", tmp_path / "p"]
    assert run("import", "vidur", csv, *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "layers of llama-2-7b on a100-80gb-sxm for 1..8 tokens" in said
    assert "note: num_tokens 4 stand in several rows of the file: the first of each counts" in said


def test_a_file_in_another_unit_ends_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = operator_table()
    table[[name for name in table if str(name).startswith("time_stats")]] /= 1000
    csv = operator_csv(tmp_path / "mlp.csv", table)
    options = ["--model", "llama-2-7b", "--device", "a100-80gb-sxm", "--out", tmp_path / "p"]
    assert run("import", "vidur", csv, *options) == 2
    assert "give medians in milliseconds" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "p").exists()


def test_kernel_tables_are_put_together_and_priced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = write_kernel_tables(tmp_path / "t")
    options = ["--model", "llama-3.1-8b", "--tables", tables, "--out", tmp_path / "p"]
    assert run("import", "aiconfigurator", *options, "--system", "a100_sxm") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "layers of llama-3.1-8b on a100-80gb-sxm (a100_sxm, vllm 0.14.0) for 1..64 tok" in said
    assert "note: element-wise work is in no table" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--system", "a10_sxm"], "the nearest are a100_sxm"),
        (["--system", "a100_sxm", "--version", "0.15.0"], "the nearest are 0.14.0"),
        (["--system", "a100_sxm", "--backend", "vlm"], "the nearest are vllm"),
        (["--system", "a100_sxm", "--quant", "fp8"], "it has bfloat16"),
    ],
)
def test_tables_that_are_not_there_end_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    tables = write_kernel_tables(tmp_path / "t")
    options = ["--model", "llama-3.1-8b", "--tables", tables, "--out", tmp_path / "p"]
    assert run("import", "aiconfigurator", *options, *change) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "p").exists()


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "PACKAGE", "no_such_package")
    options = ["--model", "llama-3.1-8b", "--system", "a100_sxm", "--out", tmp_path / "p"]
    assert run("import", "aiconfigurator", *options) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "adadecode[kernels]" in said
    assert "--tables" in said
