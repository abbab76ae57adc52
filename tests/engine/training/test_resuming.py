"""What a training run left is used again only where it is whole and this run's."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.runtime.tensor_file import read_tensors, write_tensors
from adadecode.engine.training import hidden_state_store
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.closed_form import START
from adadecode.engine.training.options import TrainingOptions
from adadecode.engine.training.pipeline import CACHE, train_heads
from adadecode.engine.training.run_folder import CONTINUATIONS, STATE, write_state
from adadecode.engine.training.trainer import Trainer
from adadecode.engine.training.training_run import CHECKPOINT
from adadecode.profiles.digest import sealed
from adadecode.profiles.errors import InputError
from tests.support.failing_disk import Fault, failing_disk, states_of, steps_of
from tests.support.heads_files import same_matrices
from tests.support.models import tiny_model
from tests.support.training_run import PROMPTS, SETTINGS, letter_tokenizer

SHORT: dict[str, Any] = SETTINGS | {"depths": (1, 2), "epochs": 2, "max_new_tokens": 6}

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


@pytest.fixture(scope="module", autouse=True)
def _small_files() -> Any:
    """Two files of hidden states of the texts that are trained on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hidden_state_store, "SHARD_BYTES", 8 * 3 * 64 * 2)
        yield


def train(model: PreTrainedModel, out: Path, **changes: Any) -> ExitHeads:
    options = TrainingOptions(**{**SHORT, "keep_cache": True, **changes})
    return train_heads(model, letter_tokenizer(), PROMPTS[:4], out=out, options=options)


def unfinish(folder: Path) -> Path:
    """Make a finished run one that was stopped just before its heads were saved."""
    settings = json.loads((folder / STATE).read_text())["settings"]
    write_state(folder, settings, finished=False)
    for path in folder.glob("heads.*"):
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def runs(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs with everything cached but the heads: one, and one with another seed."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("one", "other")}
    train(model, found["one"])
    train(model, found["other"], seed=1)
    return {name: unfinish(folder) for name, folder in found.items()}


@pytest.fixture(scope="module")
def whole(
    model: PreTrainedModel, runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> ExitHeads:
    """What the first run must give."""
    return train(model, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["one"], tmp_path / "run"))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(0).randrange(len(data) // 2, len(data))] ^= 4
    path.write_bytes(data)


DAMAGES: list[Damage] = [torn, emptied, zeroed, flipped]
CACHED = [
    f"{CACHE}/train-00000.safetensors",
    f"{CACHE}/held-out-00000.safetensors",
    f"{CACHE}/{START}",
    CONTINUATIONS,
]
"""What a run keeps, by its place in the run's folder."""


def assert_made_again(model: PreTrainedModel, folder: Path, whole: ExitHeads) -> None:
    heads = train(model, folder)
    assert same_matrices(heads.transforms, whole.transforms)
    assert heads.metrics == whole.metrics


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", CACHED)
def test_damaged_texts_and_states_are_computed_again(
    model: PreTrainedModel, folder: Path, whole: ExitHeads, name: str, damage: Damage
) -> None:
    """With their checkpoint gone, too, they give the heads of a run that was not damaged."""
    (folder / CACHE / CHECKPOINT).unlink()
    damage(folder / name)
    assert_made_again(model, folder, whole)


@pytest.mark.parametrize("name", CACHED)
def test_texts_and_states_of_another_run_are_computed_again(
    model: PreTrainedModel, folder: Path, runs: dict[str, Path], whole: ExitHeads, name: str
) -> None:
    (folder / CACHE / CHECKPOINT).unlink()
    shutil.copy(runs["other"] / name, folder / name)
    assert_made_again(model, folder, whole)


def test_files_that_are_swapped_are_computed_again(
    model: PreTrainedModel, folder: Path, whole: ExitHeads
) -> None:
    """Two of the same size and run, of other texts."""
    (folder / CACHE / CHECKPOINT).unlink()
    one, other = (folder / CACHE / f"train-{index:05}.safetensors" for index in range(2))
    moved = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(moved)
    assert_made_again(model, folder, whole)


def test_lines_that_are_swapped_are_made_again(
    model: PreTrainedModel, folder: Path, whole: ExitHeads
) -> None:
    """The outputs of two prompts."""
    (folder / CACHE / CHECKPOINT).unlink()
    path = folder / CONTINUATIONS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for key in ("output", "digest"):
        lines[0][key], lines[1][key] = lines[1][key], lines[0][key]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert_made_again(model, folder, whole)


def test_one_damaged_line_costs_one_batch(
    model: PreTrainedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / CONTINUATIONS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[1].replace("[", "[5,"), *lines[2:]]))
    calls = _counted(monkeypatch, f"{BatchedGeneration.__module__}.BatchedGeneration.continued")
    train(model, folder, batch_prompts=2)
    assert len(calls) == 1
    assert sorted(path.read_text().splitlines()) == sorted(map(str.strip, lines))


