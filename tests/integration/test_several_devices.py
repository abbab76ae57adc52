"""A model on several devices, sharded or dispatched, writes the text of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import distributed

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.runtime.distributed import processes, whole
from adadecode.profiles.errors import InputError
from tests.support.models import N_LAYERS, greedy_text, random_prompt, tiny_model
from tests.support.parallel_worker import texts

QUICK, SLOW = ("llama",), ("mistral", "qwen3")
EVEN = 98  # tokens, so that two processes share the LM head
ALL = range(1, N_LAYERS)

needs_accelerate = pytest.mark.skipif(
    find_spec("accelerate") is None,
    reason="needs accelerate: transformers shards and dispatches with it",
)
needs_gloo = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="needs torch with gloo",
)


@pytest.fixture(scope="module", params=[QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def sharded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """Return what each of two processes found, by model."""
    folder = tmp_path_factory.mktemp("models")
    for name in request.param:
        model = tiny_model(name, vocab_size=EVEN)
        model.save_pretrained(folder / name)
        ExitHeads.identity(model, ALL).save(folder / name)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "tests.support.parallel_worker",
        folder,
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@needs_accelerate
@needs_gloo
def test_two_processes_write_the_text_of_one(sharded: list[dict[str, Any]]) -> None:
    """Vanilla, adadecode, fixed, and sampled from one seed."""
    for name in sharded[0]:
        model = tiny_model(name, vocab_size=EVEN)
        alone = texts(AdaDecoder(model, ExitHeads.identity(model, ALL)))
        assert alone["vanilla"] == greedy_text(model, random_prompt(9), len(alone["vanilla"]))
        for rank in range(2):
            assert sharded[rank][name]["texts"] == alone


@needs_accelerate
@needs_gloo
def test_each_process_holds_a_share(sharded: list[dict[str, Any]]) -> None:
    """Of the weights, and of the keys and values: one of two heads."""
    for found in (one for rank in sharded for one in rank.values()):
        assert found["sharded"] > 0
        assert found["kv_heads"] == 1


@needs_accelerate
@needs_gloo
def test_processes_must_share_a_seed(sharded: list[dict[str, Any]]) -> None:
    assert all(
        "a seed of its own" in found["unseeded"] for rank in sharded for found in rank.values()
    )


@needs_accelerate
@pytest.mark.parametrize("numerics", ["native", "canonical"])
@pytest.mark.parametrize(
    ("name", "inner", "modules"),
    [("llama", "model", "embed_tokens norm rotary_emb"), ("gpt2", "transformer", "wte wpe ln_f")],
)
def test_a_dispatched_model_is_served(name: str, inner: str, modules: str, numerics: str) -> None:
    """With accelerate's hooks around every module, as a device map leaves them."""
    from accelerate import dispatch_model

    model = tiny_model(name)
    text = greedy_text(model, random_prompt(9), 16)
    layers = "h" if name == "gpt2" else "layers"
    places = (
        [f"{inner}.{module}" for module in modules.split()]
        + [f"{inner}.{layers}.{index}" for index in range(N_LAYERS)]
        + ["lm_head"]
    )
    dispatch_model(model, dict.fromkeys(places, "cpu"), main_device="cpu", force_hooks=True)
    decoder = AdaDecoder(model, ExitHeads.identity(model, ALL), numerics=numerics)
    for design in ({"policy": "vanilla"}, {"gamma": 0.0, "placement": (2, 4)}):
        assert decoder.generate(random_prompt(9), 16, eos_token_id=(), **design).tokens == text


def test_weights_that_are_not_in_memory_are_refused() -> None:
    with torch.device("meta"):
        away = torch.zeros(3)
    with pytest.raises(InputError, match="offloaded"):
        whole(away)


def test_alone_there_is_one_process_and_every_tensor_is_whole() -> None:
    assert processes() == 1
    tensor = torch.arange(3)
    assert whole(tensor) is tensor
