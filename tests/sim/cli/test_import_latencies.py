"""``adadecode-sim import``: what it says of the file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

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
