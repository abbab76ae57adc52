"""Recordings whose texts end at stop strings: as long as generate's, and replayed exactly."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine import ExitHeads, RecordingOptions, record
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.plan import warn_of_cost
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.profiling.stopped_texts import LIMITATION
from adadecode.engine.runtime.given_options import GivenOptions
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.models import tiny_model
from tests.support.text_tokenizers import byte_level_tokenizer

PROMPTS = ["ab cd", "the bcd ", "é ab. ", "he he he"]
STOPS = ("é", "ae", ". ")
OPTIONS = RecordingOptions(
    gammas=(0.0, 0.3),
    placements=((2,), (1, 2)),
    repeats=1,
    max_new_tokens=24,
    cap=4,
    fixed_drafts=2,
    stop=STOPS,
)
TOKENIZER = byte_level_tokenizer()


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    """It has three layers, and a text of it goes on without an end token."""
    made = tiny_model("llama", torch.float32, num_hidden_layers=3, vocab_size=len(TOKENIZER))
    made.generation_config.eos_token_id = None
    return made


@pytest.fixture(scope="module", autouse=True)
def _without_an_end() -> None:
    TOKENIZER.eos_token = None


def run(model: PreTrainedModel, out: Path, **options: Any) -> Profile:
    heads = ExitHeads.identity(model, [1, 2])
    return record(
        model, TOKENIZER, PROMPTS, heads=heads, out=out, options=replace(OPTIONS, **options)
    )


def stopped(model: PreTrainedModel, prompt: str) -> list[int]:
    """Return the new tokens of the model's own ``generate`` with these stop strings."""
    ids = TOKENIZER(prompt, return_tensors="pt")["input_ids"]
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=24,
        pad_token_id=0,
        stop_strings=list(STOPS),
        tokenizer=TOKENIZER,
    )
    tokens: list[int] = out[0, ids.shape[1] :].tolist()
    return tokens


