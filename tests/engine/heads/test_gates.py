"""Gates: what they compute, and their place in the files of exit heads."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import GATE_BIASES, GATE_WEIGHTS, Gates
from adadecode.engine.heads.heads_description import CONFIG
from adadecode.engine.heads.random_heads import random_heads
from adadecode.profiles.errors import HeadsError
from tests.support.heads_files import edit_description, replace_tensors
from tests.support.models import tiny_model

WIDTH = 64
DEPTHS = (2, 4)
ROW = {"depth": 2, "auc": 0.9}


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


def gates_of(seed: int = 0, depths: tuple[int, ...] = DEPTHS) -> Gates:
    draw = torch.Generator().manual_seed(seed)
    return Gates(
        {depth: torch.randn(WIDTH, generator=draw) for depth in depths},
        {depth: 0.1 * depth for depth in depths},
        confidence=0.7,
        metrics=[ROW],
    )


@pytest.fixture
def heads(model: PreTrainedModel) -> ExitHeads:
    matrix = torch.eye(WIDTH) + torch.ones(WIDTH, WIDTH) / WIDTH
    return ExitHeads(model, {2: matrix, 4: None}, frequent=(5, 3, 8), gates=gates_of())


@pytest.fixture
def folder(heads: ExitHeads, tmp_path: Path) -> Path:
    heads.save(tmp_path / "heads")
    return tmp_path / "heads"


def test_a_score_is_the_sigmoid_of_one_dot_product() -> None:
    gates, states = gates_of(), torch.randn(1, 3, WIDTH)
    scores = gates.score(2, states)
    assert scores.shape == (1, 3)
    by_hand = 1 / (1 + math.exp(-float(gates.weights[2] @ states[0, 1]) - 0.2))
    assert float(scores[0, 1]) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_score_is_computed_in_32_bits_whatever_the_model_computes_in(dtype: torch.dtype) -> None:
    gates, states = gates_of(), torch.randn(1, 1, WIDTH, dtype=dtype)
    score = gates.score(2, states)
    assert score.dtype == torch.float32
    assert torch.equal(score, gates.score(2, states.float()))


def test_saved_gates_come_back_bit_for_bit(heads: ExitHeads, folder: Path) -> None:
    """Matrices are rounded to 16 bits, gates are not."""
    loaded = ExitHeads.load(folder, tiny_model("llama", torch.float32)).gates
    assert loaded is not None
    assert heads.gates is not None
    assert loaded.depths == DEPTHS
    for depth in DEPTHS:
        assert torch.equal(loaded.weights[depth], heads.gates.weights[depth])
        assert loaded.biases[depth] == heads.gates.biases[depth]
    assert (loaded.confidence, loaded.metrics) == (0.7, [ROW])


def test_heads_without_gates_are_written_as_programs_from_before_gates_read_them(
    heads: ExitHeads, folder: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    heads.gated(model, None).save(tmp_path / "bare")
    bare = json.loads((tmp_path / "bare" / CONFIG).read_text())
    assert bare["format"] == 3
    assert "gates" not in bare
    assert json.loads((folder / CONFIG).read_text())["format"] == 4
    assert ExitHeads.load(tmp_path / "bare", model).gates is None


def test_every_form_of_the_heads_keeps_its_gates(heads: ExitHeads, model: PreTrainedModel) -> None:
    formed = heads.shaped(model, shortlist=2)
    assert formed.gates is not None
    assert torch.equal(formed.gates.weights[4], gates_of().weights[4])


@pytest.mark.parametrize("digest", [ExitHeads.digest, ExitHeads.sha256])
def test_a_digest_tells_gates_apart_and_leaves_heads_without_any_as_they_were(
    heads: ExitHeads, model: PreTrainedModel, digest: Callable[[ExitHeads], str]
) -> None:
    bare = ExitHeads(model, heads.transforms, frequent=(5, 3, 8))
    other = heads.gated(model, gates_of(seed=1))
    assert len({digest(heads), digest(other), digest(bare)}) == 3
    assert digest(heads.gated(model, None)) == digest(bare)
    assert digest(heads.gated(model, gates_of())) == digest(heads)


def test_heads_without_gates_name_the_remedy(heads: ExitHeads, model: PreTrainedModel) -> None:
    assert heads.require_gates() is heads.gates
    with pytest.raises(HeadsError, match=r"no gates to ask: train them with adadecode-train"):
        heads.gated(model, None).require_gates()


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (gates_of(depths=(2,)), r"a gate for each head, at depths \[2, 4\], got gates at \[2\]"),
        (
            Gates.random(DEPTHS, WIDTH // 2),
            "takes hidden states of 32, this model has 64: it belongs to another model",
        ),
    ],
)
def test_gates_of_other_heads_are_refused(
    heads: ExitHeads, model: PreTrainedModel, gates: Gates, message: str
) -> None:
    with pytest.raises(HeadsError, match=message):
        heads.gated(model, gates)


@pytest.mark.parametrize(
    ("weights", "biases"),
    [
        ({2: torch.zeros(4)}, {4: 0.0}),
        ({}, {}),
        ({2: torch.zeros(1, 4)}, {2: 0.0}),
    ],
)
def test_what_is_no_gate_is_refused(
    weights: dict[int, torch.Tensor], biases: dict[int, float]
) -> None:
    with pytest.raises(HeadsError):
        Gates(weights, biases)


def test_random_heads_have_gates_where_they_are_wanted(model: PreTrainedModel) -> None:
    assert random_heads(model, DEPTHS).gates is None
    gates = random_heads(model, DEPTHS, gates=True).gates
    assert gates is not None
    assert gates.depths == DEPTHS


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors.pop(GATE_WEIGHTS),
        lambda tensors: tensors.pop(GATE_BIASES),
        lambda tensors: tensors.update({GATE_WEIGHTS: tensors[GATE_WEIGHTS][:1].clone()}),
        lambda tensors: tensors.update({GATE_WEIGHTS: tensors[GATE_WEIGHTS].half()}),
        lambda tensors: tensors.update({GATE_BIASES: tensors[GATE_BIASES][None].clone()}),
        lambda tensors: tensors[GATE_WEIGHTS].fill_(math.nan),
        lambda tensors: tensors[GATE_BIASES].fill_(1e30),
    ],
)
def test_damaged_gates_are_refused_by_name(
    folder: Path, model: PreTrainedModel, damage: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    """Also where digest and seal were made to fit."""
    replace_tensors(folder, damage)
    with pytest.raises(HeadsError, match=r"damaged.*gates\.") as refusal:
        ExitHeads.load(folder, model)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "gates",
    [
        None,
        [],
        {},
        {"confidence": 1.5},
        {"confidence": "high"},
        {"confidence": 0.8, "metrics": [{"depth": -1}]},
        {"confidence": 0.8, "metrics": "none"},
    ],
)
def test_a_damaged_description_of_gates_is_refused(
    folder: Path, model: PreTrainedModel, gates: Any
) -> None:
    edit_description(folder, lambda found: found.update(gates=gates))
    with pytest.raises(HeadsError, match="damaged"):
        ExitHeads.load(folder, model)


def test_gates_that_no_description_tells_of_are_refused(
    folder: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    edit_description(bare, lambda found: (found.pop("gates"), found.update(format=3)))
    with pytest.raises(HeadsError, match=r"holds 'gates\.biases', which heads\.json does not list"):
        ExitHeads.load(bare, model)


def test_a_flipped_bit_of_a_gate_is_noticed(folder: Path, model: PreTrainedModel) -> None:
    path = folder / "heads.safetensors"
    whole = path.read_bytes()
    at = whole.index(gates_of().weights[2].numpy().tobytes()) + 5
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(HeadsError, match="its numbers are not those that"):
        ExitHeads.load(folder, model)
