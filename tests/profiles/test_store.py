"""Profiles on disk: what is written is read back, lossy or absurd tables are not written, and a
killed recording is unfinished.
"""

from __future__ import annotations

import errno
import hashlib
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from adadecode.profiles import (
    MANIFEST,
    TABLES,
    InputError,
    Profile,
    ProfileError,
    manifest_digest,
    read_profile,
    write_profile,
    write_table,
)
from adadecode.profiles.profile_folder import check_unused, writing_profile
from adadecode.profiles.schema import REQUIRED_COLUMNS
from adadecode.sim.core.design import Design
from tests.support.failing_disk import Fault, failing_disk, in_child, steps_of
from tests.support.held_folder import held_elsewhere
from tests.support.synthetic_profile import full_profile, tables_of
from tests.support.tampering import read_table

TABLE_FILES_OF_EVERY = {f"{name}.parquet" for name in TABLES}
"""The files of the tables that every profile holds."""

# -- what is written is read back ------------------------------------------------------------------


def test_a_profile_is_read_back_as_written(original: Profile, tmp_path: Path) -> None:
    """Every table, value for value and type for type, and the manifest's own keys."""
    again = write_profile(tmp_path / "again", original.manifest, tables_of(original))
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(original, name))
        assert list(getattr(again, name).columns) == TABLES[name].names
    assert again.manifest == original.manifest


def test_lists_come_back_as_tuples_that_group(original: Profile) -> None:
    """Two runs of one design are one group."""
    assert original.runs["placement"].tolist() == [(2, 4), (2, 4)]
    assert original.runs.groupby(["policy", "placement", "gammas"]).size().tolist() == [2]


def test_unknown_energy_stays_nan(original: Profile) -> None:
    """It is neither null nor refused."""
    assert original.runs["energy_j"].isna().all()
    assert read_table(original.path, "runs")["energy_j"].null_count == 0


