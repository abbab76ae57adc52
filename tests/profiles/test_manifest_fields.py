"""What each field of a manifest must be, also where somebody edited and resealed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import MANIFEST, ProfileError, read_profile
from adadecode.profiles.manifest import check_manifest
from adadecode.profiles.manifest_fields import FIELDS
from tests.support.paths import ROOT
from tests.support.tampering import edit_manifest

WRONG: tuple[object, ...] = (
    *("text", "x" * 100_000, "", -1, 0, 2.5, 1e301, 10**400, True, [], ["x"], [-1], [[]]),
    *({}, {"x": "x"}, {"x": []}, {"": {}}),
)
"""Values of every kind, each of which is wrong for some field."""


def full_manifest(folder: Path) -> dict[str, Any]:
    """Return a manifest that has every part that some recording has."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    machine = {
        "device": "cuda",
        "threads": 4,
        "host": {"cpu": "a", "cores": 2, "threads": 4, "memory_bytes": 2**34, "caches": []},
        "gpu": {"name": "b", "memory_bytes": 2**34, "multiprocessors": 80, "l2_bytes": 0},
    }
    form = {"shortlist": 8, "dtype": "int8", "product": "exact", "tokens": [1, 2]}
    coverage = {"outputs": 9, "outside": 0.1, "depths": [2], "full": [0.5], "same": [1]}
    manifest["model"] |= {"revision": None, "class": "C", "hidden_size": 8, "shape": {}}
    manifest["heads"] |= {"name": "h", "form": form, "coverage": coverage}
    script = {"profile": "p", "model": "m", "n_layers": 8, "map": {"2": 2}, "form": form}
    return manifest | {
        "hardware": {**machine, "before": machine, "after": machine},
        "software": {"torch": "2"},
        "seed": -1,
        "sampling": {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "seed": 2**70},
        "scripted": script,
        "conditions": {"load": [1.0, None], "piece": ["a"]},
        "baselines": {"generate": {}},
        "weights": None,
    }


def put(manifest: dict[str, Any], keys: list[str], value: object) -> None:
    """Put a value into a manifest; ``*`` stands for some key."""
    *way, last = ("some" if key == "*" else key for key in keys)
    about = manifest
    for key in way:
        about = about.setdefault(key, {})
    about[last] = value


@pytest.mark.parametrize(
    "place", [ROOT / "profiles" / "recorded" / "demo-cpu", ROOT / "scripts" / "paper-rates"]
)
def test_the_manifests_of_the_repository_are_accepted(place: Path) -> None:
    check_manifest(json.loads((place / MANIFEST).read_text()), "it")


def test_a_manifest_with_every_part_is_accepted(folder: Path) -> None:
    assert check_manifest(full_manifest(folder), "it") == 8


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.path)
def test_a_field_of_the_wrong_kind_is_refused_by_its_name(folder: Path, field: Any) -> None:
    """Or accepted, where the value makes sense there; at least five of the values never do."""
    refused = 0
    for value in WRONG:
        manifest = full_manifest(folder)
        put(manifest, field.path.split("."), value)
        try:
            check_manifest(manifest, "it")
        except ProfileError:
            refused += 1
    assert refused >= 5


