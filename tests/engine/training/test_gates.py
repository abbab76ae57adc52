"""Gates: what they are fitted to, and what is measured of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import adadecode.engine.training.gates
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.training.gates import measures, train_gates
from adadecode.engine.training.hidden_state_store import States, write_states
from tests.support.models import tiny_model

DEPTHS = (2, 5)
CONFIDENCE = 0.015
"""What a head of a tiny random model with 97 tokens exceeds often, not always."""


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama", torch.float32)
    return AdaDecoder(model, ExitHeads.identity(model, DEPTHS))


def texts_of(decoder: AdaDecoder, prompts: range) -> list[Continuation]:
    found = []
    for number in prompts:
        ids = torch.tensor([[number + 3, 7, 11]])
        tokens = decoder.generate(ids, 40, policy="vanilla", eos_token_id=()).tokens
        found.append(Continuation(prompt=ids, output=tokens))
    return found


@pytest.fixture(scope="module")
def states(decoder: AdaDecoder, tmp_path_factory: pytest.TempPathFactory) -> tuple[States, States]:
    """Of twelve texts, and of four held out."""
    folder: Path = tmp_path_factory.mktemp("states")
    return tuple(  # type: ignore[return-value]
        write_states(
            decoder.parts,
            texts_of(decoder, prompts),
            DEPTHS,
            folder,
            name,
            run="r",
            dtype=torch.float16,
            advance=lambda _: None,
        )
        for name, prompts in (("train", range(12)), ("held-out", range(12, 16)))
    )


def test_a_gate_is_fitted_to_where_its_head_is_confident_and_right(
    decoder: AdaDecoder, states: tuple[States, States]
) -> None:
    """The same that the counterfactual trace says of the held-out texts, place for place."""
    counted = []
    gates = train_gates(
        decoder.parts, decoder.heads, *states, confidence=CONFIDENCE, advance=counted.append
    )
    good: dict[int, list[bool]] = {depth: [] for depth in DEPTHS}
    for text in texts_of(decoder, range(12, 16)):
        decoder.eos = frozenset()
        with decoder.parts.session():
            _, rows = Counterfactual(decoder).trace(tuple(text.prompt[0].tolist()), 40)
        for row in rows:
            if row["depth"] in good:
                good[row["depth"]].append(row["agrees"] and row["confidence"] > CONFIDENCE)
    for depth, row in zip(DEPTHS, gates.metrics, strict=True):
        # the state at a prompt's end, which gives the first output, stands in no trace
        assert row["positions"] == len(good[depth]) + 4
        assert abs(row["good"] * row["positions"] - sum(good[depth])) <= 4
        assert 0.05 < row["good"] < 0.95
    assert gates.depths == DEPTHS
    assert gates.confidence == CONFIDENCE
    assert counted == [1, 1]


def test_gates_rank_the_positions_they_were_fitted_to(
    decoder: AdaDecoder, states: tuple[States, States]
) -> None:
    """Measured on the texts of their own training; a score that says nothing has 0.5."""
    gates = train_gates(
        decoder.parts,
        decoder.heads,
        states[0],
        states[0],
        confidence=CONFIDENCE,
        advance=lambda _: None,
    )
    assert min(row["auc"] for row in gates.metrics) > 0.6


def test_what_no_head_ever_reaches_gives_gates_that_keep_shut(
    decoder: AdaDecoder, states: tuple[States, States]
) -> None:
    gates = train_gates(
        decoder.parts, decoder.heads, *states, confidence=0.999, advance=lambda _: None
    )
    assert all(row["good"] == 0 and "auc" not in row for row in gates.metrics)
    assert float(gates.score(2, torch.randn(1, 1, 64))) < 0.05


def test_fewer_positions_are_taken_evenly_over_all(
    decoder: AdaDecoder, states: tuple[States, States], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adadecode.engine.training.gates, "MOST_POSITIONS", 100)
    monkeypatch.setattr(adadecode.engine.training.gates, "ROWS", 64)
    sample = adadecode.engine.training.gates._Sample.of(decoder.parts, states[0])
    every = torch.cat(list(states[0].batches(64)))
    assert torch.equal(sample.rows, every[::5])


def test_measures_count_by_hand() -> None:
    """Good places 1, 2 and 4 of ten by score: 20 of the 21 pairs of good and other rank right."""
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    good = torch.zeros(10, dtype=torch.bool)
    good[[0, 1, 3]] = True
    found = measures(scores, good)
    assert found == pytest.approx(
        {
            "positions": 10,
            "good": 0.3,
            "auc": 20 / 21,
            "found_20": 2 / 3,
            "found_30": 2 / 3,
            "found_50": 1.0,
        }
    )


def test_equal_scores_rank_nothing() -> None:
    good = torch.tensor([True, False, True, False])
    assert measures(torch.full((4,), 0.5), good)["auc"] == 0.5
