"""Profiles on disk: what is written is read back, and what is not whole, untouched and sane is refused with what to do."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from profiles import (
    MANIFEST,
    SCHEMA_VERSION,
    TABLES,
    Profile,
    ProfileError,
    manifest_digest,
    read_profile,
    store,
    write_profile,
    write_table,
)
from tests.synthetic import synthetic_profile

DESIGN = {"policy": "adadecode", "placement": (2, 4), "gammas": (0.75, 0.5), "cap": 5, "verify": True, "prompt": 0}
RUN = {"repeat": 0, "instrumented": False, "n_tokens": 20, "prefill_s": 0.1, "decode_s": 0.5, "energy_j": math.nan}
WORK = {"repeat": 0, "index": 0, "kind": "run", "seconds": 0.01}
ROUND = {
    "round": 0,
    "start": 9,
    "exits": (2,),
    "accepted": 1,
    "committed": 2,
    "segments": (0, 0, 1),
    "batches": (1, 1, 2),
    "checks": (2, 2),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A whole profile with a row in every table; not to be changed."""
    one = {name: pd.DataFrame([{**DESIGN, **row}] * 2) for name, row in (("runs", RUN), ("works", WORK), ("rounds", ROUND))}
    return synthetic_profile(tmp_path_factory.mktemp("profile") / "p", **one)  # type: ignore[arg-type]


@pytest.fixture
def folder(original: Profile, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(original.path, tmp_path / "copy"))


def tables(profile: Profile) -> dict[str, pd.DataFrame]:
    return {name: getattr(profile, name).copy() for name in TABLES}


def edit(folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> None:
    """Change the manifest, and its digest with it where ``seal``."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    if seal:
        manifest["digest"] = manifest_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def put(folder: Path, name: str, data: bytes) -> None:
    """Replace a table's file, and what the manifest says of it."""
    (folder / f"{name}.parquet").write_bytes(data)
    edit(folder, lambda manifest: manifest["tables"][name].update(sha256=hashlib.sha256(data).hexdigest()))


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def arrow(folder: Path, name: str) -> pa.Table:
    return pq.ParquetFile(folder / f"{name}.parquet").read()


# -- what is written is read back ------------------------------------------------------------------------------------------


def test_a_profile_is_read_back_as_written(original: Profile, tmp_path: Path) -> None:
    """Every table, value for value and type for type, and the manifest's own keys."""
    again = write_profile(tmp_path / "again", original.manifest, tables(original))
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(original, name))
        assert list(getattr(again, name).columns) == TABLES[name].names
    assert again.manifest == original.manifest


def test_lists_come_back_as_tuples_that_group(original: Profile) -> None:
    """Two runs of one design are one group."""
    assert original.runs["placement"].tolist() == [(2, 4), (2, 4)]
    assert original.runs.groupby(["policy", "placement", "gammas"]).size().tolist() == [2]


def test_unknown_energy_stays_nan(original: Profile) -> None:
    """Not null, and not refused."""
    assert original.runs["energy_j"].isna().all()
    assert arrow(original.path, "runs")["energy_j"].null_count == 0


def test_the_manifest_names_every_file(original: Profile) -> None:
    """With its rows and SHA-256, and seals itself."""
    for name, entry in original.manifest["tables"].items():
        data = (original.path / entry["file"]).read_bytes()
        assert entry == {"file": f"{name}.parquet", "rows": len(getattr(original, name)), "sha256": hashlib.sha256(data).hexdigest()}
    assert original.manifest["digest"] == manifest_digest(original.manifest)


def test_nothing_else_is_left_in_the_directory(original: Profile) -> None:
    """No part files."""
    assert {path.name for path in original.path.iterdir()} == {MANIFEST, *(f"{name}.parquet" for name in TABLES)}


def test_a_profile_knows_its_name_layers_and_heads(original: Profile) -> None:
    """From the manifest."""
    assert (original.name, original.n_layers, original.depths) == ("synthetic", 8, (2, 4, 6))


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    """Nor on a digest that is already there."""
    assert manifest_digest({"a": 1, "b": [2]}) == manifest_digest({"digest": "x", "b": [2], "a": 1})