@pytest.fixture(scope="module")
def recorded(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return run(model, tmp_path_factory.mktemp("stopped") / "p", baselines=("generate",))


def test_texts_are_generates(model: PreTrainedModel, recorded: Profile) -> None:
    """Token for token, and their lengths are their budgets: no end token ended them."""
    texts = [stopped(model, prompt) for prompt in PROMPTS]
    assert sum(len(text) < 24 for text in texts) >= 2
    final = recorded.trace[recorded.trace["depth"] == 3]
    for number, text in enumerate(texts):
        own = final[final["prompt"] == number].sort_values("output")["token"].tolist()
        assert [int(recorded.prompts["first_token"][number]), *own] == text
    assert recorded.prompts["n_output"].tolist() == list(map(len, texts))
    assert recorded.prompts["max_new_tokens"].tolist() == list(map(len, texts))
    assert not recorded.prompts["ended"].any()


def test_runs_and_baselines_are_as_long_and_replay_exactly(recorded: Profile) -> None:
    lengths = dict(zip(recorded.prompts["prompt"], recorded.prompts["n_output"], strict=True))
    assert (recorded.runs["n_tokens"] == recorded.runs["prompt"].map(lengths)).all()
    structure = validate(recorded).to_dict()["structure"]
    assert structure["exact"] == structure["runs"] > 0
    baselines = recorded.baselines
    assert baselines["exact"].all()
    assert (baselines["n_tokens"] == baselines["prompt"].map(lengths)).all()


def test_the_manifest_says_so(recorded: Profile) -> None:
    assert LIMITATION in recorded.manifest["limitations"]
    assert recorded.manifest["settings"]["stop_strings"] == list(STOPS)
    assert recorded.manifest["settings"]["stop"] == '["\\u00e9", "ae", ". "]'
    request = RecordingRequest.from_settings(recorded.manifest["settings"])
    assert request.options.stop == STOPS


def test_the_models_own_strings_count_and_can_be_left_out(
    model: PreTrainedModel, recorded: Profile, tmp_path: Path
) -> None:
    """As for ``generate``."""
    few = {"placements": ((2,),), "gammas": (0.0,), "fixed_drafts": 0, "cap": 1}
    model.generation_config.stop_strings = list(STOPS)
    try:
        own = run(model, tmp_path / "own", stop=None, **few)
        without = run(model, tmp_path / "without", stop=(), **few)
    finally:
        model.generation_config.stop_strings = None
    assert own.prompts["n_output"].tolist() == recorded.prompts["n_output"].tolist()
    assert without.prompts["n_output"].tolist() == [24] * 4
    assert LIMITATION not in without.manifest["limitations"]


def test_sampled_texts_are_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    """Each run draws another one, which stops elsewhere."""
    with pytest.raises(InputError, match="each sampled run draws another text: record greedily"):
        run(model, tmp_path / "p", temperature=1.0)


def test_a_script_stops_where_its_recording_does() -> None:
    request = RecordingRequest(
        source=ModelSource(scripted="p", demo=True), options=RecordingOptions(stop=("a",))
    )
    with pytest.raises(InputError, match="texts end where those of the recording do: leave --stop"):
        request.check()


# ---- how strings are written ----


@pytest.mark.parametrize(
    ("text", "strings"),
    [
        ("User:", ("User:",)),
        ("\n\n", ("\n\n",)),
        (" ", (" ",)),
        ("a, b; c", ("a, b; c",)),
        ('"\\n\\n"', ("\n\n",)),
        ('["\\n\\n", "é"]', ("\n\n", "é")),
        ("[]", ()),
    ],
)
def test_strings_are_a_text_or_json(text: str, strings: tuple[str, ...]) -> None:
    assert GivenOptions.parse(RecordingOptions, {"stop": text}).build().stop == strings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"\n\n", r"got a backslash in '\\\\n\\\\n', .*: write JSON, like --stop '\"\\n\\n\"'"),
        ("[1]", "wanted --stop as a text, or as JSON"),
        ('["a"', "wanted --stop as a text, or as JSON"),
        ('[["a"]]', "wanted --stop as a text, or as JSON"),
        ("[" * 100_000, "wanted --stop as a text, or as JSON"),
        ('["a", ""]', "wanted --stop as strings, none of them empty"),
        ("", r"wanted --stop as a text, or as JSON, got none: \[\] stands for no text"),
    ],
)
def test_what_are_no_strings_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GivenOptions.parse(RecordingOptions, {"stop": text}).build()


# ---- what a recording warns of ----


def test_a_tokenizer_with_another_end_is_warned_of(model: PreTrainedModel, tmp_path: Path) -> None:
    tokenizer = byte_level_tokenizer()
    heads = ExitHeads.identity(model, [1, 2])
    options = replace(OPTIONS, stop=(), placements=((2,),), gammas=(0.0,), max_new_tokens=2)
    with pytest.warns(UserWarning, match="ends texts with '</s>' .* nothing does") as found:
        record(model, tokenizer, ["ab"], heads=heads, out=tmp_path / "p", options=options)
    assert len(found) == 1


def test_a_setting_that_changes_samples_is_warned_of(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    """Unless an option stands in its place."""
    model.generation_config.top_k = 5
    few = {"stop": (), "temperature": 1.0, "placements": ((2,),), "max_new_tokens": 2}
    try:
        with pytest.warns(UserWarning, match=r"bend what generate writes \(top_k=5\)") as found:
            run(model, tmp_path / "p", **few)
        assert len(found) == 1
        run(model, tmp_path / "q", top_k=5, **few)
    finally:
        model.generation_config.top_k = None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cap": 1000}, r"every batch of 1 to 1,001 tokens are timed, .* \(--cap 1000\): take a"),
        ({"max_tokens": 1001}, r"1 to 1,001 tokens are timed, .*\(--cap 5, --max-tokens 1001\)"),
    ],
)
def test_batches_that_take_long_to_time_are_warned_of(
    options: dict[str, Any], message: str
) -> None:
    with pytest.warns(UserWarning, match=message):
        warn_of_cost(RecordingOptions(**options))


def test_usual_batches_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_cost(RecordingOptions(cap=63))
        warn_of_cost(RecordingOptions(max_tokens=64))
