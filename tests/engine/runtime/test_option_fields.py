"""Options from Python: numbers of any kind end as plain ones, and anything else is one sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.runtime.option_fields import to_settings
from adadecode.engine.training.options import TrainingOptions
from adadecode.profiles.errors import InputError


@pytest.mark.parametrize("kind", [np.int64, np.array, torch.tensor])
def test_whole_numbers_of_any_kind_are_kept_as_ints(kind: Any) -> None:
    """A manifest, which is JSON, can hold them."""
    given = {"max_new_tokens": 8, "cap": 3, "seed": 7, "repeats": 2, "limit": 1, "max_tokens": 9}
    options = RecordingOptions(
        **{name: kind(value) for name, value in given.items()},
        contexts=[kind(4), kind(9)],  # type: ignore[arg-type]
        placements=[[kind(2)], (kind(2), kind(4))],  # type: ignore[arg-type]
    )
    assert options == RecordingOptions(**given, contexts=(4, 9), placements=((2,), (2, 4)))  # type: ignore[arg-type]
    assert json.dumps(to_settings(options))


@pytest.mark.parametrize("kind", [np.float32, np.array, torch.tensor])
def test_numbers_of_any_kind_are_kept_as_floats(kind: Any) -> None:
    given = {"temperature": 0.75, "top_p": 0.5, "branch_floor": 0.25}
    options = RecordingOptions(
        **{name: kind(value) for name, value in given.items()},
        gammas=kind([0.5, 0.75]) if kind is not np.float32 else [kind(0.5), kind(0.75)],
    )
    assert options == RecordingOptions(**given, gammas=(0.5, 0.75))  # type: ignore[arg-type]
    assert json.dumps(to_settings(options))


@pytest.mark.parametrize("top_k", [0, -1, np.int64(0), None])
@pytest.mark.parametrize("top_p", [1.0, 1, None])
def test_what_keeps_all_tokens_is_as_if_it_were_left_out(top_k: Any, top_p: Any) -> None:
    """Also where nothing is sampled, and in what a resumed recording must have again."""
    for temperature in (None, 0.0, 0.5):
        options = RecordingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
        assert options == RecordingOptions(temperature=temperature)


@pytest.mark.parametrize(
    ("owner", "name", "value", "message"),
    [
        (RecordingOptions, "max_new_tokens", 8.0, "wanted --max-new-tokens as a whole number, got"),
        (RecordingOptions, "cap", "5", "wanted --cap as a whole number, got '5'"),
        (RecordingOptions, "cap", True, "wanted --cap as a whole number, got True"),
        (RecordingOptions, "seed", 0.5, "wanted --seed as a whole number, got 0.5"),
        (RecordingOptions, "sample_seed", "a", "wanted --sample-seed as a whole number, got 'a'"),
        (RecordingOptions, "temperature", "hot", "wanted --temperature as a number, got 'hot'"),
        (RecordingOptions, "top_k", 2.5, "wanted --top-k as a whole number, got 2.5"),
        (RecordingOptions, "top_p", True, "wanted --top-p as a number, got True"),
        (RecordingOptions, "branch_floor", "a", "wanted --branch-floor as a number, got 'a'"),
        (RecordingOptions, "gammas", 0.5, "wanted --gammas as a list, got 0.5: give one, also of"),
        (RecordingOptions, "gammas", ("0.5",), "wanted --gammas as a number, got '0.5'"),
        (RecordingOptions, "contexts", ("4",), "wanted --contexts as a whole number, got '4'"),
        (RecordingOptions, "placements", (4,), "wanted --placements as a list, got 4"),
        (RecordingOptions, "domains", "code", "wanted --domains as a list, got 'code'"),
        (TrainingOptions, "lr", "fast", "wanted --lr as a number, got 'fast'"),
        (TrainingOptions, "epochs", 2.0, "wanted --epochs as a whole number, got 2.0"),
        (TrainingOptions, "keep_cache", "no", "wanted --keep-cache as True or False, got 'no'"),
        (ModelSource, "threads", "two", "wanted --threads as a whole number, got 'two'"),
    ],
)
def test_what_is_no_value_of_an_option_is_one_sentence(
    owner: Any, name: str, value: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        owner(**{name: value})
