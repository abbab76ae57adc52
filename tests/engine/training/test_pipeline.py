"""Training exit heads from prompts to files: results, going on after a stop, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import adadecode.engine.training.hidden_state_store
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.options import GATE_CONFIDENCE, TrainingOptions, default_depths
from adadecode.engine.training.pipeline import train_heads
from adadecode.engine.training.trainer import Trainer
from adadecode.profiles.errors import HeadsError, InputError
from tests.support.models import tiny_model
from tests.support.training_run import DEPTHS, PROMPTS, SETTINGS, interrupt, letter_tokenizer


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return letter_tokenizer()


def train(model: Any, tokenizer: Any, prompts: Any, out: Path, **changes: Any) -> ExitHeads:
    """A short run; ``changes`` replace its settings."""
    options = TrainingOptions(**{"depths": DEPTHS, **SETTINGS, **changes})
    return train_heads(model, tokenizer, prompts, out=out, options=options)


@pytest.fixture(scope="module")
def trained(
    model: PreTrainedModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> ExitHeads:
    return train(model, tokenizer, PROMPTS, tmp_path_factory.mktemp("heads"))


def test_heads_of_a_model_are_measured_on_prompts_held_out(trained: ExitHeads) -> None:
    """Every depth has its metrics, and every head fits the last layer better than the identity."""
    assert trained.depths == DEPTHS
    assert [row["depth"] for row in trained.metrics] == list(DEPTHS)
    for row in trained.metrics:
        assert 0 <= row["kl"] < row["kl_identity"]
        assert {"agreement", "agreement_identity", "positions"} < row.keys()


def test_the_model_is_left_as_it_was(model: PreTrainedModel, trained: ExitHeads) -> None:
    """Its weights, LM head included, are frozen, and no gradient stays on them."""
    fresh = tiny_model("llama", torch.float32)
    assert all(
        torch.equal(one, other)
        for one, other in zip(model.parameters(), fresh.parameters(), strict=True)
    )
    assert all(weight.grad is None for weight in model.parameters())


def test_a_finished_run_leaves_the_heads_and_its_settings(
    model: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    """The cache is gone; the same call gives the saved heads without training again."""
    heads = train(model, tokenizer, PROMPTS[:3], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "continuations.jsonl",
        "heads.json",
        "heads.safetensors",
        "train.json",
    ]
    again = train(model, tokenizer, PROMPTS[:3], tmp_path)
    assert all(torch.equal(again.transforms[depth], heads.transforms[depth]) for depth in DEPTHS)


def test_heads_of_a_16_bit_model_can_be_trained(tokenizer: Any, tmp_path: Path) -> None:
    """Matrices are trained in FP32 beside a BF16 LM head."""
    heads = train(tiny_model("llama", torch.bfloat16), tokenizer, PROMPTS, tmp_path)
    assert all(row["kl"] < row["kl_identity"] for row in heads.metrics)


STAGES = [
    (BatchedGeneration, "continued", 1),
    (adadecode.engine.training.hidden_state_store, "states_of", 4),
    (adadecode.engine.training.hidden_state_store, "write_tensors", 1),
    (Trainer, "step", 9),
    (Trainer, "measure", 0),
]


@pytest.mark.parametrize(("owner", "name", "after"), STAGES, ids=[stage[1] for stage in STAGES])
def test_an_interrupted_run_goes_on_to_the_same_heads(
    model: PreTrainedModel,
    tokenizer: Any,
    trained: ExitHeads,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    after: int,
) -> None:
    """Stopped in any stage and called again: bit for bit the heads of a run that was not."""
    interrupt(monkeypatch, owner, name, after)
    with pytest.raises(KeyboardInterrupt):
        train(model, tokenizer, PROMPTS, tmp_path)
    monkeypatch.undo()
    heads = train(model, tokenizer, PROMPTS, tmp_path)
    assert all(torch.equal(heads.transforms[depth], trained.transforms[depth]) for depth in DEPTHS)
    assert heads.metrics == trained.metrics


def test_what_is_done_is_not_done_again(
    model: PreTrainedModel, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stop in the second epoch, nothing up to the end of the first is computed again."""
    interrupt(monkeypatch, Trainer, "_keep", 1)
    with pytest.raises(KeyboardInterrupt):
        train(model, tokenizer, PROMPTS[:4], tmp_path, epochs=2)
    monkeypatch.undo()
    interrupt(monkeypatch, BatchedGeneration, "continued", 0)
    interrupt(monkeypatch, adadecode.engine.training.hidden_state_store, "states_of", 0)
    interrupt(monkeypatch, Trainer, "step", 1)  # 3 prompts x 16 tokens are one batch
    assert train(model, tokenizer, PROMPTS[:4], tmp_path, epochs=2).depths == DEPTHS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, r"epochs was 12, is now 3\): use the same"),
        ({"depths": (2,)}, r"depths was \[1, 2\], is now \[2\]"),
        ({"prompts": PROMPTS[1:]}, "prompts was"),
        ({"model": 1}, "weights was"),
    ],
)
def test_other_settings_are_refused_by_name(
    model: PreTrainedModel, tokenizer: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """A folder holds one run; the message says what differs."""
    arguments: dict[str, Any] = {"prompts": PROMPTS, "out": tmp_path / "out"}
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, BatchedGeneration, "continued", 0)
        with pytest.raises(KeyboardInterrupt):
            train(model, tokenizer, **arguments)
    other = tiny_model("llama", torch.float32, seed=1) if "model" in change else model
    with pytest.raises(InputError, match=message):
        train(other, tokenizer, **arguments | {k: v for k, v in change.items() if k != "model"})