def test_the_manifest_names_every_file(original: Profile) -> None:
    """With its rows and SHA-256, and seals itself."""
    for name, entry in original.manifest["tables"].items():
        data = (original.path / entry["file"]).read_bytes()
        assert entry == {
            "file": f"{name}.parquet",
            "rows": len(getattr(original, name)),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    assert original.manifest["digest"] == manifest_digest(original.manifest)


def test_nothing_else_is_left_in_the_directory(original: Profile) -> None:
    """No ``.part`` files stay."""
    assert {path.name for path in original.path.iterdir()} == {
        MANIFEST,
        *(f"{name}.parquet" for name in TABLES),
    }


def test_a_profile_knows_its_name_layers_and_heads(original: Profile) -> None:
    """They come from the manifest."""
    assert (original.name, original.n_layers, original.depths) == ("synthetic", 8, (2, 4, 6))


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    """Nor on a digest that is already there."""
    assert manifest_digest({"a": 1, "b": [2]}) == manifest_digest({"digest": "x", "b": [2], "a": 1})


def test_a_table_is_coerced_without_loss(tmp_path: Path) -> None:
    """Columns in another order, wider integers, whole floats."""
    prompts = pd.DataFrame(
        {
            "sha256": ["x"],
            "domain": ["d"],
            "n_prompt": [3.0],
            "n_output": [4],
            "ended": [True],
            "first_token": [7],
            "prompt": [1],
            "max_new_tokens": [4],
        }
    )
    entry = write_table(tmp_path, "prompts", prompts)
    assert entry["rows"] == 1
    wanted = [TABLES["prompts"].field(name) for name in REQUIRED_COLUMNS["prompts"]]
    assert read_table(tmp_path, "prompts").schema.equals(pa.schema(wanted))
    assert read_table(tmp_path, "prompts").to_pylist()[0]["n_prompt"] == 3


def test_an_arrow_table_is_written_as_well(original: Profile, tmp_path: Path) -> None:
    """Its columns of lists are written too."""
    before = read_table(original.path, "rounds")
    write_table(tmp_path, "rounds", before)
    assert read_table(tmp_path, "rounds").equals(before)


# -- what cannot be written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("output", 1.5),
        ("output", 2**40),
        ("output", "one"),
        ("output", None),
        ("path", (1.5,)),
        ("path", (None,)),
        ("path", 3),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_not_written(
    original: Profile, tmp_path: Path, column: str, value: object
) -> None:
    """It is not rounded, cut or dropped either."""
    branches = original.branches.head(2).astype(object)
    branches[column] = pd.Series([value, *branches[column][1:]], dtype=object)
    with pytest.raises(ProfileError, match=rf"column {column} of table branches"):
        write_table(tmp_path, "branches", branches)
    assert not list(tmp_path.iterdir())


def test_a_number_is_no_truth_value(original: Profile, tmp_path: Path) -> None:
    """Even 1 is refused in a column of booleans."""
    with pytest.raises(ProfileError, match="wanted values of type bool in column agrees"):
        write_table(tmp_path, "trace", original.trace.assign(agrees=1))


def test_a_table_without_a_column_is_not_written(original: Profile, tmp_path: Path) -> None:
    """The message names the missing column."""
    with pytest.raises(ProfileError, match="missing or unknown: depth"):
        write_table(tmp_path, "trace", original.trace.drop(columns="depth"))


def test_a_table_with_an_unknown_column_is_not_written(original: Profile, tmp_path: Path) -> None:
    """It would be lost in silence."""
    with pytest.raises(ProfileError, match="missing or unknown: extra"):
        write_table(tmp_path, "trace", original.trace.assign(extra=1))


def test_an_unknown_table_is_not_written(original: Profile, tmp_path: Path) -> None:
    """The message names the known tables."""
    with pytest.raises(
        ProfileError, match=r"no table 'traces' in a profile: known are latency, prompts"
    ):
        write_table(tmp_path, "traces", original.trace)


def test_a_profile_needs_every_table(original: Profile, tmp_path: Path) -> None:
    """An empty one where there is nothing to say."""
    some = {name: table for name, table in tables_of(original).items() if name != "works"}
    with pytest.raises(ProfileError, match="missing or unknown: works"):
        write_profile(tmp_path / "p", original.manifest, some)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1}, b"x"])
def test_a_manifest_that_json_cannot_carry_is_not_written(
    original: Profile, tmp_path: Path, value: object
) -> None:
    """Nothing is written at all."""
    with pytest.raises(ProfileError, match="JSON cannot carry"):
        write_profile(
            tmp_path / "p", {**original.manifest, "settings": {"x": value}}, tables_of(original)
        )
    assert not (tmp_path / "p").exists()


def test_a_file_is_no_place_for_a_profile(original: Profile, tmp_path: Path) -> None:
    """The message says that a directory is wanted."""
    (tmp_path / "p").write_text("")
    with pytest.raises(InputError, match=r"wanted a directory, .*p is a file.: name another"):
        write_profile(tmp_path / "p", original.manifest, tables_of(original))


def test_an_absurd_profile_does_not_replace_a_good_one(original: Profile, folder: Path) -> None:
    """The old one stays readable."""
    bad = tables_of(original)
    bad["works"]["seconds"] = 0.0
    with pytest.raises(ProfileError, match="wanted a finite number of seconds above 0"):
        write_profile(folder, original.manifest, bad)
    assert read_profile(folder).manifest == original.manifest


