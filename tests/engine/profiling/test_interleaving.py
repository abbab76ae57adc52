"""The order of a recording: latency samples and timed runs take turns, finely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling import latency_visit
from adadecode.engine.profiling.latency_visit import LatencyVisit
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.plan import Interleaving, RecordingPlan
from adadecode.engine.profiling.recorder import Recorder, record_plan
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.models import tiny_model

POINT = ["kind", "layer", "n_tokens", "context", "reuse"]
PLAN = RecordingPlan(
    prompts=(Prompt(text="a"), Prompt(text="b")),
    encoded=((5, 6, 7), (8, 9, 10)),
    designs=(Design.of("vanilla"), Design.of(gamma=0.05, placement=(2,))),
    contexts=(4, 7),
    walks=(2, 3),
    max_tokens=6,
    max_new_tokens=4,
    repeats=2,
    samples=1,
    floor=0.9,
    seed=0,
    settings={"model": "tiny", "heads": "identity"},
    interleaving=Interleaving.FINE,
)
COARSE = replace(PLAN, interleaving=Interleaving.COARSE)


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama", torch.float32, num_hidden_layers=3)
    return AdaDecoder(model, ExitHeads.identity(model, [2]))


def record(decoder: AdaDecoder, plan: RecordingPlan, out: Path) -> Profile:
    return record_plan(decoder, plan, out, resume=False)


@pytest.fixture(scope="module")
def recorded(decoder: AdaDecoder, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return record(decoder, PLAN, tmp_path_factory.mktemp("fine") / "p")


@pytest.fixture(scope="module")
def coarse(decoder: AdaDecoder, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return record(decoder, COARSE, tmp_path_factory.mktemp("coarse") / "p")


def test_both_orders_sample_every_point_equally_often(recorded: Profile, coarse: Profile) -> None:
    """The same points, as many samples of each, in as many visits."""
    fine_counts, coarse_counts = (one.latency.groupby(POINT).size() for one in (recorded, coarse))
    pd.testing.assert_series_equal(fine_counts, coarse_counts)
    assert set(recorded.latency["repeat"]) == set(coarse.latency["repeat"]) == {0, 1, 2, 3}


def test_both_orders_record_the_same_text_and_rounds(recorded: Profile, coarse: Profile) -> None:
    for name in ("trace", "branches", "rounds"):
        pd.testing.assert_frame_equal(getattr(recorded, name), getattr(coarse, name))


def contexts_of(profile: Profile) -> list[set[int]]:
    """Of single tokens in each visit; a larger batch may need more positions than its context."""
    layers = profile.latency.query("kind == 'layer' and n_tokens == 1")
    return [set(part["context"]) for _, part in layers.groupby("repeat")]


def test_a_visit_goes_to_all_contexts(recorded: Profile) -> None:
    assert contexts_of(recorded) == [{4, 7}] * 4


def test_a_coarse_visit_goes_to_one_context(coarse: Profile) -> None:
    assert contexts_of(coarse) == [{4}, {7}, {4}, {7}]


def order_of(
    decoder: AdaDecoder, plan: RecordingPlan, out: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """In which order runs and walks are done between the traces and the works, a letter each."""
    done: list[str] = []

    def noting(letter: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            done.append(letter)
            return own(*args, **kwargs)

        return noted

    monkeypatch.setattr(latency_visit, "walk", noting("w", latency_visit.walk))
    recorder = Recorder(decoder, plan, PieceStore.open(out, plan.settings, resume=False))
    recorder._warm = True
    monkeypatch.setattr(recorder, "_decode", noting("R", recorder._decode))
    for _ in recorder.run(("trace", "runs", "latency")):
        pass
    return "".join(done).split("R")[1:]


def test_walks_follow_every_run(
    decoder: AdaDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About half of a visit's samples after each of the two runs of a prompt."""
    walks = order_of(decoder, PLAN, tmp_path / "p", monkeypatch)
    assert len(walks) == 8
    assert min(map(len, walks)) >= 3
    assert sum(map(len, walks)) == 4 * 12


def test_coarse_walks_follow_the_last_run_of_a_prompt(
    decoder: AdaDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = order_of(decoder, COARSE, tmp_path / "p", monkeypatch)
    assert list(map(len, walks)) == [0, 12] * 4


@pytest.mark.parametrize("lost", ["2-runs-001-0001", "3-latency-000003"])
def test_half_of_a_step_is_made_alone(
    decoder: AdaDecoder, recorded: Profile, tmp_path: Path, lost: str
) -> None:
    """A kill between the two pieces that are made together costs one of them."""
    store = PieceStore.open(tmp_path / "p", PLAN.settings, resume=False)
    list(Recorder(decoder, PLAN, store).run())
    kept = {path.name: path.stat().st_mtime_ns for path in store.pieces.glob("*.parquet")}
    (store.pieces / f"{lost}.done").unlink()
    store = PieceStore.open(tmp_path / "p", PLAN.settings, resume=True)
    list(Recorder(decoder, PLAN, store).run())
    again = {path.name: path.stat().st_mtime_ns for path in store.pieces.glob("*.parquet")}
    assert {name for name in kept if kept[name] != again[name]} == {
        name for name in kept if name.startswith(lost)
    }
    profile = Recorder(decoder, PLAN, store).finish()
    assert Counter(profile.latency["repeat"]) == Counter(recorded.latency["repeat"])


def test_samples_can_be_taken_in_any_shares(decoder: AdaDecoder) -> None:
    """Whatever the shares, a visit takes each sample once."""
    with torch.inference_mode():
        decoder.parts.allocate(PLAN.longest)
    whole, shared = LatencyVisit(decoder, PLAN, 1), LatencyVisit(decoder, PLAN, 1)
    while len(shared):
        shared.take(5)
    points = [
        [{name: row[name] for name in POINT} for row in one.finish()] for one in (whole, shared)
    ]
    assert points[0] == points[1]


def test_the_text_of_visits_is_run_once(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Visits that share it find the same keys and values in the buffers, whatever came between."""
    parts = decoder.parts
    with torch.inference_mode():
        parts.allocate(PLAN.longest)
    kept: list[PrefilledPrompt] = []
    found = []
    for number in range(2):
        visit = LatencyVisit(decoder, PLAN, number, kept)
        with parts.session():
            parts.run(0, parts.n_layers, parts.embed(torch.full((1, 8), 7), 0), 0)
            if number:
                monkeypatch.setattr(parts, "run", lambda *_: pytest.fail("it was run again"))
            visit._fill()
        length = kept[0].n_tokens
        found.append([keys[:, :, :length].clone() for keys in parts.kv.keys if keys is not None])
    assert all(map(torch.equal, *found))
