"""What a profile itself says, as tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles import LatencyTable, Profile, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import replay
from adadecode.sim.report import profile_tables
from tests.support.handmade import Constant, one_text, recorded_profile


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("measured") / "p", slower={"vanilla": 1.5})


@pytest.fixture(scope="module")
def trace(profile: Profile) -> Trace:
    return Trace.from_profile(profile)


def test_all_text_comes_before_the_domains(trace: Trace) -> None:
    assert profile_tables.domains(trace) == {"": (0, 1, 2), "arithmetic": (0, 2), "code": (1,)}


def test_a_single_domain_is_all_text(tmp_path: Path) -> None:
    one = Trace.from_profile(recorded_profile(tmp_path / "p", prompts=1))
    assert list(profile_tables.domains(one)) == [profile_tables.ALL]


def test_a_measured_speedup_is_the_median_of_ratios_in_turn(profile: Profile, trace: Trace) -> None:
    """Every repeat of the recording is slowed alike, so all ratios are vanilla's 1.5 times what is predicted."""
    speeds = profile_tables.speedups(profile, profile_tables.domains(trace))
    row = speeds[
        (speeds["design"] == "adadecode 2/4/6 gamma 0.75") & (speeds["domain"] == "")
    ].iloc[0]
    predicted = Predictor.of(profile).predict(Design.of(gamma=0.75, placement=(2, 4, 6))).speedup
    assert row["speedup"] == pytest.approx(1.5 * predicted)
    assert row["low"] == pytest.approx(row["high"])
    assert (row["prompts"], row["repeats"]) == (3, 3)


def test_a_design_that_was_not_run_on_every_prompt_has_no_speedup_there(
    profile: Profile, trace: Trace
) -> None:
    runs = profile.runs
    part = Profile(
        **{**vars(profile), "runs": runs[(runs["prompt"] != 1) | (runs["policy"] == "vanilla")]}
    )
    speeds = profile_tables.speedups(part, profile_tables.domains(trace))
    assert set(speeds[speeds["policy"] == "adadecode"]["domain"]) == {"arithmetic"}


def test_fates_add_up_to_the_text(profile: Profile, trace: Trace) -> None:
    tokens = profile_tables.fates(profile, profile_tables.domains(trace))
    whole = tokens[(tokens["domain"] == "") & (tokens["design"] == "adadecode 2/4/6 gamma 0.75")]
    assert whole[["accepted", "last"]].to_numpy().sum() == sum(
        trace.n_output(prompt) - 1 for prompt in trace.prompts
    )
    assert whole["depth"].tolist() == [2, 4, 6, 8]


def test_calibration_counts_every_output_once(trace: Trace) -> None:
    bins = profile_tables.calibration(trace, profile_tables.domains(trace))
    outputs = sum(trace.n_output(prompt) - 1 for prompt in trace.prompts)
    assert bins[(bins["depth"] == 4) & (bins["domain"] == "")]["outputs"].sum() == outputs
    assert ((bins["low"] <= bins["agree"] + 1e-12) & (bins["agree"] <= bins["high"] + 1e-12)).all()


def test_agreement_over_all_text_weighs_domains_by_their_outputs(trace: Trace) -> None:
    table = profile_tables.agreement(trace)
    at = table[table["depth"] == 2].set_index("domain")
    parts = at.drop("")
    assert at.loc["", "agree"] == pytest.approx(
        (parts["agree"] * parts["outputs"]).sum() / parts["outputs"].sum()
    )


def test_the_time_of_a_token_is_split_without_a_rest(trace: Trace, profile: Profile) -> None:
    latency = LatencyTable.from_samples(profile.latency, profile.n_layers)
    runs = replay(trace, latency, Design.of(gamma=0.1, placement=(2, 4)), events=True)
    split = profile_tables.time_split(runs, latency)
    tokens = sum(run.n_tokens - 1 for run in runs)
    assert sum(split.values()) == pytest.approx(sum(run.seconds for run in runs) / tokens)
    assert min(split.values()) > 0


def test_layers_run_for_a_wrong_draft_are_discarded() -> None:
    """Head 1 drafts a wrong token: the draft's own three layers go, the rest of its batch stays."""
    trace = one_text([5, 6, 7], {(1, 1): (0.9, 9)})
    (run,) = replay(trace, Constant(), Design.of(gamma=0.5, placement=(1,), cap=1), events=True)
    split = profile_tables.time_split([run], Constant())
    assert len(run.rounds) == 2
    # layer 1 for the draft alone: 1 s and its embedding; layers 2-3 for both: half of 2 s; two tokens of text
    assert split["layers_discarded"] == (1.125 + 1.0) / 2


def test_pieces_are_told_on_one_token(profile: Profile) -> None:
    pieces = profile_tables.piece_seconds(profile_tables.whole_table(profile).points).set_index(
        "kind"
    )
    assert list(pieces.index) == ["layer", "head", "verify", "embed", "host"]
    assert (pieces["low"] <= pieces["seconds"]).all()


def test_a_layer_is_told_by_batch_and_context(profile: Profile) -> None:
    layers = profile_tables.layer_seconds(profile_tables.whole_table(profile).points)
    assert isinstance(layers, pd.DataFrame)
    assert set(layers["n_tokens"]) == set(range(1, 9))
    assert (layers["low"] < layers["high"]).all()