@pytest.mark.parametrize(
    ("name", "message"), [("thesis.tex", "not empty"), ("train.json", "wanted JSON in")]
)
def test_a_folder_with_something_else_is_left_alone(
    model: PreTrainedModel, tokenizer: Any, tmp_path: Path, name: str, message: str
) -> None:
    """Files of others, or a state that cannot be read."""
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=message):
        train(model, tokenizer, PROMPTS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_heads_lie_at_every_fourth_layer_by_default() -> None:
    """As in the paper; in a very shallow model at every layer."""
    assert default_depths(32) == (4, 8, 12, 16, 20, 24, 28)
    assert default_depths(4) == (1, 2, 3)


GOOD: dict[str, Any] = {
    "max_new_tokens": 8,
    "epochs": 1,
    "batch_tokens": 8,
    "lr": 1e-3,
    "seed": 0,
    "held_out": 0.1,
}


@pytest.mark.parametrize(
    ("depths", "change", "error", "message"),
    [
        ((), {}, HeadsError, r"--depths from 1 to 5, each once .* has 6 layers, got \[\]"),
        ((2, 6), {}, HeadsError, r"got \[2, 6\]"),
        ((0,), {}, HeadsError, r"got \[0\]"),
        ((3, 3), {}, HeadsError, r"got \[3, 3\]"),
        ((3,), {"max_new_tokens": 0}, InputError, "--max-new-tokens of at least 1, got 0"),
        ((3,), {"epochs": -1}, InputError, "--epochs of 0 or more"),
        ((3,), {"batch_tokens": -1}, InputError, "--batch-tokens"),
        ((3,), {"lr": float("nan")}, InputError, "--lr above 0, got nan"),
        ((3,), {"held_out": 1.0}, InputError, "--held-out between 0 and 1"),
        ((3,), {"seed": -1}, InputError, "--seed"),
    ],
)
def test_absurd_settings_are_refused(
    depths: tuple[int, ...], change: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message names the option, and nothing is computed."""
    with pytest.raises(error, match=message):
        TrainingOptions(depths=depths, **GOOD | change).depths_in(6)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (PROMPTS[:1] * 3, "2 different prompts or more, .* got 1"),
        (
            [*PROMPTS, Prompt(text="x" * 120)],
            "prompt 13 has 120 tokens, and 16 more pass the model's 128 positions",
        ),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(
    model: PreTrainedModel, tokenizer: Any, tmp_path: Path, prompts: list[Prompt], message: str
) -> None:
    """Too few different ones to hold one out, or one too long for the model's positions."""
    with pytest.raises(InputError, match=message):
        train(model, tokenizer, prompts, tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    """Where it makes tokens that the model does not know."""
    with pytest.raises(
        InputError, match="this model knows 50: the tokenizer belongs to another model"
    ):
        train(tiny_model("llama", torch.float32, vocab_size=50), tokenizer, PROMPTS, tmp_path)


# ---- gates ----


def test_heads_are_trained_with_gates_unless_they_are_not_wanted(
    model: PreTrainedModel, tokenizer: Any, trained: ExitHeads, tmp_path: Path
) -> None:
    """The matrices are the same, bit for bit, with gates and without."""
    assert trained.gates is not None
    assert trained.gates.confidence == GATE_CONFIDENCE
    assert [row["depth"] for row in trained.gates.metrics] == list(DEPTHS)
    bare = train(model, tokenizer, PROMPTS, tmp_path / "bare", gate_confidence=1.0)
    assert bare.gates is None
    assert bare.sha256() == trained.gated(model, None).sha256()


def test_gates_alone_are_trained_beside_finished_heads(
    model: PreTrainedModel, tokenizer: Any, trained: ExitHeads, tmp_path: Path
) -> None:
    """On the same texts they are those of a whole run, and nothing else of the heads changes."""
    trained.gated(model, None).save(tmp_path / "bare")
    options = TrainingOptions(gates_only=str(tmp_path / "bare"), max_new_tokens=16)
    stages: list[str] = []
    found = train_heads(
        model,
        tokenizer,
        PROMPTS,
        out=tmp_path / "gated",
        options=options,
        progress=lambda stage, done, count: stages.append(stage),
    )
    assert found.sha256() == trained.sha256()
    assert found.metrics == trained.metrics
    assert found.frequent == trained.frequent
    assert "training" not in stages
    assert stages[-1] == "gates"


def test_gates_alone_can_look_for_surer_heads(
    model: PreTrainedModel, tokenizer: Any, trained: ExitHeads, tmp_path: Path
) -> None:
    trained.save(tmp_path / "heads")
    options = TrainingOptions(
        gates_only=str(tmp_path / "heads"), gate_confidence=0.02, max_new_tokens=16
    )
    found = train_heads(model, tokenizer, PROMPTS, out=tmp_path / "gated", options=options)
    assert found.gates is not None
    assert found.gates.confidence == 0.02
    assert found.gates.metrics[0]["good"] > trained.gates.metrics[0]["good"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate_confidence": 1.2}, "wanted --gate-confidence as a probability"),
        ({"gates_only": "heads", "gate_confidence": 1.0}, "leave one of them out"),
        ({"gates_only": "heads", "depths": (2,)}, "leave --depths out"),
        ({"gates_only": "heads", "shortlist": 8}, "leave --shortlist out"),
    ],
)
def test_options_of_gates_that_make_no_sense_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        TrainingOptions(**options)


def test_gates_of_heads_that_are_not_there_are_refused(
    model: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    options = TrainingOptions(gates_only=str(tmp_path / "nowhere"))
    with pytest.raises(HeadsError, match="no heads in"):
        train_heads(model, tokenizer, PROMPTS, out=tmp_path / "out", options=options)
    assert not list((tmp_path / "out").glob("*.json*"))
