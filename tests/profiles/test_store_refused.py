"""What is refused when a profile is read: unfinished, damaged, edited or newer, always with what to
do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from adadecode.profiles import MANIFEST, SCHEMA_VERSION, TABLES, ProfileError, read_profile
from tests.support.tampering import edit_manifest, parquet_bytes, read_table, replace_table


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The message says what was wanted, what was found and what to do."""
    with pytest.raises(
        ProfileError, match=r"a profile is a directory, .* does not exist: name the directory"
    ):
        read_profile(tmp_path / "nothing")


def test_a_file_is_refused(folder: Path) -> None:
    """Even the manifest itself is no profile."""
    with pytest.raises(ProfileError, match=r"a profile is a directory, .* is a file"):
        read_profile(folder / MANIFEST)


def test_a_folder_of_heads_is_named_so(tmp_path: Path) -> None:
    """It is no unfinished recording."""
    (tmp_path / "heads.json").write_text("{}")
    with pytest.raises(ProfileError, match=r"wanted a profile, .* is a folder of exit heads: rec"):
        read_profile(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "wanted JSON in"),
        (b'{"schema": ', "wanted JSON in"),
        (b"\xff\xfe\x00", "wanted text in UTF-8 in"),
        (b"[" * 100_000, r"manifest\.json is nested too deeply"),
    ],
    ids=["empty", "cut", "binary", "deep"],
)
def test_an_unreadable_manifest_is_refused(folder: Path, text: bytes, message: str) -> None:
    """What the file holds instead does not matter."""
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(ProfileError, match=message):
        read_profile(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '"adadecode-profile"', '{"schema": "other"}'])
def test_another_schema_is_refused(folder: Path, text: str) -> None:
    """JSON, but no manifest of ours."""
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ProfileError, match="wanted a manifest with schema 'adadecode-profile'"):
        read_profile(folder)


def test_a_newer_profile_is_refused(folder: Path) -> None:
    """Whatever else has changed in it: the program must be upgraded."""
    edit_manifest(
        folder, lambda manifest: manifest.update(schema_version=SCHEMA_VERSION + 1), seal=False
    )
    with pytest.raises(
        ProfileError,
        match=rf"schema version {SCHEMA_VERSION + 1}, "
        rf"this program reads up to {SCHEMA_VERSION}: upgrade",
    ):
        read_profile(folder)


@pytest.mark.parametrize("version", [0, None, "1", True])
def test_a_version_that_never_was_is_refused(folder: Path, version: object) -> None:
    """The message names the wanted version and the one found."""
    edit_manifest(folder, lambda manifest: manifest.update(schema_version=version))
    with pytest.raises(ProfileError, match=f"wanted schema version {SCHEMA_VERSION}"):
        read_profile(folder)


@pytest.mark.parametrize("key", ["seed", "dtype", "name", "eos_token_ids", "digest"])
def test_an_edited_manifest_is_refused(folder: Path, key: str) -> None:
    """Any key, required or not, or the digest itself."""
    edit_manifest(folder, lambda manifest: manifest.update({key: "edited"}), seal=False)
    with pytest.raises(ProfileError, match=r"manifest\.json was edited"):
        read_profile(folder)


@pytest.mark.parametrize("key", ["model", "heads", "hardware", "settings", "tables"])
def test_a_manifest_without_a_required_key_is_refused(folder: Path, key: str) -> None:
    """The message names the key."""
    edit_manifest(folder, lambda manifest: manifest.pop(key))
    with pytest.raises(ProfileError, match=rf"manifest\.json lacks {key}"):
        read_profile(folder)


@pytest.mark.parametrize("n_layers", [0, -1, 8.0, "8", None])
def test_a_manifest_without_a_number_of_layers_is_refused(folder: Path, n_layers: object) -> None:
    """Every depth is checked against it."""
    edit_manifest(folder, lambda manifest: manifest["model"].update(n_layers=n_layers))
    with pytest.raises(ProfileError, match=r"wanted the number of layers as model\.n_layers"):
        read_profile(folder)


@pytest.mark.parametrize("depths", [[0], [8], [4, 2], [2, 2], [2.5], "2", None])
def test_head_depths_that_make_no_sense_are_refused(folder: Path, depths: object) -> None:
    """Depths rise within 1..L-1."""
    edit_manifest(folder, lambda manifest: manifest["heads"].update(depths=depths))
    with pytest.raises(ProfileError, match=r"wanted heads\.depths rising within 1\.\.7"):
        read_profile(folder)


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_table_is_refused(folder: Path, name: str) -> None:
    """The message names the table and its file."""
    (folder / f"{name}.parquet").unlink()
    with pytest.raises(ProfileError, match=rf"lacks the table {name} \({name}\.parquet\)"):
        read_profile(folder)