# -- killed while writing --------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["new", "over an old one"])
def test_a_disk_that_fails_at_any_step_loses_no_profile(
    original: Profile, folder: Path, tmp_path: Path, *, again: bool
) -> None:
    """At every third step: what was there is whole, and nothing is left of what was not."""
    place = folder if again else tmp_path / "new"
    tables = tables_of(original)
    other = {**original.manifest, "seed": 77}
    if again:
        shutil.copytree(folder, tmp_path / "counted")
    counted = steps_of(tmp_path, lambda: write_profile(tmp_path / "counted", other, tables))
    for at in range(0, counted.index(("replace", f"{MANIFEST}.part")), 3):
        with (
            failing_disk(tmp_path, Fault(at=at, outcome=errno.ENOSPC)),
            pytest.raises(InputError, match="make room"),
        ):
            write_profile(place, other, tables)
        if again:
            assert read_profile(place).manifest == original.manifest
            assert {path.name for path in place.iterdir()} == {MANIFEST, *TABLE_FILES_OF_EVERY}
        else:
            assert not place.exists()
    assert write_profile(place, other, tables).manifest["seed"] == 77


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8])
def test_a_profile_that_was_being_written_is_unfinished_and_can_be_written_again(
    original: Profile, tmp_path: Path, part: float
) -> None:
    """What a killed process left counts for nothing, and hinders nobody."""
    place, tables = tmp_path / "new", tables_of(original)
    counted = steps_of(tmp_path, lambda: write_files(tmp_path / "counted"))
    fault = Fault(at=int(part * counted.index(("replace", f"{MANIFEST}.part"))), outcome="kill")
    assert in_child(lambda: write_files(place), fault, below=tmp_path) == -signal.SIGKILL
    with pytest.raises(
        ProfileError,
        match=r"has no manifest\.json: .*`adadecode-profile --out .* --resume` finishes",
    ):
        read_profile(place)
    check_unused(place)
    assert write_profile(place, original.manifest, tables).manifest == original.manifest
    assert {path.name for path in place.iterdir()} == {MANIFEST, *TABLE_FILES_OF_EVERY}


def write_files(place: Path) -> None:
    """Write files in the way of `write_profile`, without libraries that start threads."""
    with writing_profile(place) as files:
        for name in TABLE_FILES_OF_EVERY:
            files.write(name, b"table")
        files.finish(b"manifest")


def test_a_profile_killed_at_the_very_end_is_read_from_where_its_tables_are(
    original: Profile, folder: Path
) -> None:
    """The new manifest is there, and not all tables were moved to their place."""
    table = folder / "rounds.parquet"
    table.with_name("rounds.parquet.next").write_bytes(table.read_bytes())
    table.write_bytes(b"the older table")
    assert read_profile(folder).rounds.equals(original.rounds)
    (folder / f"{MANIFEST}.part").touch()  # a later one was begun, and counts for nothing
    with pytest.raises(ProfileError, match="truncated or was changed"):
        read_profile(folder)


def test_two_processes_never_write_one_profile(original: Profile, tmp_path: Path) -> None:
    place, tables = tmp_path / "p", tables_of(original)
    with (
        held_elsewhere(place),
        pytest.raises(InputError, match="another process is writing into"),
    ):
        write_profile(place, original.manifest, tables)


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="only Linux lists a program's threads"
)
def test_reading_starts_no_threads(tmp_path: Path) -> None:
    """A thread that still starts up when a refused profile ends the program aborts it, with another
    exit code than promised.
    """
    full_profile(tmp_path / "p")
    count = "len(os.listdir('/proc/self/task'))"
    code = (
        "import os, sys; from adadecode.profiles import read_profile; "
        f"before = {count}; read_profile(sys.argv[1]); print({count} - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "0"


# -- what a profile offers -------------------------------------------------------------------------


def test_runs_have_the_names_of_their_designs(original: Profile) -> None:
    """In a first column; everything else is the table, which stays as it was."""
    frame = original.runs_frame()
    assert list(frame.columns) == ["design", *TABLES["runs"].names]
    for label, row in zip(frame["design"], original.runs.to_dict("records"), strict=True):
        design = Design.of(
            row["policy"], gamma=row["gammas"], placement=row["placement"], cap=row["cap"]
        )
        assert label == design.label
    pd.testing.assert_frame_equal(frame.drop(columns="design"), original.runs)
    assert "design" not in original.runs


def test_the_latency_table_is_made_once(original: Profile) -> None:
    assert original.latency_table is original.latency_table
    assert original.latency_table.n_layers == original.n_layers
