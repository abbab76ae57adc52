"""`record` from Python: a profile of a model, heads and prompts that are objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

import adadecode.engine
from adadecode.engine import ExitHeads, Prompt, RecordingOptions, record
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.recording import IN_PYTHON, record_scripted
from adadecode.engine.profiling.setup import LoadedScript
from adadecode.profiles.errors import InputError
from adadecode.profiles.prompt_digest import prompt_digest
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.sharing.share import share
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.held_folder import held_elsewhere
from tests.support.models import tiny_model
from tests.support.training_run import letter_tokenizer

PROMPTS = ["the quick", Prompt(text="brown fox", domain="animals", max_new_tokens=4)]
OPTIONS = RecordingOptions(
    gammas=(0.05,), placements=((2,),), repeats=1, max_new_tokens=6, cap=2, fixed_drafts=0
)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32, num_hidden_layers=3)


def run(model: PreTrainedModel, out: Path, **more: Any) -> Profile:
    arguments: dict[str, Any] = {
        "heads": ExitHeads.identity(model, [2]),
        "options": OPTIONS,
        **more,
    }
    return record(model, letter_tokenizer(), PROMPTS, out=out, **arguments)


@pytest.fixture(scope="module")
def seen() -> list[tuple[int, int]]:
    """Calls of the progress callback of the recording below."""
    return []


@pytest.fixture(scope="module")
def recorded(
    model: PreTrainedModel, seen: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> Profile:
    out = tmp_path_factory.mktemp("record") / "p"
    return run(model, out, progress=lambda done, count: seen.append((done, count)))


def test_what_is_returned_is_the_finished_profile(recorded: Profile) -> None:
    again = read_profile(recorded.path)
    assert sorted(again.manifest["prompts"]["domains"]) == ["animals", "default"]
    assert again.prompts["max_new_tokens"].tolist() == [4, 6]
    assert validate(again).holds


def test_the_manifest_names_what_was_given(recorded: Profile) -> None:
    assert recorded.manifest["heads"]["name"] == IN_PYTHON
    assert recorded.manifest["model"]["name"] == "LlamaForCausalLM"
    assert recorded.manifest["settings"]["gammas"] == "0.05"
    assert recorded.manifest["settings"]["graphs"] == "eager"


def test_digests_of_prompts_are_salted_anew_in_each_recording(
    model: PreTrainedModel, recorded: Profile, tmp_path: Path
) -> None:
    """Nobody finds a prompt by the digest of its text alone, in a table or in the manifest."""
    about = recorded.manifest["prompts"]
    texts = ["brown fox", "the quick"]
    assert recorded.prompts["sha256"].tolist() == [
        prompt_digest(text, about["salt"]) for text in texts
    ]
    assert about["sha256"] == prompt_digest("\n".join(texts), about["salt"])
    plain = [prompt_digest(text) for text in texts]
    assert not set(plain) & set(recorded.prompts["sha256"])
    again = run(model, tmp_path / "again")
    assert again.manifest["prompts"]["salt"] != about["salt"]
    assert not set(again.prompts["sha256"]) & set(recorded.prompts["sha256"])
    digests = [one.manifest["settings"]["prompts_digest"] for one in (recorded, again)]
    assert len(set(digests)) == 2


def test_a_shared_copy_can_script_a_recording(
    model: PreTrainedModel, recorded: Profile, tmp_path: Path
) -> None:
    """Its stand-ins are embedded as other tokens; the rounds are the copy's."""
    copy = share(recorded, tmp_path / "copy")
    script = Script.of(copy, recorded.n_layers)
    loaded = LoadedScript(
        model=model, heads=ExitHeads.identity(model, [2]), script=script, shape=None
    )
    source = ModelSource(scripted=str(copy.path), model="here")
    scripted = record_scripted(loaded, out=tmp_path / "s", source=source, options=OPTIONS)
    assert validate(scripted).holds
    assert scripted.prompts["sha256"].tolist() == ["", ""]


def test_progress_counts_up_to_the_end(recorded: Profile, seen: list[tuple[int, int]]) -> None:
    assert recorded
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1]


def test_the_folder_is_not_locked_afterwards(recorded: Profile) -> None:
    assert sorted(path.suffix for path in recorded.path.iterdir()) == [
        ".json",
        *[".parquet"] * len(list(recorded.path.glob("*.parquet"))),
    ]


def test_a_finished_profile_is_not_overwritten(model: PreTrainedModel, recorded: Profile) -> None:
    with pytest.raises(InputError, match="already holds a finished recording"):
        run(model, Path(recorded.path))


def test_a_stopped_recording_goes_on(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same options, and with no others."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PieceStore, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run(model, tmp_path / "p")
    with pytest.raises(InputError, match="repeats was 1, is 3"):
        run(model, tmp_path / "p", resume=True, options=replace(OPTIONS, repeats=3))
    assert run(model, tmp_path / "p", resume=True).manifest["settings"]["repeats"] == 1


def test_two_recordings_into_one_folder_are_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    with (
        held_elsewhere(tmp_path / "p"),
        pytest.raises(InputError, match="another process is writing into"),
    ):
        run(model, tmp_path / "p")


def test_the_public_names_are_there() -> None:
    assert all(hasattr(adadecode.engine, name) for name in adadecode.engine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'recrod'"):
        _ = adadecode.engine.recrod
