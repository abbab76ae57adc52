"""Absurd values are refused when a profile is read or written, each by its row."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest

from adadecode.profiles import TABLES, Profile, ProfileError, read_profile, write_profile
from adadecode.profiles.checks import POLICIES
from adadecode.sim.core.design import RUNNABLE
from tests.support.synthetic_profile import tables_of
from tests.support.tampering import parquet_bytes, read_table, replace_table

ABSURD = [
    *(
        (name, column, value, "a finite number of seconds above 0")
        for name, column in (
            ("latency", "seconds"),
            ("runs", "prefill_s"),
            ("runs", "decode_s"),
            ("works", "seconds"),
        )
        for value in (math.nan, math.inf, -math.inf, -1.0, 0.0)
    ),
    *(
        ("runs", "energy_j", value, "a finite number of joules, or NaN")
        for value in (math.inf, -1.0)
    ),
    *(
        (name, "confidence", value, "a probability in 0..1")
        for name in ("trace", "branches")
        for value in (math.nan, -0.01, 1.01, math.inf)
    ),
    ("trace", "acceptance", 1.01, "a probability in 0..1"),
    ("latency", "kind", "nap", "one of embed, layer, head, gate, verify, prefill, host"),
    ("works", "kind", "nap", "one of run, gate, check, verify"),
    *(
        (name, "policy", "greedy", "one of vanilla, adadecode, fixed")
        for name in ("runs", "rounds", "works")
    ),
    *(
        (name, "depth", value, "a depth in 1..8")
        for name in ("trace", "branches")
        for value in (0, 9)
    ),
    ("rounds", "exits", [2, 8], "a depth between the layers in 1..7"),
    ("rounds", "checks", [0], "a depth between the layers in 1..7"),
    ("runs", "placement", [4, 8], "a depth between the layers in 1..7"),
    ("runs", "gammas", [0.5, 1.5], "a probability in 0..1"),
    ("runs", "cap", 0, "a number of drafts in 1..10000"),
    ("latency", "n_tokens", 0, "a number of tokens in 1..1e+08"),
    ("rounds", "batches", [1, 0], "a number of tokens in 1..1e+08"),
    ("trace", "output", 0, "an output in 1..1e+08"),
    *((name, "token", -1, "a token of 0 or more") for name in ("trace", "branches")),
    ("prompts", "first_token", -1, "a token of 0 or more"),
    ("prompts", "n_prompt", 2 * 10**9, "a number of tokens in 1..1e+08"),
    ("latency", "context", 2 * 10**9, "a count in 0..1e+08"),
    ("runs", "cap", 2 * 10**9, "a number of drafts in 1..10000"),
    ("rounds", "segments", [0, 0, 8], "a segment in 0..7"),
    ("prompts", "n_output", 0, "a number of tokens in 1..1e+08"),
]


@pytest.mark.parametrize(("name", "column", "value", "wanted"), ABSURD)
def test_an_absurd_value_is_refused(
    folder: Path, name: str, column: str, value: object, wanted: str
) -> None:
    """Naming the row, the column, the file, what was wanted and what was got."""
    table = read_table(folder, name)
    values = table[column].to_pylist()
    values[1] = value
    replace_table(
        folder,
        name,
        parquet_bytes(
            table.set_column(
                table.column_names.index(column),
                column,
                pa.array(values, table.schema.field(column).type),
            )
        ),
    )
    with pytest.raises(ProfileError) as refused:
        read_profile(folder)
    assert f"wanted {wanted}" in str(refused.value)
    assert f"as {column} in row 1 of {folder / name}.parquet" in str(refused.value)
    assert "record it again with `adadecode-profile`" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "column", "value", "wanted"),
    [
        ("rounds", "batches", [1, 1, 2, 1], "3 batches, one for each of segments"),
        ("rounds", "batches", [], "3 batches, one for each of segments"),
        *(
            (name, "gammas", [0.5], "2 gammas, one for each of placement")
            for name in ("runs", "rounds", "works")
        ),
    ],
)
def test_lists_that_belong_together_are_equally_long(
    folder: Path, name: str, column: str, value: list[float], wanted: str
) -> None:
    """The message names row, file and both columns."""
    table = read_table(folder, name)
    values = table[column].to_pylist()
    values[1] = value
    replace_table(
        folder,
        name,
        parquet_bytes(
            table.set_column(
                table.column_names.index(column),
                column,
                pa.array(values, table.schema.field(column).type),
            )
        ),
    )
    with pytest.raises(
        ProfileError,
        match=rf"wanted {wanted}, in row 1 of .*{name}\.parquet, got {len(value)}: record it again",
    ):
        read_profile(folder)


def test_the_policies_are_the_simulators() -> None:
    """The layer below cannot ask the one above."""
    assert RUNNABLE == POLICIES


@pytest.mark.parametrize(
    ("kind", "layer", "wanted"),
    [
        ("layer", 8, "a layer in 0..7"),
        ("layer", -1, "a layer in 0..7"),
        ("head", 0, "a depth in 1..8"),
    ],
)
def test_latency_of_a_layer_outside_the_model_is_refused(
    folder: Path, kind: str, layer: int, wanted: str
) -> None:
    """Layers count from 0, depths from 1."""
    latency = read_table(folder, "latency").to_pandas()
    latency.loc[3, ["kind", "layer"]] = (kind, layer)
    replace_table(
        folder,
        "latency",
        parquet_bytes(pa.Table.from_pandas(latency, TABLES["latency"], preserve_index=False)),
    )
    with pytest.raises(ProfileError, match=rf"wanted {wanted} as layer in row 3 of"):
        read_profile(folder)


def test_a_run_of_the_prefill_alone_takes_no_decode_time(original: Profile, tmp_path: Path) -> None:
    """The only zero that is not absurd."""
    changed = tables_of(original)
    changed["runs"] = changed["runs"].assign(n_tokens=1, decode_s=0.0)
    changed |= {name: changed[name].iloc[:0] for name in ("rounds", "works")}
    assert write_profile(tmp_path / "p", original.manifest, changed).runs["decode_s"].tolist() == [
        0.0,
        0.0,
    ]


def test_an_acceptance_may_pass_one_by_rounding(original: Profile, tmp_path: Path) -> None:
    """It is a sum of many FP32 numbers."""
    changed = tables_of(original)
    changed["trace"]["acceptance"] = 1 + 1e-6
    assert write_profile(tmp_path / "p", original.manifest, changed).trace["acceptance"].max() > 1


@pytest.mark.parametrize("name", ["trace", "branches", "runs", "rounds", "works"])
def test_a_row_about_a_prompt_that_is_not_listed_is_refused(
    original: Profile, tmp_path: Path, name: str
) -> None:
    """The message names table, prompt and row."""
    changed = tables_of(original)
    changed[name].loc[1, "prompt"] = 77
    with pytest.raises(ProfileError, match=rf"in {name} of .*, got prompt 77 in row 1"):
        write_profile(tmp_path / "p", original.manifest, changed)


@pytest.mark.parametrize("budget", [23, 25])
def test_a_text_that_neither_ended_nor_fills_its_budget_is_refused(
    original: Profile, tmp_path: Path, budget: int
) -> None:
    """24 outputs of prompt 1, which did not end by itself."""
    changed = tables_of(original)
    changed["prompts"].loc[1, "max_new_tokens"] = budget
    with pytest.raises(ProfileError, match=f"got 24 of {budget} tokens for prompt 1"):
        write_profile(tmp_path / "p", original.manifest, changed)


def test_a_prompt_listed_twice_is_refused(original: Profile, tmp_path: Path) -> None:
    """Nobody could say which is meant."""
    changed = tables_of(original)
    changed["prompts"]["prompt"] = 0
    with pytest.raises(ProfileError, match="got prompt 0 twice"):
        write_profile(tmp_path / "p", original.manifest, changed)
