"""A load in real time on a tiny model, and steps that are timed in pieces."""

from __future__ import annotations

import math

import pytest
import torch

from adadecode.engine.serving.real_load import PlannedRequest, serve_load
from adadecode.engine.serving.timed_pieces import PIECES, timed_steps
from adadecode.profiles.errors import InputError
from adadecode.profiles.schema import ALL_TABLES
from adadecode.sim.core.design import Design
from adadecode.sim.serving.batching.recorded_load import EngineSettings, LoadRun
from adadecode.sim.serving.load_validation.replay import replay_load
from tests.support.batched_patterns import DESIGNS, TinyServer
from tests.support.models import random_prompt

N_LAYERS = 6


@pytest.fixture(scope="module")
def tiny() -> TinyServer:
    return TinyServer("llama", torch.float64)


def settings(design: str, **limits: int) -> EngineSettings:
    return EngineSettings(
        design=Design.of(**DESIGNS[design]),
        **{"kv_blocks": 16, "block_size": 4, "max_num_seqs": 3, "max_batched_tokens": 20, **limits},
        order="largest",
    )


def prompt(number: int) -> list[int]:
    ids: list[int] = random_prompt(3 + 7 * number, number)[0].tolist()
    return ids


def served(tiny: TinyServer, design: str, **limits: int) -> LoadRun:
    """Serve requests of which the last comes to an idle engine."""
    times = [0.0, 0.0, 0.002, 0.004, 0.3]
    return serve_load(
        tiny.model,
        tiny.heads,
        settings(design, **limits),
        [prompt(number) for number in range(3)],
        [
            PlannedRequest(arrival_s=time, prompt=number % 3, max_new_tokens=3 + 2 * number)
            for number, time in enumerate(times)
        ],
        n_layers=N_LAYERS,
        eos=frozenset(tiny.eos),
    )


@pytest.mark.parametrize("design", DESIGNS)
def test_a_load_is_replayed_and_its_texts_are_those_alone(tiny: TinyServer, design: str) -> None:
    run = served(tiny, design)
    found = replay_load(run)
    assert (found.exact, found.why) == (len(run.steps), "")
    assert found.time_error is not None
    assert found.time_error < 1e-3
    for number, one in enumerate(run.requests):
        alone = tiny.alone(design, 3 + 7 * (number % 3), number % 3, 3 + 2 * number)
        assert len(one.served.token_s) == len(alone)
    assert run.served[-1].request.arrival_s >= 0.3
    assert run.steps[0].batch.step == 0


def test_little_memory_preempts_and_is_replayed(tiny: TinyServer) -> None:
    run = served(tiny, "sure heads", kv_blocks=8)
    assert replay_load(run).why == ""


def test_a_request_that_never_fits_is_refused(tiny: TinyServer) -> None:
    with pytest.raises(InputError, match="more kv_blocks"):
        served(tiny, "vanilla", kv_blocks=2)


@pytest.mark.parametrize("design", ["vanilla", "gates"])
def test_steps_are_timed_in_pieces(tiny: TinyServer, design: str) -> None:
    bursts = [[(prompt(1), 3)], [(prompt(0), 6)], [(prompt(number), 8) for number in range(3)]]
    rows = timed_steps(tiny.model, tiny.heads, settings(design), bursts, frozenset())
    assert {*rows[0], "run"} == set(ALL_TABLES["load_pieces"].names)
    for row in rows:
        assert len(row["rows"]) == len(row["stops"]) == len(row["n_prompts"])
        assert all(row[f"{piece}_s"] >= 0 for piece in (*PIECES, "host"))
        assert row["layers_s"] > 0
        assert row["attention_s"] > 0
        for piece in ("gates", "checks", "verified"):
            assert (row[piece] > 0) == (row[f"{piece}_s"] > 0)
    assert sum(not math.isnan(row["wake_s"]) for row in rows) == 1
    assert any(row["verified"] for row in rows)
    assert (design == "gates") == any(row["gates"] for row in rows)
