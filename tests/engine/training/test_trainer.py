"""Fitting matrices to hidden states."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.training import trainer as trainer_module
from adadecode.engine.training.checkpoint import Checkpoint
from adadecode.engine.training.hidden_state_store import Shard, States
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.engine.training.trainer import Trainer, schedule
from adadecode.profiles.errors import InputError
from tests.support.models import tiny_model


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of(SegmentedModel(tiny_model("llama", torch.float32)))


def related_states(folder: Path, name: str, rows: int, seed: int) -> States:
    """Hidden states of a depth from which a matrix leads exactly to the last layer's."""
    generator = torch.Generator().manual_seed(7)
    matrix = torch.eye(64) + 0.1 * torch.randn(64, 64, generator=generator)
    early = torch.randn(rows, 64, generator=generator.manual_seed(seed))
    path = folder / f"{name}.safetensors"
    likely = torch.zeros(rows, 1, dtype=torch.int32)
    save_file({"states": torch.stack([early, early @ matrix.T], 1), "likely": likely}, path)
    return States([Shard(path=path, rows=rows, nbytes=rows * 512)])


def test_training_finds_the_matrix_that_explains_the_last_layer(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    """On positions not trained on, the KL falls far below the identity's, and top tokens agree."""
    trainer = Trainer(
        vocabulary, (3,), starts=[torch.eye(64)], lr=1e-2, epochs=12, batch_tokens=256, seed=0
    )
    trainer.fit(
        related_states(tmp_path, "train", 4000, 1),
        Checkpoint(path=tmp_path / "checkpoint"),
        lambda _: None,
    )
    (found,) = trainer.measure(related_states(tmp_path, "test", 500, 2), lambda _: None)
    assert found["kl"] < 0.1 * found["kl_identity"]
    assert found["agreement"] > max(0.8, found["agreement_identity"])
    assert (found["depth"], found["positions"]) == (3, 500)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    """Over the first twentieth, then along a cosine."""
    rates = [schedule(step, 100) for step in range(100)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert all(one > other for one, other in pairwise(rates[5:]))
    assert 0 < rates[-1] < 0.001


def test_a_head_that_diverges_is_reported(vocabulary: Vocabulary, tmp_path: Path) -> None:
    """With its depth and what to lower, instead of saving NaN."""
    trainer = Trainer(
        vocabulary, (3,), starts=[torch.eye(64)], lr=1e30, epochs=2, batch_tokens=64, seed=0
    )
    with pytest.raises(InputError, match=r"depth 3 diverged in epoch 1 .* lower --lr"):
        trainer.fit(
            related_states(tmp_path, "train", 500, 1),
            Checkpoint(path=tmp_path / "checkpoint"),
            lambda _: None,
        )


def test_a_wide_vocabulary_is_sampled(
    vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads come out nearly as good over a sample of the tokens as over all of them."""
    found = {}
    generator = torch.Generator().manual_seed(7)
    early = torch.randn(3000, 64, generator=generator)
    final = early @ (torch.eye(64) + 0.1 * torch.randn(64, 64, generator=generator)).T
    likely = (final @ vocabulary.weight.T).topk(4, -1).indices.int()
    path = tmp_path / "states.safetensors"
    save_file({"states": torch.stack([early, final], 1), "likely": likely}, path)
    states = States([Shard(path=path, rows=len(early), nbytes=len(early) * 512)])
    for whole in (97, 0):
        monkeypatch.setattr(trainer_module, "WHOLE", whole)
        monkeypatch.setattr(trainer_module, "OTHERS", 8)
        trainer = Trainer(
            vocabulary, (3,), starts=[torch.eye(64)], lr=1e-2, epochs=6, batch_tokens=64, seed=0
        )
        trainer.fit(states, Checkpoint(path=tmp_path / f"{whole}"), lambda _: None)
        (found[whole],) = trainer.measure(states, lambda _: None)
    assert found[0]["kl"] < 1.3 * found[97]["kl"] < 0.1 * found[97]["kl_identity"]
