"""A gate needs evidence: what the manifest promises must be there, or nothing is passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from adadecode.profiles import Profile, read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.validation.evidence import missing_evidence
from adadecode.sim.validation.tiers import validate
from adadecode.sim.validation.trust import assess
from tests.support.handmade import promising, recorded_profile
from tests.support.paths import DEMO_PROFILE
from tests.support.sim_command import run, run_json
from tests.support.tampering import edit_manifest, parquet_bytes, read_table, replace_table

DESIGNS = (
    Design.of("vanilla"),
    Design.of(placement=(4,), gamma=0.5),
    Design.of("fixed", placement=(4,)),
)


@pytest.fixture
def promised(tmp_path: Path) -> Profile:
    """A recording whose settings name its designs and repeats, as the recorder writes them."""
    return promising(recorded_profile(tmp_path / "p", designs=DESIGNS))


def keep(profile: Profile, name: str, rows: Callable[[pa.Table], Any]) -> None:
    """Leave only some rows of a table, as if the others had never been recorded."""
    table = read_table(profile.path, name)
    table = table.filter(rows(table))
    replace_table(profile.path, name, parquet_bytes(table))
    edit_manifest(
        profile.path, lambda manifest: manifest["tables"][name].update(rows=table.num_rows)
    )


def test_a_whole_recording_lacks_nothing(promised: Profile, capsys: pytest.CaptureFixture) -> None:
    assert missing_evidence(promised) == []
    assert validate(promised).holds
    assert run("validate", promised.path, "--fail-over", "50%") == 0
    assert missing_evidence(read_profile(DEMO_PROFILE)) == []


@pytest.mark.parametrize(
    ("name", "rows", "sentence"),
    [
        ("rounds", lambda table: pc.less(table["prompt"], 0), "the rounds of no run were recorded"),
        (
            "runs",
            lambda table: pc.or_(pc.not_equal(table["policy"], "fixed"), table["instrumented"]),
            "timed runs that the manifest promises",
        ),
        (
            "runs",
            lambda table: pc.or_(pc.not_equal(table["repeat"], 1), table["instrumented"]),
            "timed runs that the manifest promises",
        ),
        (
            "runs",
            lambda table: pc.or_(
                pc.not_equal(table["policy"], "fixed"), pc.invert(table["instrumented"])
            ),
            "runs with every piece of work timed that the manifest promises",
        ),
    ],
    ids=["no rounds", "runs of a policy", "a repeat", "instrumented runs"],
)
def test_a_gate_fails_where_evidence_is_missing(
    promised: Profile,
    capsys: pytest.CaptureFixture[str],
    name: str,
    rows: Callable[[pa.Table], Any],
    sentence: str,
) -> None:
    """With code 1 and a sentence; the recording is not trusted, and the validation not held."""
    keep(promised, name, rows)
    if "piece of work" in sentence:
        keep(promised, "works", lambda table: pc.not_equal(table["policy"], "fixed"))
    assert run("validate", promised.path, "--fail-over", "50%") == 1
    out, err = capsys.readouterr()
    assert f"{sentence}" in err
    assert "Trust this recording: no" in out
    profile = read_profile(promised.path)
    validation = validate(profile)
    assert not validation.holds
    assert not validation.trust.trusted
    assert not assess(profile).trusted
    assert run_json(capsys, "validate", promised.path, "--json")["missing"] == list(
        validation.missing
    )


def test_a_gate_without_any_structure_fails_though_nothing_was_promised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the settings of a recording were left out."""
    profile = recorded_profile(tmp_path / "p", designs=DESIGNS)
    keep(profile, "rounds", lambda table: pc.less(table["prompt"], 0))
    assert run("validate", profile.path, "--fail-over", "50%") == 1
    assert "T0 structure, as the rounds of no run were recorded" in capsys.readouterr().err
    trust = validate(read_profile(profile.path)).trust
    assert any(reason.startswith("No run was compared") for reason in trust.reasons)


def test_missing_rounds_of_one_design_are_named(promised: Profile) -> None:
    rounds = promised.rounds[promised.rounds["policy"] != "fixed"]
    (sentence,) = missing_evidence(replace(promised, rounds=rounds))
    assert "runs with their rounds that the manifest promises" in sentence
    assert "the first is fixed 4 cap 5 on prompt 0" in sentence


def test_missing_prompts_and_baselines_are_named(promised: Profile) -> None:
    settings = {**promised.manifest["settings"], "n_prompts": 7}
    columns = promised.baselines.columns
    checked = {"name": "generate", "prompt": 0, "repeat": -1, "error": ""}
    baselines = pd.DataFrame([checked]).reindex(columns=columns)
    manifest = {**promised.manifest, "settings": settings, "baselines": {"generate": {}}}
    sentences = missing_evidence(replace(promised, manifest=manifest, baselines=baselines))
    assert sentences[0].startswith("The manifest promises 7 prompts, the recording holds 3")
    assert "3 baselines that were checked that the manifest promises 2 are missing" in sentences[1]
    assert "runs of baselines that the manifest promises" in sentences[2]
    assert "generate on prompt 0, repeat 0" in sentences[2]
    assert len(sentences) == 3


def test_a_baseline_that_could_not_run_needs_no_repeats(promised: Profile) -> None:
    rows = [
        {"name": "generate", "prompt": prompt, "repeat": -1, "error": "it has no draft model"}
        for prompt in promised.prompts["prompt"]
    ]
    baselines = pd.DataFrame(rows).reindex(columns=promised.baselines.columns)
    manifest = {**promised.manifest, "baselines": {"generate": {}}}
    assert missing_evidence(replace(promised, manifest=manifest, baselines=baselines)) == []


@pytest.mark.parametrize("key", ["designs", "repeats", "n_prompts"])
def test_a_recording_that_promises_nothing_does_not_pass_a_gate(
    promised: Profile, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """It can be used all the same."""
    edit_manifest(promised.path, lambda manifest: manifest["settings"].pop(key))
    assert run("validate", promised.path) == 0
    assert capsys.readouterr().err == ""
    assert run("validate", promised.path, "--fail-over", "50%") == 1
    assert f"failed: The settings in the manifest lack {key}" in capsys.readouterr().err