def test_a_table_is_coerced_without_loss(tmp_path: Path) -> None:
    """Columns in another order, wider integers, whole floats."""
    prompts = pd.DataFrame(
        {"sha256": ["x"], "domain": ["d"], "n_prompt": [3.0], "n_output": [4], "ended": [True], "first_token": [7], "prompt": [1]}
    )
    entry = write_table(tmp_path, "prompts", prompts)
    assert entry["rows"] == 1
    assert arrow(tmp_path, "prompts").schema.equals(TABLES["prompts"])
    assert arrow(tmp_path, "prompts").to_pylist()[0]["n_prompt"] == 3


def test_an_arrow_table_is_written_as_well(original: Profile, tmp_path: Path) -> None:
    """Lists and all."""
    before = arrow(original.path, "rounds")
    write_table(tmp_path, "rounds", before)
    assert arrow(tmp_path, "rounds").equals(before)


# -- what cannot be written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [("output", 1.5), ("output", 2**40), ("output", "one"), ("output", None), ("path", (1.5,)), ("path", (None,)), ("path", 3)],
)
def test_a_value_that_does_not_fit_its_column_is_not_written(original: Profile, tmp_path: Path, column: str, value: object) -> None:
    """Nor rounded, cut or dropped."""
    branches = original.branches.head(2).astype(object)
    branches.at[0, column] = value  # noqa: PD008 (loc would spread a tuple)
    with pytest.raises(ProfileError, match=rf"column {column} of table branches"):
        write_table(tmp_path, "branches", branches)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"columns": "depth"}, {"columns": ["depth", "token"]}])
def test_a_table_without_a_column_is_not_written(original: Profile, tmp_path: Path, change: dict[str, Any]) -> None:
    """Naming it."""
    with pytest.raises(ProfileError, match="missing or unknown: depth"):
        write_table(tmp_path, "trace", original.trace.drop(**change))


def test_a_table_with_an_unknown_column_is_not_written(original: Profile, tmp_path: Path) -> None:
    """It would be lost in silence."""
    with pytest.raises(ProfileError, match="missing or unknown: extra"):
        write_table(tmp_path, "trace", original.trace.assign(extra=1))


def test_an_unknown_table_is_not_written(original: Profile, tmp_path: Path) -> None:
    """Naming the known ones."""
    with pytest.raises(ProfileError, match=r"no table 'traces' in a profile: known are latency, prompts"):
        write_table(tmp_path, "traces", original.trace)


def test_a_profile_needs_every_table(original: Profile, tmp_path: Path) -> None:
    """An empty one where there is nothing to say."""
    some = {name: table for name, table in tables(original).items() if name != "works"}
    with pytest.raises(ProfileError, match="missing or unknown: works"):
        write_profile(tmp_path / "p", original.manifest, some)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1}, b"x"])
def test_a_manifest_that_json_cannot_carry_is_not_written(original: Profile, tmp_path: Path, value: object) -> None:
    """Nothing is written at all."""
    with pytest.raises(ProfileError, match="JSON cannot carry"):
        write_profile(tmp_path / "p", {**original.manifest, "settings": {"x": value}}, tables(original))
    assert not (tmp_path / "p").exists()


def test_a_file_is_no_place_for_a_profile(original: Profile, tmp_path: Path) -> None:
    """Said plainly."""
    (tmp_path / "p").write_text("")
    with pytest.raises(ProfileError, match="wanted a directory"):
        write_profile(tmp_path / "p", original.manifest, tables(original))


def test_an_absurd_profile_does_not_replace_a_good_one(original: Profile, folder: Path) -> None:
    """The old one stays readable."""
    bad = tables(original)
    bad["works"]["seconds"] = 0.0
    with pytest.raises(ProfileError, match="wanted a finite number of seconds above 0"):
        write_profile(folder, original.manifest, bad)
    assert read_profile(folder).manifest == original.manifest


