"""``adadecode-sim validate`` of loads: tiers that a limit holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adadecode.sim.cli import validate as command
from tests.support.handmade import promising, recorded_profile
from tests.support.held_loads import held_load
from tests.support.sim_command import run


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        ({}, None),
        ({"simulated": (1.49, 0.51)}, None),
        (
            {"simulated": (1.6, 0.4)},
            (
                "T2 predicted times of the load under adadecode 1/2 gamma 0.3, the median error of "
                "60.00% is 10.00 percentage points over 50.00%; its runs differ by 0.00%"
            ),
        ),
        (
            {"time_error": 0.6},
            (
                "T1 times of the load under adadecode 1/2 gamma 0.3, the largest error of 60.00% "
                "is 10.00 percentage points over 50.00%"
            ),
        ),
        (
            {"why": "step 3 differs", "time_error": None},
            (
                "T0 batches of the load under adadecode 1/2 gamma 0.3, 2 of 2 runs differ from "
                "their replay: step 3 differs"
            ),
        ),
    ],
)
def test_each_tier_of_a_load_is_held_to_the_limit(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    load: dict[str, Any],
    sentence: str | None,
) -> None:
    held = held_load(**{"simulated": (1.0, 1.0), "measured": (1.0, 1.0), **load})
    monkeypatch.setattr(command, "_held_loads", lambda _profile: [held])
    path = promising(recorded_profile(tmp_path / "p")).path
    assert run("validate", path, "--fail-over", "50%") == (sentence is not None)
    failed = [one for one in capsys.readouterr().err.splitlines() if "failed:" in one]
    assert failed == ([] if sentence is None else [f"failed: {sentence}"])
