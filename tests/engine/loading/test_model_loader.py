"""A folder that is no whole model is one sentence, whichever file of it is damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adadecode.engine.loading.model_loader import layers_of, load_config, load_model
from adadecode.profiles.errors import InputError
from tests.support.saved_model import saved_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "m"))


def holds(name: str, data: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(data)


def lacks(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def says(**settings: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | settings))

    return change


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lacks("config.json"), "cannot be loaded: Unrecognized model"),
        (holds("config.json", b"{"), "wanted an object of JSON in .*config.json, got none: copy"),
        (holds("config.json", b"[]"), "wanted an object of JSON in .*config.json"),
        (holds("config.json", b"[" * 100_000), "wanted an object of JSON in .*config.json"),
        (holds("config.json", b"\xff"), "wanted text in UTF-8 in .*config.json"),
        (holds("generation_config.json", b"{"), "an object of JSON in .*generation_config.json"),
        (holds("tokenizer_config.json", b"[]"), "an object of JSON in .*tokenizer_config.json"),
        (says(dtype=["float32", "float32"]), "cannot be loaded: |no tokenizer for "),
        (
            holds("tokenizer_config.json", b'{"model_max_length": [1]}'),
            "no tokenizer for .*: .*not supported between instances of 'int' and 'list'",
        ),
        (holds("tokenizer.json", b"{"), "no tokenizer for .*: a file of it holds no JSON"),
        (lacks("tokenizer.json"), "no tokenizer for .*: it holds no tokenizer.json"),
        (lacks("model.safetensors"), "cannot be loaded: Error no file named model.safetensors"),
        (holds("model.safetensors", b"torn"), r"model\.safetensors is damaged: copy it again"),
        (holds("model.safetensors", b""), r"model\.safetensors is damaged: copy it again"),
        (pickled, "a file of its weights is damaged, and has to be"),
        (says(num_hidden_layers="six"), "'num_hidden_layers' expected int, got str"),
        (says(hidden_size=-3), r"The hidden size \(-3\) is not a multiple"),
    ],
)
def test_a_damaged_folder_is_one_sentence(
    folder: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message) as refused:
        load_model(folder)
    assert "\n" not in str(refused.value)
    assert "Errno" not in str(refused.value)


def test_a_config_may_hold_numbers_without_end(folder: Path) -> None:
    """Those of Mamba's kin do, though JSON knows no such number."""
    says(time_step_limit=[0.0, float("inf")])(folder)
    assert load_config(folder).time_step_limit == [0.0, float("inf")]


def test_layers_are_known_by_the_configuration_alone(whole: Path, tmp_path: Path) -> None:
    assert layers_of(whole) == 6
    assert layers_of(tmp_path) is None
