"""The stage ``graphs``: a mode that breaks is reported, and the others are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.gpu_run import vanilla_speed
from scripts.gpu_run.state import StageFailure
from tests.support.gpu_run import gpu_run


@pytest.mark.parametrize("broken", ["eager", "cuda"])
def test_a_mode_that_broke_or_fell_back_fails_the_stage(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are timed all the same."""
    prepare, modes = vanilla_speed._prepare, ("eager", "cuda", "static")

    def prepare_or_break(model: Any, heads: Any, mode: str, *rest: Any) -> Any:
        if mode == broken:
            raise RuntimeError("no such graph")
        decoder, measured = prepare(model, heads, "static", *rest)
        decoder.parts.fallbacks.append("it runs eagerly")
        return decoder, measured

    monkeypatch.setattr(vanilla_speed, "_prepare", prepare_or_break)
    monkeypatch.setattr(vanilla_speed, "DRY_MODES", modes)
    message = (
        rf"{broken}: RuntimeError: no such graph; .*"
        r"static: it runs eagerly; .* runs with \w+, the"
    )
    with pytest.raises(StageFailure, match=message) as failure:
        vanilla_speed.graphs(gpu_run(tmp_path))
    assert list(failure.value.result["modes"]) == [mode for mode in modes if mode != broken]


@pytest.mark.parametrize(
    ("function", "left"), [("_time_text", []), ("event_cost", ["eager", "static"])]
)
def test_a_mode_that_breaks_while_it_is_measured_is_reported(
    function: str, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no mode can be timed, later stages run eagerly; else only the events are missing."""

    def breaking(*_: Any) -> Any:
        raise RuntimeError("the device broke")

    monkeypatch.setattr(vanilla_speed, function, breaking)
    with pytest.raises(StageFailure, match="RuntimeError: the device broke") as failure:
        vanilla_speed.graphs(gpu_run(tmp_path))
    assert list(failure.value.result["modes"]) == left
    assert failure.value.result["best"] in (left or ["eager"])