def test_a_table_that_the_manifest_does_not_name_is_missing(folder: Path) -> None:
    """Nobody vouches for the file."""
    edit_manifest(folder, lambda manifest: manifest["tables"].pop("trace"))
    with pytest.raises(ProfileError, match="lacks the table trace"):
        read_profile(folder)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    "tamper",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
    ],
)
def test_a_truncated_or_changed_table_is_refused(
    folder: Path, name: str, tamper: Callable[[bytes], bytes]
) -> None:
    """Half the file, or one bit of it; naming the file."""
    path = folder / f"{name}.parquet"
    path.write_bytes(tamper(path.read_bytes()))
    with pytest.raises(
        ProfileError, match=rf"{name}\.parquet is truncated or was changed: wanted sha256"
    ):
        read_profile(folder)


def test_a_table_that_is_no_parquet_is_refused(folder: Path) -> None:
    """It is refused even where the manifest lists its digest."""
    replace_table(folder, "trace", b"not parquet at all")
    with pytest.raises(ProfileError, match=r"wanted a Parquet table in .*trace\.parquet"):
        read_profile(folder)


def test_a_missing_column_is_refused(folder: Path) -> None:
    """The message names column, type and file."""
    replace_table(
        folder, "trace", parquet_bytes(read_table(folder, "trace").drop_columns(["token"]))
    )
    with pytest.raises(
        ProfileError, match=r"wanted a column token of type int32 in .*trace\.parquet, got none"
    ):
        read_profile(folder)


def test_a_column_of_the_wrong_type_is_refused(folder: Path) -> None:
    """The message names the wanted type and the one found."""
    table = read_table(folder, "latency")
    replace_table(
        folder,
        "latency",
        parquet_bytes(table.set_column(6, "seconds", table["seconds"].cast(pa.float32()))),
    )
    with pytest.raises(
        ProfileError,
        match=r"wanted a column seconds of type double in .*latency\.parquet, got float",
    ):
        read_profile(folder)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [("trace", "token", None), ("runs", "energy_j", None), ("rounds", "exits", [None])],
)
def test_nulls_are_refused(folder: Path, name: str, column: str, value: object) -> None:
    """In lists too, and where NaN would do."""
    table = read_table(folder, name)
    index = table.column_names.index(column)
    values = [value, *table[column].to_pylist()[1:]]
    replace_table(
        folder,
        name,
        parquet_bytes(
            table.set_column(index, column, pa.array(values, table.schema.field(column).type))
        ),
    )
    with pytest.raises(
        ProfileError,
        match=rf"wanted a value in every row of column {column} in .*{name}\.parquet, got nulls",
    ):
        read_profile(folder)


@pytest.mark.parametrize("name", [MANIFEST, "trace.parquet"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(folder: Path, name: str) -> None:
    """Reading it would wait for ever."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ProfileError, match=rf"wanted a regular file, got the pipe .*{name}"):
        read_profile(folder)


def test_text_that_is_not_utf_8_is_refused(folder: Path) -> None:
    """Parquet takes any bytes for text."""
    table = read_table(folder, "prompts")
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    broken = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffb"))
    data = parquet_bytes(table.set_column(1, "domain", broken))
    replace_table(folder, "prompts", data)
    with pytest.raises(ProfileError, match=r"wanted a Parquet table in .*prompts\.parquet.*UTF8"):
        read_profile(folder)


def test_a_column_that_stands_twice_is_refused(folder: Path) -> None:
    """Which of the two counts?"""
    table = read_table(folder, "trace")
    replace_table(folder, "trace", parquet_bytes(table.append_column("token", table["token"])))
    with pytest.raises(ProfileError, match=r"column token of type int32 in .*got int32 and int32"):
        read_profile(folder)


def test_a_column_that_nobody_knows_is_left_out(folder: Path) -> None:
    """A later program may have written it."""
    table = read_table(folder, "trace")
    more = pa.array(range(len(table)))
    replace_table(folder, "trace", parquet_bytes(table.append_column("more", more)))
    assert "more" not in read_profile(folder).trace


def test_a_name_that_no_directory_can_have_is_refused() -> None:
    with pytest.raises(ProfileError, match="does not exist"):
        read_profile("x" * 5000)
