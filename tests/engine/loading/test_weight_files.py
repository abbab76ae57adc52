"""Weights in several files: a missing or torn one is named before any is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from adadecode.engine.loading.model_loader import load_model
from adadecode.profiles.errors import InputError
from tests.support.saved_model import saved_model

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in three files or more."""
    folder = saved_model(tmp_path_factory.mktemp("model"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="250KB")
    assert len(list(folder.glob("model-*.safetensors"))) >= 3
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "m"))


def test_a_model_in_several_files_is_loaded(folder: Path) -> None:
    model, _ = load_model(folder, "float32", "cpu")
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def shard(folder: Path, number: int) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[number]


def torn(folder: Path) -> None:
    path = shard(folder, 1)
    path.write_bytes(path.read_bytes()[:-1])


def indexed(value: object) -> Callable[[Path], Any]:
    return lambda folder: (folder / INDEX).write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: shard(folder, 1).unlink(),
            r"lacks 1 of the \d files of weights .* \(model-00002-of-0000\d\.safetensors\): copy",
        ),
        (torn, r"model-00002-of-0000\d\.safetensors has [\d,]+ bytes, wanted [\d,]+: copy it agai"),
        (
            lambda folder: shard(folder, 0).write_bytes(b""),
            r"model-00001-of-0000\d\.safetensors is damaged: copy it again",
        ),
        (indexed([]), "wanted a weight_map of tensors and files in"),
        (indexed({"weight_map": {"a": 3}}), "wanted a weight_map of tensors and files in"),
        (indexed({"weight_map": {"a": "../x"}}), "wanted a weight_map of tensors and files in"),
    ],
)
def test_what_is_missing_or_torn_is_named(
    folder: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_model(folder, "float32", "cpu")