# -- killed while writing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["new", "over an old one"])
@pytest.mark.parametrize("written", range(len(TABLES) + 1))
def test_a_killed_recording_is_refused_as_unfinished(
    original: Profile, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, again: bool
) -> None:
    """After any number of files, the manifest being the last."""
    place, left, replace = folder if again else tmp_path / "new", [None] * written, store._replace

    def killed(path: Path, data: bytes) -> None:
        if not left:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(path.name + ".part").write_bytes(data[: len(data) // 2])
            raise KeyboardInterrupt
        left.pop()
        replace(path, data)

    monkeypatch.setattr(store, "_replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_profile(place, original.manifest, tables(original))
    with pytest.raises(ProfileError, match=r"has no manifest\.json: an unfinished recording, .*`adadecode-profile --resume`"):
        read_profile(place)
    monkeypatch.undo()
    assert write_profile(place, original.manifest, tables(original)).manifest == original.manifest


# -- what is refused when read ---------------------------------------------------------------------------------------------


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Wanted, got, what to do."""
    with pytest.raises(ProfileError, match=r"a profile is a directory, .* does not exist: name the directory"):
        read_profile(tmp_path / "nothing")


def test_a_file_is_refused(folder: Path) -> None:
    """Even the manifest itself."""
    with pytest.raises(ProfileError, match=r"a profile is a directory, .* is a file"):
        read_profile(folder / MANIFEST)


@pytest.mark.parametrize("text", [b"", b'{"schema": ', b"\xff\xfe\x00", b"[" * 100_000], ids=["empty", "cut", "binary", "deep"])
def test_an_unreadable_manifest_is_refused(folder: Path, text: bytes) -> None:
    """Whatever it holds."""
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(ProfileError, match=r"wanted JSON in .*manifest\.json"):
        read_profile(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '"adadecode-profile"', '{"schema": "other"}'])
def test_another_schema_is_refused(folder: Path, text: str) -> None:
    """JSON, but no manifest of ours."""
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ProfileError, match="wanted a manifest with schema 'adadecode-profile'"):
        read_profile(folder)


def test_a_newer_profile_is_refused(folder: Path) -> None:
    """Whatever else has changed in it: the program must be upgraded."""
    edit(folder, lambda manifest: manifest.update(schema_version=SCHEMA_VERSION + 1), seal=False)
    with pytest.raises(ProfileError, match=rf"schema version {SCHEMA_VERSION + 1}, this program reads up to {SCHEMA_VERSION}: upgrade"):
        read_profile(folder)


@pytest.mark.parametrize("version", [0, None, "1", True])
def test_a_version_that_never_was_is_refused(folder: Path, version: object) -> None:
    """Wanted and got."""
    edit(folder, lambda manifest: manifest.update(schema_version=version))
    with pytest.raises(ProfileError, match=f"wanted schema version {SCHEMA_VERSION}"):
        read_profile(folder)


@pytest.mark.parametrize("key", ["seed", "dtype", "name", "eos_token_ids", "digest"])
def test_an_edited_manifest_is_refused(folder: Path, key: str) -> None:
    """Any key, required or not, or the digest itself."""
    edit(folder, lambda manifest: manifest.update({key: "edited"}), seal=False)
    with pytest.raises(ProfileError, match=r"manifest\.json was edited"):
        read_profile(folder)


@pytest.mark.parametrize("key", ["model", "heads", "hardware", "settings", "tables"])
def test_a_manifest_without_a_required_key_is_refused(folder: Path, key: str) -> None:
    """Naming it."""
    edit(folder, lambda manifest: manifest.pop(key))
    with pytest.raises(ProfileError, match=rf"manifest\.json lacks {key}"):
        read_profile(folder)


@pytest.mark.parametrize("n_layers", [0, -1, 8.0, "8", None])
def test_a_manifest_without_a_number_of_layers_is_refused(folder: Path, n_layers: object) -> None:
    """Every depth is checked against it."""
    edit(folder, lambda manifest: manifest["model"].update(n_layers=n_layers))
    with pytest.raises(ProfileError, match=r"wanted the number of layers as model\.n_layers"):
        read_profile(folder)


@pytest.mark.parametrize("depths", [[0], [8], [4, 2], [2, 2], [2.5], "2", None])
def test_head_depths_that_make_no_sense_are_refused(folder: Path, depths: object) -> None:
    """They rise within 1..L-1."""
    edit(folder, lambda manifest: manifest["heads"].update(depths=depths))
    with pytest.raises(ProfileError, match=r"wanted heads\.depths rising within 1\.\.7"):
        read_profile(folder)


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_table_is_refused(folder: Path, name: str) -> None:
    """Naming it and its file."""
    (folder / f"{name}.parquet").unlink()
    with pytest.raises(ProfileError, match=rf"lacks the table {name} \({name}\.parquet\)"):
        read_profile(folder)


def test_a_table_that_the_manifest_does_not_name_is_missing(folder: Path) -> None:
    """Nobody vouches for the file."""
    edit(folder, lambda manifest: manifest["tables"].pop("trace"))
    with pytest.raises(ProfileError, match="lacks the table trace"):
        read_profile(folder)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("tamper", [lambda data: data[: len(data) // 2], lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:]])
def test_a_truncated_or_changed_table_is_refused(folder: Path, name: str, tamper: Callable[[bytes], bytes]) -> None:
    """Half the file, or one bit of it; naming the file."""
    path = folder / f"{name}.parquet"
    path.write_bytes(tamper(path.read_bytes()))
    with pytest.raises(ProfileError, match=rf"{name}\.parquet is truncated or was changed: wanted sha256"):
        read_profile(folder)


def test_a_table_that_is_no_parquet_is_refused(folder: Path) -> None:
    """Even where the manifest vouches for it."""
    put(folder, "trace", b"not parquet at all")
    with pytest.raises(ProfileError, match=r"wanted a Parquet table in .*trace\.parquet"):
        read_profile(folder)


def test_a_missing_column_is_refused(folder: Path) -> None:
    """Naming column, type and file."""
    put(folder, "trace", parquet(arrow(folder, "trace").drop_columns(["token"])))
    with pytest.raises(ProfileError, match=r"wanted a column token of type int32 in .*trace\.parquet, got none"):
        read_profile(folder)


def test_a_column_of_the_wrong_type_is_refused(folder: Path) -> None:
    """Wanted and got."""
    table = arrow(folder, "latency")
    put(folder, "latency", parquet(table.set_column(6, "seconds", table["seconds"].cast(pa.float32()))))
    with pytest.raises(ProfileError, match=r"wanted a column seconds of type double in .*latency\.parquet, got float"):
        read_profile(folder)


@pytest.mark.parametrize(("name", "column", "value"), [("trace", "token", None), ("runs", "energy_j", None), ("rounds", "exits", [None])])
def test_nulls_are_refused(folder: Path, name: str, column: str, value: object) -> None:
    """In lists too, and where NaN would do."""
    table = arrow(folder, name)
    index = table.column_names.index(column)
    values = [value, *table[column].to_pylist()[1:]]
    put(folder, name, parquet(table.set_column(index, column, pa.array(values, table.schema.field(column).type))))
    with pytest.raises(ProfileError, match=rf"wanted a value in every row of column {column} in .*{name}\.parquet, got nulls"):
        read_profile(folder)


ABSURD = [
    *(
        (name, column, value, "a finite number of seconds above 0")
        for name, column in (("latency", "seconds"), ("runs", "prefill_s"), ("runs", "decode_s"), ("works", "seconds"))
        for value in (math.nan, math.inf, -math.inf, -1.0, 0.0)
    ),
    *(("runs", "energy_j", value, "a finite number of joules, or NaN") for value in (math.inf, -1.0)),
    *(
        (name, "confidence", value, "a probability in 0..1")
        for name in ("trace", "branches")
        for value in (math.nan, -0.01, 1.01, math.inf)
    ),
    ("trace", "acceptance", 1.01, "a probability in 0..1"),
    ("latency", "kind", "nap", "one of embed, layer, head, verify, prefill, host"),
    ("works", "kind", "nap", "one of run, check, verify"),
    *((name, "depth", value, "a depth in 1..8") for name in ("trace", "branches") for value in (0, 9)),
    ("rounds", "exits", [2, 8], "a depth between the layers in 1..7"),
    ("rounds", "checks", [0], "a depth between the layers in 1..7"),
    ("runs", "placement", [4, 8], "a depth between the layers in 1..7"),
    ("runs", "gammas", [0.5, 1.5], "a probability in 0..1"),
    ("runs", "cap", 0, "a number of drafts of 1 or more"),
    ("latency", "n_tokens", 0, "a number of tokens of 1 or more"),
    ("rounds", "batches", [1, 0], "a number of tokens of 1 or more"),
    ("trace", "output", 0, "an output of 1 or more"),
    ("prompts", "n_output", 0, "a number of tokens of 1 or more"),
]


@pytest.mark.parametrize(("name", "column", "value", "wanted"), ABSURD)
def test_an_absurd_value_is_refused(folder: Path, name: str, column: str, value: object, wanted: str) -> None:
    """Naming the row, the column, the file, what was wanted and what was got."""
    table = arrow(folder, name)
    values = table[column].to_pylist()
    values[1] = value
    put(
        folder, name, parquet(table.set_column(table.column_names.index(column), column, pa.array(values, table.schema.field(column).type)))
    )
    with pytest.raises(ProfileError) as refused:
        read_profile(folder)
    assert f"wanted {wanted.replace(' in 0..1', ' in 0..1')}" in str(refused.value)
    assert f"as {column} in row 1 of {folder / name}.parquet" in str(refused.value)
    assert "record it again with `adadecode-profile`" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "layer", "wanted"), [("layer", 8, "a layer in 0..7"), ("layer", -1, "a layer in 0..7"), ("head", 0, "a depth in 1..8")]
)
def test_latency_of_a_layer_outside_the_model_is_refused(folder: Path, kind: str, layer: int, wanted: str) -> None:
    """Layers count from 0, depths from 1."""
    latency = arrow(folder, "latency").to_pandas()
    latency.loc[3, ["kind", "layer"]] = (kind, layer)
    put(folder, "latency", parquet(pa.Table.from_pandas(latency, TABLES["latency"], preserve_index=False)))
    with pytest.raises(ProfileError, match=rf"wanted {wanted} as layer in row 3 of"):
        read_profile(folder)


def test_a_run_of_the_prefill_alone_takes_no_decode_time(original: Profile, tmp_path: Path) -> None:
    """The only zero that is not absurd."""
    changed = tables(original)
    changed["runs"] = changed["runs"].assign(n_tokens=1, decode_s=0.0)
    assert write_profile(tmp_path / "p", original.manifest, changed).runs["decode_s"].tolist() == [0.0, 0.0]


def test_an_acceptance_may_pass_one_by_rounding(original: Profile, tmp_path: Path) -> None:
    """It is a sum of many FP32 numbers."""
    changed = tables(original)
    changed["trace"]["acceptance"] = 1 + 1e-6
    assert write_profile(tmp_path / "p", original.manifest, changed).trace["acceptance"].max() > 1


@pytest.mark.parametrize("name", ["trace", "branches", "runs", "rounds", "works"])
def test_a_row_about_a_prompt_that_is_not_listed_is_refused(original: Profile, tmp_path: Path, name: str) -> None:
    """Naming table, prompt and row."""
    changed = tables(original)
    changed[name].loc[1, "prompt"] = 77
    with pytest.raises(ProfileError, match=rf"in {name} of .*, got prompt 77 in row 1"):
        write_profile(tmp_path / "p", original.manifest, changed)


def test_a_prompt_listed_twice_is_refused(original: Profile, tmp_path: Path) -> None:
    """Nobody could say which is meant."""
    changed = tables(original)
    changed["prompts"]["prompt"] = 0
    with pytest.raises(ProfileError, match="got prompt 0 twice"):
        write_profile(tmp_path / "p", original.manifest, changed)
