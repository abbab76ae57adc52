"""How long a recording will take: worked out by hand, and said before it begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling import time_estimate
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.profiling.recorder import Recorder
from adadecode.engine.profiling.time_estimate import Pace, estimate_sentence, estimated_seconds
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design
from tests.support.models import tiny_model

PLAN = RecordingPlan(
    prompts=(Prompt(text="a"), Prompt(text="b", max_new_tokens=4)),
    encoded=((5, 6), (7, 8, 9)),
    designs=(Design.of("vanilla"), Design.of("adadecode", gamma=0.05, placement=(2,), cap=2)),
    contexts=(3, 12),
    walks=(2, 6),
    max_tokens=3,
    max_new_tokens=8,
    repeats=1,
    samples=1,
    floor=0.5,
    seed=0,
    settings={"model": "m", "heads": "h"},
)
PACE = Pace(prefill=1.0, token=10.0, step=100.0, sample=1000.0, samples=5)


@pytest.mark.parametrize(
    ("pieces", "options", "wanted"),
    [
        ([("trace", 0)], {}, {"trace": 2 + 800}),
        ([("trace", 1), ("branches", 1)], {}, {"trace": 3 + 400, "branches": 3 + 400}),
        ([("runs", 0)], {}, {"runs": 2 + 2 * 80}),
        ([("runs", 0)], {"shares_prefill": False}, {"runs": 2 * (2 + 80)}),
        ([("works", 1)], {}, {"works": 3 + 2 * 40}),
        ([("latency", 7)], {}, {"latency": 5000}),
        ([("latency", 7)], {"shares_prefill": False}, {"latency": 5000 + 12}),
        (
            [("runs", 0), ("baselines", 0)],
            {"baselines": 3},
            {"runs": 2 + 160 + 3 * 82, "baselines": 5 * 82},
        ),
        ([], {}, {}),
    ],
)
def test_pieces_take_what_their_tokens_take(
    pieces: list[tuple[str, int]], options: dict[str, Any], wanted: dict[str, float]
) -> None:
    """A piece at a time; a prompt's own length counts."""
    given = {"shares_prefill": True, "baselines": 0} | options
    assert estimated_seconds(PLAN, PACE, pieces, **given) == wanted


def test_the_sentence_has_all_parts() -> None:
    assert estimate_sentence({"trace": 61.0, "runs": 1200.0, "works": 90.0}) == (
        "by a few measured tokens it takes up to about 23 min (traces 1.0, runs 20, instrumented "
        "runs 1.5); texts that end early take less"
    )
    assert estimate_sentence({"trace": 30.0}) == ""


def test_it_is_said_before_the_first_piece_and_for_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    decoder = AdaDecoder(model, ExitHeads.identity(model, (2,)))
    monkeypatch.setattr(time_estimate, "MENTIONED_S", 0.0)
    said: list[str] = []

    def recorder(*, resume: bool) -> Recorder:
        store = PieceStore.open(tmp_path / "p", PLAN.settings, resume=resume)
        return Recorder(decoder, PLAN, store, notice=said.append)

    next(recorder(resume=False).run())
    assert "(traces 0.0, runs 0.0, latencies 0.0, instrumented runs" in said[0]
    list(recorder(resume=True).run())
    assert len(said) == 2
    list(recorder(resume=True).run())
    assert len(said) == 2


@pytest.mark.parametrize("budgets", [(4, 4), (1, 1), (1, 3)])
def test_it_takes_no_more_positions_than_the_recording(
    budgets: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has exactly as many: more are refused, and the room that was made is enough."""
    model = tiny_model("gpt2", max_position_embeddings=16)
    decoder = AdaDecoder(model, ExitHeads.identity(model, (2,)))
    first, second = (Prompt(text="a", max_new_tokens=count) for count in budgets)
    plan = replace(
        PLAN,
        prompts=(first, second),
        encoded=(tuple(range(5, 5 + 12)), (7, 8)),
        contexts=(3, 16),
        max_tokens=1,
        max_new_tokens=4,
    )
    with torch.inference_mode():
        decoder.parts.allocate(plan.longest)
    wanted: list[int] = []
    allocate = decoder.parts.allocate
    monkeypatch.setattr(decoder.parts, "allocate", lambda n: wanted.append(n) or allocate(n))
    pace = Pace.measure(decoder, plan)
    assert pace is not None
    assert all(0 <= seconds < 60 for seconds in (pace.prefill, pace.token, pace.step, pace.sample))
    assert 0 < max(wanted) <= plan.longest


@pytest.mark.parametrize("problem", [InputError("no room"), RuntimeError("out of memory")])
def test_an_estimate_that_fails_ends_no_recording(
    problem: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out, and all else is as it is."""

    def failing(*_: Any) -> None:
        raise problem

    model = tiny_model("llama")
    decoder = AdaDecoder(model, ExitHeads.identity(model, (2,)))
    monkeypatch.setattr(time_estimate, "Counterfactual", failing)
    monkeypatch.setattr(time_estimate, "MENTIONED_S", 0.0)
    said: list[str] = []
    store = PieceStore.open(tmp_path / "p", PLAN.settings, resume=False)
    done, count = next(Recorder(decoder, PLAN, store, notice=said.append).run())
    assert 0 < done < count
    assert said == []
