"""Operator times of the Vidur simulator as a latency profile."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles import LatencyTable
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import LatencyError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.importers.vidur import import_vidur
from adadecode.sim.hardware.provenance import Provenance
from tests.support.operators import operator_csv, operator_table


def imported(folder: Path, table: pd.DataFrame | None = None, model: str = "llama-2-7b") -> Profile:
    return import_vidur(
        operator_csv(folder / "mlp.csv", table),
        find_model(model),
        find_device("a100-80gb-sxm"),
        folder / "p",
    )


def test_a_layer_is_the_sum_of_its_operators(tmp_path: Path) -> None:
    """0.29 ms, in every layer, of one GPU alone; the embedding apart."""
    profile = imported(tmp_path)
    latency = LatencyTable.from_samples(profile.latency, profile.n_layers)
    assert profile.n_layers == 32
    assert latency.layers(0, 32, 4, 0, 32) == pytest.approx(32 * 0.29e-3)
    assert latency.embed(1) == pytest.approx(3e-6)
    assert set(profile.latency["n_tokens"]) == {1, 2, 4, 8}


def test_the_shape_it_was_imported_with_is_kept(tmp_path: Path) -> None:
    """So that a model of which only a config.json is known need not be named again."""
    shape = replace(find_model("llama-2-7b"), name="my own")
    profile = import_vidur(
        operator_csv(tmp_path / "mlp.csv"), shape, find_device("a100-80gb-sxm"), tmp_path / "p"
    )
    assert Provenance.of(profile).require_shape() == shape


def test_what_was_not_measured_is_not_there(tmp_path: Path) -> None:
    """No context, no head, no verification."""
    profile = imported(tmp_path)
    latency = LatencyTable.from_samples(profile.latency, profile.n_layers)
    with pytest.raises(LatencyError, match="context=100"):
        latency.layer(0, 1, 100, 32)
    with pytest.raises(LatencyError, match="no latency of kind verify"):
        latency.verify(1)


@pytest.mark.parametrize("empty", [True, False])
def test_a_model_with_one_norm_a_layer_has_an_empty_column_or_none(
    tmp_path: Path, empty: bool
) -> None:
    """The sum leaves the second norm out."""
    second = "time_stats.post_attention_layernorm.median"
    profile = imported(
        tmp_path,
        operator_table().assign(**{second: np.nan})
        if empty
        else operator_table().drop(columns=second),
    )
    assert LatencyTable.from_samples(profile.latency, 32).layer(0, 1, 0, 32) == pytest.approx(
        0.285e-3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_stats.attn_rope.median": None}, "lacks the columns time_stats.attn_rope.median"),
        ({"num_tokens": None}, "lacks the columns num_tokens"),
        ({"time_stats.mlp_up_proj.median": 0.0}, "times that cannot be"),
        ({"time_stats.input_layernorm.median": 0.0}, "times that cannot be"),
        ({"time_stats.mlp_act.median": -0.1}, "times that cannot be"),
        ({"time_stats.add.median": np.nan}, "times that cannot be"),
        ({"time_stats.add.median": "fast"}, "times that cannot be"),
        ({"time_stats.add.median": np.inf}, "times that cannot be"),
        ({"num_tokens": "many"}, "does not say in line 2 what was measured"),
        ({"num_tokens": np.inf}, "does not say in line 2 what was measured"),
        ({"num_tokens": 1.5}, "does not say in line 2 what was measured"),
        ({"num_tokens": 0}, "does not say in line 2 what was measured"),
        ({"num_tokens": 10**30}, "does not say in line 2 what was measured"),
        ({"n_head": -32}, "does not say in line 2 what was measured"),
        ({"n_kv_head": 8}, "a model with n_kv_head 8 in line 2, llama-2-7b has 32"),
        ({"vocab_size": 128256}, "a model with vocab_size 128256 in line 2, llama-2-7b has 32000"),
        ({"vocab_size": 31999}, "a model with vocab_size 31999 in line 2"),
        ({"use_gated_mlp": False}, "a model with use_gated_mlp False in line 2, .* has True"),
        ({"n_embd": 5120}, "is of a model with n_embd 5120 in line 2, llama-2-7b has 4096"),
        ({"num_tensor_parallel_workers": 4}, "has no row with num_tensor_parallel_workers 1"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, change: dict[str, float | str | None], message: str
) -> None:
    """Columns that are missing, times that are none, another model."""
    gone = [name for name, value in change.items() if value is None]
    table = (
        operator_table()
        .drop(columns=gone)
        .assign(**{name: value for name, value in change.items() if value is not None})
    )
    with pytest.raises(ProfileError, match=message):
        imported(tmp_path, table)
    assert not (tmp_path / "p").exists()


def test_a_padded_vocabulary_and_a_gated_mlp_are_those_of_the_model(tmp_path: Path) -> None:
    table = operator_table().assign(vocab_size=32768, use_gated_mlp=True)
    assert imported(tmp_path, table).n_layers == 32


@pytest.mark.parametrize("column", ["n_embd", "n_head", "n_kv_head", "n_expanded_embd"])
@pytest.mark.parametrize("line", [2, 5, 9])
def test_every_row_is_of_the_model_also_those_of_several_gpus(
    tmp_path: Path, column: str, line: int
) -> None:
    """One row of another model among eight, in the first, a middle and the last line."""
    table = operator_table()
    table.loc[line - 2, column] = 64
    with pytest.raises(ProfileError, match=f"a model with {column} 64 in line {line}, llama-2-7b"):
        imported(tmp_path, table)


def test_repeated_batches_are_named_and_the_first_counts(tmp_path: Path) -> None:
    """Published files hold some batches twice, a few percent apart."""
    table = operator_table()
    again = table.assign(**{"time_stats.mlp_up_proj.median": 0.12})
    again = again[again["num_tokens"].isin([2, 8])]
    profile = imported(tmp_path, pd.concat([table, again]))
    assert any(
        line == "num_tokens 2, 8 stand in several rows of the file: the first of each counts"
        for line in profile.manifest["limitations"]
    )
    assert LatencyTable.from_samples(profile.latency, 32).layer(0, 2, 0, 32) == pytest.approx(
        0.29e-3
    )


def test_repeated_batches_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    table = operator_table()
    again = table[table["num_tokens"] == 4].assign(**{"time_stats.mlp_up_proj.median": 9.0})
    with pytest.raises(
        ProfileError, match=r"several rows for num_tokens 4 that differ 31\.6 times"
    ):
        imported(tmp_path, pd.concat([table, again]))


@pytest.mark.parametrize(
    ("factor", "what"),
    [(1e-3, "seconds"), (1e3, "microseconds"), (1e-300, "nothing"), (1e200, "forever")],
)
def test_times_in_another_unit_are_refused_with_the_bound(
    tmp_path: Path, factor: float, what: str
) -> None:
    """Columns are in milliseconds: what would they be in seconds or microseconds?"""
    table = operator_table()
    times = [name for name in table if str(name).startswith("time_stats")]
    table[times] *= factor
    with pytest.raises(
        ProfileError,
        match=r"wanted .* s, the bounds of NVIDIA A100 80GB SXM4 with llama-2-7b, for layer of .* "
        "check the unit, or give medians in milliseconds",
    ):
        imported(tmp_path, table)
    assert not (tmp_path / "p").exists(), what


def test_a_byte_order_mark_and_quotes_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mlp.csv"
    operator_table().astype(str).to_csv(path, index=False, quoting=1, encoding="utf-8-sig")
    profile = import_vidur(
        path, find_model("llama-2-7b"), find_device("a100-80gb-sxm"), tmp_path / "p"
    )
    assert set(profile.latency["n_tokens"]) == {1, 2, 4, 8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",", ";"), "cells apart by commas: its header is 'time_stats"),
        (lambda text: text.replace(",", "\t"), "cells apart by commas"),
        (lambda text: text.replace("n_embd", "num_tokens", 1), "lacks the columns n_embd"),
        (
            lambda text: text.replace("n_head,", "n_head,n_head,", 1),
            "the column n_head twice|lacks",
        ),
        (lambda text: text.replace("\n", ",7\n").replace(",7\n", "\n", 1), "more cells than"),
        (lambda text: text + '"', "cannot read|does not say in line"),
        (lambda text: text + "1,2,3\n", "does not say in line 10"),
        (lambda text: "", "cannot read"),
        (lambda text: "\0" * 50, "cannot read|lacks the columns"),
        (lambda text: text.splitlines()[0], "has no row"),
    ],
)
def test_a_table_of_another_form_is_refused(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    path = operator_csv(tmp_path / "mlp.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(ProfileError, match=message):
        import_vidur(path, find_model("llama-2-7b"), find_device("a100-80gb-sxm"), tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """It does not exist, holds no text, or is a directory or a pipe."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 50)
    for name, message in (
        ("nothing.csv", "no file"),
        ("", "wanted a"),
        ("pipe", "wanted a regular file, got the pipe"),
        ("binary", "wanted text in UTF-8"),
    ):
        with pytest.raises(ProfileError, match=message):
            import_vidur(
                tmp_path / name,
                find_model("llama-2-7b"),
                find_device("a100-80gb-sxm"),
                tmp_path / "p",
            )
