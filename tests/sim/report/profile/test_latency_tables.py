"""The latencies of a profile as tables, and the time of a token."""

from __future__ import annotations

import pandas as pd
import pytest

from adadecode.profiles import LatencyTable, Profile, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.replay.simulation import replay
from adadecode.sim.report.profile import latency_tables
from tests.support.handmade import ConstantLatency, one_text, recorded_profile


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("measured") / "p", slower={"vanilla": 1.5})


@pytest.fixture(scope="module")
def trace(profile: Profile) -> Trace:
    return Trace.from_profile(profile)


def test_the_time_of_a_token_is_split_without_a_rest(trace: Trace, profile: Profile) -> None:
    latency = LatencyTable.from_samples(profile.latency, profile.n_layers)
    runs = replay(trace, latency, Design.of(gamma=0.1, placement=(2, 4)), events=True)
    split = latency_tables.time_split(runs, latency)
    tokens = sum(run.n_tokens - 1 for run in runs)
    assert sum(split.values()) == pytest.approx(sum(run.seconds for run in runs) / tokens)
    assert min(split.values()) > 0


def test_layers_run_for_a_wrong_draft_are_discarded() -> None:
    """Head 1 drafts a wrong token: the draft's own three layers go, the rest of its batch stays."""
    trace = one_text([5, 6, 7], {(1, 1): (0.9, 9)})
    (run,) = replay(
        trace, ConstantLatency(), Design.of(gamma=0.5, placement=(1,), cap=1), events=True
    )
    split = latency_tables.time_split([run], ConstantLatency())
    assert len(run.rounds) == 2
    # Layer 1 for the draft alone: 1 s and its embedding. Layers 2-3 for both: half of 2 s.
    # There are two tokens of text.
    assert split["layers_discarded"] == (1.125 + 1.0) / 2


def test_pieces_are_told_on_one_token(profile: Profile) -> None:
    pieces = latency_tables.piece_seconds(profile.latency_table.points).set_index("kind")
    assert list(pieces.index) == ["layer", "head", "verify", "embed", "host"]
    assert (pieces["low"] <= pieces["seconds"]).all()


def test_a_layer_is_told_by_batch_and_context(profile: Profile) -> None:
    layers = latency_tables.layer_seconds(profile.latency_table.points)
    assert isinstance(layers, pd.DataFrame)
    assert set(layers["n_tokens"]) == set(range(1, 9))
    assert (layers["low"] < layers["high"]).all()