@pytest.mark.parametrize("field", [one for one in FIELDS if one.required], ids=lambda one: one.path)
def test_a_required_field_may_not_be_null(folder: Path, field: Any) -> None:
    manifest = full_manifest(folder)
    put(manifest, field.path.split("."), None)
    with pytest.raises(ProfileError, match=r"wanted .* as .* in it, got None"):
        check_manifest(manifest, "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hardware": "a machine"}, "wanted an object as hardware in"),
        ({"hardware": {"before": {"host": "x"}}}, r"an object as hardware\.before\.host"),
        ({"hardware": {"before": []}}, r"an object as hardware\.before"),
        ({"hardware": {"before": {"threads": "two"}}}, r"1..1000000 as hardware\.before\.threads"),
        ({"heads": {"depths": [2], "form": "int8"}}, r"an object as heads\.form"),
        ({"heads": {"depths": [2], "coverage": 0.5}}, r"an object as heads\.coverage"),
        ({"heads": {"depths": [2], "coverage": {"outside": 0.5}}}, r"heads\.coverage\.outputs"),
        ({"heads": {"depths": [True]}}, r"wanted heads\.depths rising"),
        ({"scripted": "yes"}, "an object as scripted"),
        ({"scripted": {"profile": "p", "model": "m", "n_layers": 8, "map": [2]}}, r"scripted\.map"),
        ({"sampling": {"temperature": "hot", "seed": 0}}, r"sampling\.temperature"),
        ({"sampling": []}, "an object as sampling"),
        ({"model": {"name": "m", "n_layers": 8, "n_parameters": "many"}}, r"model\.n_parameters"),
        ({"model": {"name": "m", "n_layers": 8, "hidden_size": [64]}}, r"model\.hidden_size"),
        ({"model": {"name": "m", "n_layers": 8, "config": "c"}}, r"an object as model\.config"),
        ({"model": {"name": "m", "n_layers": 10**9}}, r"model\.n_layers"),
        ({"software": ["torch"]}, "an object as software"),
        ({"prompts": {"count": "many"}}, r"prompts\.count"),
        ({"limitations": 3}, "a list of texts as limitations"),
        ({"seed": "0"}, "as seed in"),
        ({"max_new_tokens": 1e3}, "as max_new_tokens"),
        ({"eos_token_ids": [True]}, "a list of token ids as eos_token_ids"),
        ({"name": ["a"]}, "as name in"),
        ({"created": "0001-01-01T00:00:00+14:00"}, "wanted a time"),
        ({"tables": []}, "an object as tables"),
        ({"settings": {"gamma": 10**400}}, r"numbers of at most 1e\+300 .* as settings\.gamma"),
        ({"conditions": {"sm_clock_mhz": 1500}}, r"a list of samples as conditions\.sm_clock_mhz"),
    ],
)
def test_an_edited_and_resealed_manifest_is_refused(
    folder: Path, change: Mapping[str, Any], message: str
) -> None:
    edit_manifest(folder, lambda manifest: manifest.update(change))
    with pytest.raises(ProfileError, match=message):
        read_profile(folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (7, r"an object as tables\.trace"),
        ({"rows": 1, "sha256": "0" * 64}, r"trace\.parquet as tables\.trace\.file .* got None"),
        ({"file": "../x", "rows": 1, "sha256": "0" * 64}, r"tables\.trace\.file"),
        ({"file": "trace.parquet", "rows": -1, "sha256": "0" * 64}, r"tables\.trace\.rows"),
        ({"file": "trace.parquet", "rows": 1, "sha256": 5}, r"tables\.trace\.sha256"),
    ],
)
def test_an_entry_of_a_table_that_makes_no_sense_is_refused(
    folder: Path, entry: object, message: str
) -> None:
    edit_manifest(folder, lambda manifest: manifest["tables"].update(trace=entry))
    with pytest.raises(ProfileError, match=message):
        read_profile(folder)


def test_rows_that_the_manifest_does_not_promise_are_refused(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest["tables"]["trace"].update(rows=7))
    with pytest.raises(ProfileError, match=r"wanted 7 rows in .*trace\.parquet, got \d+"):
        read_profile(folder)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e400", '"\\ud800"', '{"a": 1, "a": 2}'])
def test_json_that_carries_no_plain_value_is_refused(folder: Path, text: str) -> None:
    """No seal can be made for most of it, so the file is written by hand."""
    whole = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(whole.replace('"settings": {}', f'"settings": {{"x": {text}}}'))
    with pytest.raises(ProfileError, match=r"JSON"):
        read_profile(folder)
