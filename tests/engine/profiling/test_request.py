"""Options of a recording: typed in Python, as text on the command line and in manifests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adadecode.engine import RecordingOptions
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.request import OPTION_NAMES, RecordingRequest
from adadecode.engine.runtime.choices import GraphMode, Numerics
from adadecode.engine.runtime.given_options import GivenOptions
from adadecode.profiles.errors import DesignError, HeadsError, InputError, SamplingError
from adadecode.profiles.store import read_profile
from tests.support.paths import DEMO_PROFILE

KEPT = {
    "demo": False,
    "model": "m",
    "heads": "identity:4,8",
    "prompts": "p.jsonl",
    "prompt_field": "question",
    "prompt_split": None,
    "chat": True,
    "system": "Be brief.",
    "template_args": '{"enable_thinking": false, "effort": "low"}',
    "trust_remote_code": False,
    "shortlist_from": None,
    "scripted": None,
    "shape": None,
    "layers": None,
    "mapping": "3:6,7:14",
    "device": "auto",
    "device_map": None,
    "dtype": "bfloat16",
    "weights": "int8",
    "threads": 2,
    "draft_model": None,
    "domains": "arithmetic,prose",
    "limit": 4,
    "max_new_tokens": 64,
    "stop": None,
    "shortlist": 0,
    "shortlist_prompt": None,
    "head_dtype": "own",
    "head_forms": "full,int8,shortlist:8192+int8",
    "gammas": "0.5,0.75,1",
    "gates": "0,0.3",
    "placements": "4;8;4,8",
    "cap": 5,
    "fixed_drafts": 0,
    "repeats": 2,
    "samples": 2,
    "contexts": "5,90",
    "walks": "4,8",
    "max_tokens": 8,
    "branch_floor": 0.25,
    "seed": 3,
    "temperature": 0.7,
    "top_k": 40,
    "top_p": 0.9,
    "sample_seed": 1,
    "graphs": "static",
    "numerics": "native",
    "baselines": None,
}
"""Settings as recordings hold them."""


def test_settings_are_read_and_written_as_they_were() -> None:
    """Every option, the lists as their texts."""
    assert RecordingRequest.from_settings(KEPT).to_settings() == KEPT
    assert set(KEPT) == set(OPTION_NAMES)


WRONG_KINDS = (
    3, True, "x", [], ["x"], {"x": 1}, -1.5, 10**400, [[3, "y"]], [1.5], [None], [10**400], 1e308,
    float("nan"), "1e999", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("key", KEPT)
def test_options_of_a_wrong_kind_are_refused_in_a_sentence(key: str) -> None:
    """Some take some of these values."""
    for value in WRONG_KINDS:
        try:
            RecordingRequest.from_settings({**KEPT, key: value}).to_settings()
        except InputError as error:
            assert "\n" not in str(error), value  # noqa: PT017  others are of this kind


def test_the_committed_profiles_settings_are_read() -> None:
    """What an older version wrote stays; what it did not know takes its default."""
    settings = read_profile(DEMO_PROFILE).manifest["settings"]
    again = RecordingRequest.from_settings(settings).to_settings()
    assert {name: value for name, value in again.items() if name in settings} == {
        name: value for name, value in settings.items() if name in again
    }
    assert again["numerics"] == "native"


def test_texts_become_values() -> None:
    options = RecordingRequest.from_settings(KEPT).options
    assert options.gammas == (0.5, 0.75, 1.0)
    assert options.placements == ((4,), (8,), (4, 8))
    assert options.contexts == (5, 90)
    assert options.graphs is GraphMode.STATIC
    assert options.numerics is Numerics.NATIVE


def test_what_is_given_replaces_what_was_begun() -> None:
    """And an option that is written in another way is the same."""
    begun = RecordingRequest.from_settings(KEPT)
    nothing = GivenOptions(ModelSource)
    repeats = GivenOptions.parse(RecordingOptions, {"repeats": 9, "gammas": None})
    assert repeats.names == {"repeats"}
    changed = begun.changed(nothing, repeats)
    assert changed.options == replace(begun.options, repeats=9)
    gammas = GivenOptions.parse(RecordingOptions, {"gammas": "0.50,0.75,1.0"})
    assert begun.changed(nothing, gammas) == begun


def test_an_option_that_there_is_not_cannot_be_given() -> None:
    with pytest.raises(TypeError, match="RecordingOptions has no option gamas"):
        GivenOptions.parse(RecordingOptions, {"gamas": "0.5"})


def test_options_given_alone_need_not_make_sense_alone() -> None:
    """They join those that the recording was begun with."""
    begun = RecordingOptions(temperature=0.7)
    given = GivenOptions(RecordingOptions, {"top_k": 5})
    assert given.replace_in(begun).top_k == 5
    with pytest.raises(SamplingError):
        given.build()


def test_words_are_taken_for_choices() -> None:
    assert RecordingOptions(graphs="static", numerics="canonical").numerics is Numerics.CANONICAL  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"graphs": "vulkan"}, InputError, "wanted --graphs as one of auto, eager"),
        ({"repeats": 0}, InputError, "wanted --repeats of at least 1, got 0"),
        ({"repeats": 2.5}, InputError, "wanted --repeats as a whole number, got 2.5"),
        ({"branch_floor": float("nan")}, InputError, "as a probability in"),
        ({"gammas": ()}, InputError, "at least one confidence threshold"),
        ({"gammas": (2.0,)}, DesignError, "gamma is a probability"),
        ({"placements": ((0,),)}, InputError, "as numbers from 1 on"),
        ({"contexts": ()}, InputError, "as numbers from 1 on"),
        ({"max_tokens": 3}, InputError, "a cap of 5 drafts makes batches of up to 6 tokens"),
        ({"top_k": 5}, SamplingError, "give a temperature above 0 too"),
        ({"shortlist": -1}, HeadsError, "a shortlist holds at least 1 token, got -1"),
        ({"baselines": ("eagle",)}, InputError, "no baseline 'eagle'"),
        ({"baselines": ("all",), "temperature": 1.0}, InputError, "baselines decode greedily"),
    ],
)
def test_options_check_themselves(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RecordingOptions(**options)


@pytest.mark.parametrize("settings", [{"repeats": "many"}, {"demo": 3}, {"gammas": 0.5}])
def test_settings_of_another_type_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((InputError, TypeError)):
        RecordingRequest.from_settings(settings)
