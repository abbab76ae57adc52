"""Operator times of the Vidur simulator as a latency profile."""

from __future__ import annotations

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
        ({"num_tokens": "many"}, "does not say in line 2 what was measured"),
        ({"n_embd": 5120}, "is of a model with n_embd 5120, llama-2-7b has 4096"),
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


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """It does not exist or holds no table."""
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(ProfileError, match="cannot read"):
            import_vidur(
                path, find_model("llama-2-7b"), find_device("a100-80gb-sxm"), tmp_path / "p"
            )