def test_only_damaged_states_are_computed_again(
    model: PreTrainedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped(folder / CACHE / "train-00001.safetensors")
    calls = _counted(monkeypatch, "adadecode.engine.training.hidden_state_store.write_tensors")
    train(model, folder)
    assert [Path(call[0]).name for call in calls] == ["train-00001.safetensors"]


def _counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    from pkgutil import resolve_name

    module, _, attribute = name.rpartition(".")
    owner = resolve_name(module)
    function, calls = getattr(owner, attribute), []

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, attribute, counting)
    return calls


# ---- checkpoints ----


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_refused_by_name(
    model: PreTrainedModel, folder: Path, whole: ExitHeads, damage: Damage
) -> None:
    """And deleted as the message says, the run goes on to its heads."""
    path = folder / CACHE / CHECKPOINT
    damage(path)
    with pytest.raises(InputError, match=r"checkpoint.* is damaged .*delete it to train the heads"):
        train(model, folder)
    path.unlink()
    assert_made_again(model, folder, whole)


def test_a_checkpoint_of_another_run_is_refused(
    model: PreTrainedModel, folder: Path, runs: dict[str, Path]
) -> None:
    shutil.copy(runs["other"] / CACHE / CHECKPOINT, folder / CACHE / CHECKPOINT)
    with pytest.raises(InputError, match="is of another training run: delete it"):
        train(model, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda all_: all_["1.offset"][2].fill_(float("nan")), "1.offset holds numbers that no"),
        (lambda all_: all_["1.offset"][2, 3].fill_(1e4), "1.offset holds numbers that no training"),
        (lambda all_: all_["2.exp_avg_sq"].neg_(), "2.exp_avg_sq holds numbers that no training"),
        (lambda all_: all_.pop("2.exp_avg"), r"wanted 2\.exp_avg as .*, got None"),
        (lambda all_: all_.update(x=torch.zeros(1)), r"wanted x as None, got"),
        (
            lambda all_: all_.update({"1.offset": torch.zeros(64)}),
            r"wanted 1\.offset as \(torch\.float32, \(64, 64\)\), got \(torch\.float32, \(64,\)\)",
        ),
        (
            lambda all_: all_.update({"1.offset": all_["1.offset"].long()}),
            r"wanted 1\.offset as .*, got \(torch\.int64",
        ),
        (lambda all_: all_["1.step"].fill_(7.0), "wanted 1 to 2 epochs of 1 steps"),
    ],
)
def test_a_sealed_checkpoint_that_no_training_writes_is_refused(
    model: PreTrainedModel, folder: Path, change: Any, message: str
) -> None:
    path = folder / CACHE / CHECKPOINT
    found = read_tensors(path, "", numbers=2**20)
    change(found.tensors)
    write_tensors(path, found.tensors, found.about)
    with pytest.raises(InputError, match=message):
        train(model, folder)


@pytest.mark.parametrize("epochs", ["0", "3", "-1", "two", "", "9" * 5000])
def test_a_sealed_checkpoint_with_absurd_epochs_is_refused(
    model: PreTrainedModel, folder: Path, epochs: str
) -> None:
    path = folder / CACHE / CHECKPOINT
    found = read_tensors(path, "", numbers=2**20)
    write_tensors(path, found.tensors, found.about | {"epochs": epochs})
    with pytest.raises(InputError, match="wanted 1 to 2 epochs of 1 steps"):
        train(model, folder)


@pytest.mark.parametrize("name", [CHECKPOINT, "train-00000.safetensors"])
def test_a_file_of_absurd_size_is_not_read(
    model: PreTrainedModel, folder: Path, whole: ExitHeads, name: str
) -> None:
    """Mostly a hole, it takes no room on the disk."""
    path = folder / CACHE / name
    with path.open("r+b") as file:
        file.truncate(2**40)
    if name == CHECKPOINT:
        with pytest.raises(InputError, match="wanted a file of at most"):
            train(model, folder)
        path.unlink()
    assert_made_again(model, folder, whole)


def test_a_loop_of_links_in_the_cache_is_refused(model: PreTrainedModel, folder: Path) -> None:
    path = folder / CACHE / "train-00000.safetensors"
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(InputError, match="it is a link to"):
        train(model, folder)


