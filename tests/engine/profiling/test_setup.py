"""Loading what a recording names: what is wrong by the configuration is said before the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adadecode.engine.profiling import setup
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.profiles.errors import HeadsError
from tests.support.saved_model import saved_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": "identity:99"}, "a head lies at a depth 1..5 of this model, got 99"),
        ({"heads": "identity:2,6"}, "a head lies at a depth 1..5 of this model, got 6"),
        ({"heads": "identity:2", "placements": "2;4"}, r"no head at depth 4: heads exist at \[2\]"),
        ({"demo": True, "placements": "99"}, r"no head at depth 99: heads exist at \[1, 2, 3,"),
    ],
)
def test_a_depth_without_a_head_is_found_before_the_model_is_loaded(
    model: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(setup, "load_model", refuse)
    named = {} if "demo" in settings else {"model": str(model), "prompts": f"{model}/prompts.jsonl"}
    with pytest.raises(HeadsError, match=message):
        setup.load_named(RecordingRequest.from_settings(named | settings))
