"""What exit heads learn from: hidden states, cached and handed out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

import adadecode.engine.training.hidden_state_store
from adadecode.engine.decoding.hidden_states import Continuation, states_of
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.training.hidden_state_store import write_states
from adadecode.profiles.errors import InputError
from tests.support.models import tiny_model


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


def test_cached_states_are_those_that_predict_the_output(model: PreTrainedModel) -> None:
    """From the prompt's last token on: the model's hidden states, its final norm applied once."""
    prompt, output = torch.tensor([[5, 9, 7, 30]]), [8, 11, 40]
    parts = SegmentedModel(model)
    parts.allocate(16)
    found = states_of(parts, Continuation(prompt=prompt, output=output), (2, 4))
    with torch.no_grad():
        own = model.model(torch.tensor([[5, 9, 7, 30, 8, 11]]), output_hidden_states=True)
        wanted = [model.model.norm(own.hidden_states[depth]) for depth in (2, 4)]
    torch.testing.assert_close(
        found, torch.stack([*wanted, own.last_hidden_state], 2)[0, 3:], rtol=1e-4, atol=1e-4
    )


def test_an_epoch_shows_every_position_once(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several shards and memory windows, shuffled, in batches of nearly equal size."""
    monkeypatch.setattr(
        adadecode.engine.training.hidden_state_store, "SHARD_BYTES", 12 * 2 * 64 * 2
    )
    monkeypatch.setattr(
        adadecode.engine.training.hidden_state_store, "WINDOW_BYTES", 2 * 16 * 2 * 64 * 2
    )
    parts = SegmentedModel(model)
    parts.allocate(32)
    texts = [
        Continuation(prompt=torch.tensor([[5 + i, 6]]), output=list(range(3, 11))) for i in range(7)
    ]
    states = write_states(
        parts, texts, (3,), tmp_path, "train", run="r", dtype=torch.float16, advance=lambda _: None
    )
    rows = torch.cat([states_of(parts, text, (3,)) for text in texts]).half()
    batches = list(states.batches(10, torch.Generator().manual_seed(1)))
    shown = torch.cat(batches)
    assert len(list(tmp_path.iterdir())) == 4
    assert len(batches) == states.steps(10) == 7
    assert {len(batch) for batch in batches} == {8}
    assert not torch.equal(shown, rows)
    assert sorted(map(str, shown[:, 0, :4].tolist())) == sorted(map(str, rows[:, 0, :4].tolist()))


def test_states_that_overflow_are_refused(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not stored as infinity."""
    parts = SegmentedModel(model)
    monkeypatch.setattr(
        adadecode.engine.training.hidden_state_store,
        "states_of",
        lambda *_: torch.full((2, 2, 64), 1e6),
    )
    with pytest.raises(InputError, match="not a finite number"):
        write_states(
            parts,
            [Continuation(prompt=torch.tensor([[5]]), output=[6, 7])],
            (3,),
            tmp_path,
            "t",
            run="r",
            dtype=torch.float16,
            advance=print,
        )
