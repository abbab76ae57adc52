"""What each recording records, as options of ``adadecode-profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.errors import InputError
from scripts.gpu_run import recordings
from scripts.gpu_run.state import PAPER_RATES, StageFailure
from tests.support.gpu_run import gpu_run


def test_only_as_many_layers_as_fit_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine says how many would fit, and those are tried, with heads at their quarters."""
    calls: list[list[str]] = []

    def record(_run: object, name: str, options: list[str]) -> dict[str, Any]:
        calls.append(options)
        if len(calls) == 1:
            raise InputError(
                "it takes 63 GiB, 40 are free on cuda: take --layers 24 or --shape llama-2-7b"
            )
        return {"profile": name}

    monkeypatch.setattr(recordings, "record", record)
    run = gpu_run(tmp_path, dry=False, device="cuda")
    assert recordings.codellama(run) == {"profile": "codellama-34b"}
    assert "--layers" not in calls[0]
    assert calls[1][-2:] == ["--layers", "24"]
    heads = [
        [options[options.index(name) + 1] for name in ("--map", "--placements")]
        for options in calls
    ]
    assert heads == [
        ["8:12,16:24,24:36", "12,24,36;24;12,24"],
        ["8:6,16:12,24:18", "6,12,18;12;6,12"],
    ]


def test_the_papers_shape_runs_at_its_placement_and_gamma(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With full heads, and again with cheaper ones."""
    calls: dict[str, list[str]] = {}

    def record(_run: object, name: str, options: list[str]) -> dict[str, Any]:
        calls[name] = options
        return {}

    monkeypatch.setattr(recordings, "record", record)
    run = gpu_run(tmp_path, dry=False, device="cuda")
    recordings.paper(run)
    recordings.forms(run)
    for arguments in calls.values():
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        assert options["--shape"] == "llama-3.1-8b"
        assert options["--map"] == "8:8,16:16,24:24"
        assert options["--dtype"] == "bfloat16"
        assert "8,16,24" in options["--placements"].split(";")
        assert "0.75" in options["--gammas"].split(",")
        assert Path(options["--scripted"]) == PAPER_RATES
    assert calls["llama-8b-shortlist"][-2:] == ["--shortlist", "16384"]
    assert calls["llama-8b-int8"][-2:] == ["--head-dtype", "int8"]


def test_heads_at_other_depths_stand_near_the_quarters() -> None:
    assert recordings.heads_at_quarters(range(1, 16), 16, 32) == {4: 8, 8: 16, 12: 24}
    assert recordings.heads_at_quarters((8, 16, 24), 32, 2) == {24: 1}
    assert recordings.placements([1]) == ["1"]


def test_a_form_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(_run: object, name: str, _options: list[str]) -> dict[str, Any]:
        if name == "llama-8b-shortlist":
            raise InputError("no")
        return {"profile": name}

    monkeypatch.setattr(recordings, "record", record)
    with pytest.raises(StageFailure, match="llama-8b-shortlist: InputError: no") as failure:
        recordings.forms(gpu_run(tmp_path))
    assert failure.value.result["llama-8b-int8"] == {"profile": "llama-8b-int8"}