@pytest.mark.parametrize("name", [f"{CACHE}/{CHECKPOINT}", *CACHED])
def test_a_pipe_in_the_cache_is_refused_and_not_waited_for(
    model: PreTrainedModel, folder: Path, name: str
) -> None:
    path = folder / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="pipe"):
        train(model, folder)


# ---- the state of the run ----


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"finished": True}, "was edited: its digest is"),
        ({"format": 3}, "does not describe a training run"),
        ({"format": "2"}, "does not describe a training run"),
        ({"settings": []}, "does not describe a training run"),
        ({"finished": "no"}, "does not describe a training run"),
        ({"digest": None}, "was edited"),
    ],
)
def test_an_edited_state_is_refused(
    model: PreTrainedModel, folder: Path, content: dict[str, Any], message: str
) -> None:
    state = json.loads((folder / STATE).read_text())
    (folder / STATE).write_text(json.dumps(state | content))
    with pytest.raises(InputError, match=message):
        train(model, folder)


def earlier_version(folder: Path, *, finished: bool) -> None:
    settings = json.loads((folder / STATE).read_text())["settings"]
    state = {"format": 1, "settings": settings, "finished": finished}
    (folder / STATE).write_text(json.dumps(state))


def test_a_run_that_an_earlier_version_began_is_refused(
    model: PreTrainedModel, folder: Path
) -> None:
    """What it cached carries no digests."""
    earlier_version(folder, finished=False)
    with pytest.raises(InputError, match="another version of this program"):
        train(model, folder)


def test_a_run_that_an_earlier_version_finished_gives_its_heads(
    model: PreTrainedModel, folder: Path, whole: ExitHeads
) -> None:
    train(model, folder)
    earlier_version(folder, finished=True)
    assert same_matrices(train(model, folder).transforms, whole.transforms)


def test_heads_of_a_finished_run_that_were_damaged_are_refused(
    model: PreTrainedModel, folder: Path
) -> None:
    train(model, folder)
    flipped(folder / "heads.safetensors")
    with pytest.raises(InputError, match=r"heads\.safetensors is damaged"):
        train(model, folder)


def test_other_sealed_settings_are_those_of_another_run(
    model: PreTrainedModel, folder: Path
) -> None:
    state = json.loads((folder / STATE).read_text())
    state["settings"]["weights"] = "0" * 16
    (folder / STATE).write_text(json.dumps(sealed(state, "a state")))
    with pytest.raises(InputError, match="weights was 0000000000000000"):
        train(model, folder)


# ---- disks that fail, and processes that are killed ----


def test_a_run_that_is_killed_at_any_step_goes_on_to_the_same_heads(
    model: PreTrainedModel, whole: ExitHeads, tmp_path: Path
) -> None:
    """From what stands on the disk before some of the steps of writing."""
    (tmp_path / "run").mkdir()
    states = states_of(
        tmp_path / "run", tmp_path / "states", lambda: train(model, tmp_path / "run")
    )
    assert len(states) > 60
    for state in states[:: max(1, len(states) // 12)]:
        assert_made_again(model, state, whole)
        left = {path.name for path in state.iterdir()}
        assert left == {CACHE, CONTINUATIONS, "heads.json", "heads.safetensors", STATE}


def test_a_disk_that_is_full_at_any_step_is_one_sentence(
    model: PreTrainedModel, whole: ExitHeads, tmp_path: Path
) -> None:
    """And what was finished is kept: the same call goes on."""
    steps = steps_of(tmp_path, lambda: train(model, tmp_path / "counted"))
    refused = []
    for at in range(0, len(steps), max(1, len(steps) // 10)):
        out = tmp_path / str(at)
        with failing_disk(tmp_path, Fault(at=at, outcome=errno.ENOSPC)):
            try:
                train(model, out)
            except InputError as error:
                refused.append(str(error))
        assert_made_again(model, out, whole)
    assert len(refused) >= 8
    assert all("No space left" in sentence and "\n" not in sentence for sentence in refused)


def test_two_runs_do_not_share_a_folder(model: PreTrainedModel, tmp_path: Path) -> None:
    """The second is refused before it computes anything, and the first goes on."""
    refused: list[str] = []
    keep = Trainer._keep

    def meeting(self: Trainer, *args: Any) -> None:
        import threading

        def second() -> None:
            with pytest.raises(InputError) as error:
                train(model, tmp_path / "run")
            refused.append(str(error.value))

        other = threading.Thread(target=second)
        other.start()
        other.join()
        keep(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_keep", meeting)
        train(model, tmp_path / "run")
    assert len(refused) == SHORT["epochs"]
    assert all("writing into" in sentence for sentence in refused)
