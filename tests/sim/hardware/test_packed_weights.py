"""A profile recorded with packed weights is not taken for one of its dtype alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import Profile
from adadecode.profiles.errors import DeviceError
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.report.manifest_text import provenance
from tests.support.handmade import recorded_profile
from tests.support.recordings import about
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile


def packed(path: Path, weights: str = "int8", make: Any = synthetic_profile) -> Profile:
    """As on an A100, in FP16 but for the layers' matrices."""
    profile: Profile = make(path, manifest={**about(), "weights": weights})
    return profile


def test_its_precision_is_the_recorded_one(tmp_path: Path) -> None:
    assert Provenance.of(packed(tmp_path / "p")).require_precision() == Precision(
        weights="int8", activations="fp16"
    )
    with pytest.raises(DeviceError, match="no dtype 'int3'"):
        Provenance.of(packed(tmp_path / "q", "int3")).require_precision()


def test_the_report_says_so(tmp_path: Path) -> None:
    assert provenance(packed(tmp_path / "p"))["number format"] == "float16, int8 weights"


def test_latencies_are_carried_from_what_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To FP16 weights on the same device is a longer way from int8 than from FP16."""
    plain = synthetic_profile(tmp_path / "plain", manifest=about())
    there = ["--to", "a100-80gb-sxm", "--dtype", "fp16", "--tokens", "1", "--json"]
    (wide,) = run_json(capsys, "transfer", plain.path, *there)["rows"]
    (narrow,) = run_json(capsys, "transfer", packed(tmp_path / "p").path, *there)["rows"]
    assert wide["predicted_s"] == wide["source_s"]
    assert narrow["predicted_s"] > 1.2 * narrow["source_s"]


def test_bytes_are_counted_as_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By ``account`` and ``predict``: asking for the recorded format changes nothing, and to go to
    FP16 is a change that is told.
    """
    profile = packed(tmp_path / "p", make=recorded_profile)
    design = ["--heads", "2", "--gamma", "0.5"]
    own = run_json(capsys, "account", profile.path, *design, "--json")
    assert own == run_json(capsys, "account", profile.path, *design, "--dtype", "int8", "--json")
    assert own != run_json(capsys, "account", profile.path, *design, "--dtype", "fp16", "--json")
    document = run_json(
        capsys, "predict", profile.path, *design, "--to", "h100-sxm", "--dtype", "fp16", "--json"
    )
    assert any(
        "the text was recorded in int8 weights, fp16 else" in note for note in document["notes"]
    )


def test_a_sweep_keeps_the_recorded_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is kept on the recorded device and on another one."""
    profile = packed(tmp_path / "p", make=recorded_profile)
    space = [
        "--devices",
        "h100-sxm",
        "--gammas",
        "0.5",
        "--max-heads",
        "1",
        "--threads",
        "1",
        "--json",
    ]
    assert run("sweep", profile.path, "--out", tmp_path / "sweep", *space) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["notes"][0].startswith(
        "carried from a100-80gb-sxm (int8 weights, fp16 else) to h100-sxm (int8 weights, fp16 else)"
    )
