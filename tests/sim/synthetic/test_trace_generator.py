"""Synthetic traces: texts drawn from a model of the heads, and the profiles they are kept as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles import LatencyTable, Profile, ProfileError, Trace, read_profile
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.predictor import Prediction, Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError
from adadecode.sim.synthetic.synthetic_profile import write_synthetic
from adadecode.sim.synthetic.trace_check import compare_with_models
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike, draw, synthetic_trace
from tests.support.synthetic_profile import synthetic_profile

DEPTHS = (2, 4, 6)
"""As `tests.synthetic.synthetic_profile` has them, of 8 layers."""

MODEL = HeadModel.of(8, DEPTHS, (0.5, 0.7, 0.9), (0.4, 0.6, 0.8))
PROMPTS = alike(4, n_prompt=10, n_output=60)
HASTY = Design.of(gamma=0.0, placement=DEPTHS)
"""Drafts from its first head, however unsure, and so is wrong half of the time."""


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Return another profile, for its latencies."""
    return synthetic_profile(
        tmp_path_factory.mktemp("timed") / "profile", contexts=(8, 128), max_tokens=9
    )


@pytest.fixture(scope="module")
def latency(timed: Profile) -> LatencyTable:
    return LatencyTable.from_samples(timed.latency, timed.n_layers)


def predicted(
    latency: LatencyTable,
    design: Design,
    prompts: list[SyntheticPrompt] | None = None,
    **given: Any,
) -> Prediction:
    trace = synthetic_trace({"synthetic": MODEL}, prompts or PROMPTS, **given)
    return Predictor(trace=trace, latency=latency).predict(design)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return write_synthetic(
        tmp_path_factory.mktemp("written") / "profile", {"synthetic": MODEL}, PROMPTS, seed=3
    )[0]


def test_the_same_arguments_give_the_same_bytes(written: Profile, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "again", {"synthetic": MODEL}, PROMPTS, seed=3)
    files = sorted(path.name for path in written.path.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in files:
        assert (written.path / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_another_seed_gives_another_text() -> None:
    one, other = (draw({"synthetic": MODEL}, PROMPTS, seed=seed)["trace"] for seed in (0, 1))
    assert (one["token"] != other["token"]).mean() > 0.9
    assert (one["agrees"] != other["agrees"]).any()


def test_two_models_are_drawn_on_the_same_numbers() -> None:
    """So that one with easier tokens is right wherever the other was."""
    one, easier = (
        draw({"synthetic": model}, PROMPTS)["trace"] for model in (MODEL, MODEL.shifted(0.3))
    )
    assert (one["agrees"] <= easier["agrees"]).all()
    assert one["agrees"].sum() < easier["agrees"].sum()
    assert (
        one.loc[one["depth"] == 8, "token"].tolist()
        == easier.loc[easier["depth"] == 8, "token"].tolist()
    )


def test_prompts_are_as_long_as_asked_and_end_with_their_budget() -> None:
    prompts = [
        SyntheticPrompt("synthetic", 5, 9),
        SyntheticPrompt("synthetic", 7, 2),
        SyntheticPrompt("synthetic", 1, 30),
    ]
    trace = synthetic_trace({"synthetic": MODEL}, prompts)
    assert [
        (trace.domain(k), trace.n_prompt(k), trace.n_output(k)) for k in trace.prompts
    ] == prompts
    assert [trace.max_new_tokens(k) for k in trace.prompts] == [9, 2, 30]
    assert not any(map(trace.ended, trace.prompts))


def test_each_domain_has_its_own_heads() -> None:
    """Prompts stay in the order in which they were asked for."""
    models = {"hard": MODEL, "easy": MODEL.shifted(1.5)}
    prompts = [SyntheticPrompt(domain, 10, 400) for domain in ("easy", "hard", "hard", "easy")]
    trace = synthetic_trace(models, prompts)
    assert [trace.domain(k) for k in trace.prompts] == ["easy", "hard", "hard", "easy"]
    agree = trace.agreement().query("depth == 2").set_index("domain")["agree"]
    assert agree["hard"] == pytest.approx(0.5, abs=0.06)
    assert agree["easy"] == pytest.approx(0.933, abs=0.04)


def test_a_followed_text_is_replayed_without_any_model_of_branches(latency: LatencyTable) -> None:
    """Whatever the design drafts: nothing rests on a branch that stands in."""
    for design in (
        HASTY,
        Design.of(gamma=0.5, placement=(2, 6)),
        Design.of("fixed", placement=(2,), cap=5),
    ):
        got = predicted(latency, design)
        assert got.reject_rate > 0.1
        assert got.modelled_share == 0


def test_the_compiled_replay_follows_wrong_drafts_too(timed: Profile) -> None:
    trace = synthetic_trace({"synthetic": MODEL}, PROMPTS)
    evaluator = Evaluator.of(CompiledReplay.of(trace), [measured_latencies(timed)], max_tokens=6)
    (row,) = evaluator.evaluate([HASTY]).to_dict("records")
    assert row["reject_rate"] > 0.1
    assert row["modelled_share"] == 0


def test_drafts_are_followed_as_far_as_the_cap_asks(latency: LatencyTable) -> None:
    """A round of eight drafts asks seven times after a first that was wrong."""
    long = Design.of(gamma=0.0, placement=DEPTHS, cap=8)
    assert predicted(latency, long).modelled_share > 0
    assert predicted(latency, long, cap=8).modelled_share == 0
    assert (
        predicted(latency, Design.of(gamma=0.0, placement=DEPTHS, cap=1), cap=1).modelled_share == 0
    )


def test_drafts_beyond_the_outputs_followed_count_as_modelled(latency: LatencyTable) -> None:
    """The first prompt's 59 outputs are followed, the rest is not."""
    trace = synthetic_trace({"synthetic": MODEL}, PROMPTS, followed=59)
    predictor = Predictor(trace=trace, latency=latency)
    assert predictor.predict(HASTY, [0]).modelled_share == 0
    assert predictor.predict(HASTY, [1]).modelled_share > 0.5
    assert not draw({"synthetic": MODEL}, PROMPTS, followed=0)["branches"].size


def test_outputs_are_followed_across_domains() -> None:
    """The second domain's are, as far as the first leaves some over."""
    models = {"one": MODEL, "other": MODEL}
    prompts = [SyntheticPrompt(domain, 10, 60) for domain in ("one", "other")]
    assert set(draw(models, prompts, followed=59)["branches"]["prompt"]) == {0}
    further = draw(models, prompts, followed=70)["branches"].groupby("prompt")["output"].max()
    assert further[0] > 11 >= further[1]


def test_off_the_text_scores_go_on() -> None:
    """After the hard place of a wrong draft heads are less sure than on the text.

    The less the closer outputs hang together.
    """
    means = {}
    for along in (0.0, 0.8):
        model = HeadModel.of(8, (4,), (0.5,), (0.5,), correlations={"along_text": along})
        branches = draw({"synthetic": model}, alike(8, n_prompt=10))["branches"]
        heads = branches[branches["depth"] == 4].assign(steps=branches["path"].map(len))
        means[along] = heads.groupby("steps")["confidence"].mean()
    assert means[0.0][1] == pytest.approx(0.5, abs=0.03)
    assert means[0.8][1] < 0.4
    assert means[0.8][1] < means[0.8][4] - 0.03  # on the way back


def test_off_the_text_all_heads_say_the_same() -> None:
    """So that one path is all there is to follow, one draft longer at each step."""
    branches = draw({"synthetic": MODEL}, PROMPTS)["branches"]
    groups = branches.groupby(["prompt", "output", "path"])
    assert (groups["token"].min() == groups["token"].max()).all()
    assert (groups.size() == len(DEPTHS) + 1).all()
    paths = {key: set(part["path"]) for key, part in branches.groupby(["prompt", "output"])}
    assert all(sorted(map(len, path)) == [1, 2, 3, 4] for path in paths.values())
    assert all(one == max(path, key=len)[: len(one)] for path in paths.values() for one in path)


def test_a_written_trace_is_a_profile(written: Profile) -> None:
    """It says what it is, holds no latencies and no runs.

    And what heads say in it is what was asked.
    """
    again = read_profile(written.path)
    assert again.manifest["synthetic"] is True
    assert again.manifest["limitations"][0].startswith(
        "a synthetic trace: no model wrote this text"
    )
    assert again.manifest["settings"]["models"]["synthetic"]["agreement"] == [0.5, 0.7, 0.9]
    assert (again.n_layers, again.depths) == (8, DEPTHS)
    assert not any(len(table) for table in (again.latency, again.runs, again.rounds, again.works))
    drawn = draw({"synthetic": MODEL}, PROMPTS, seed=3)["trace"]
    pd.testing.assert_frame_equal(again.trace.drop(columns="gate"), drawn)


def test_a_written_trace_is_predicted_with_latencies_of_another_profile(
    written: Profile, latency: LatencyTable
) -> None:
    """As the trace is that was never written."""
    got = Predictor(trace=Trace.from_profile(written), latency=latency).predict(HASTY)
    assert got == predicted(latency, HASTY, seed=3)
    assert 0.3 < got.speedup < 2


def test_latencies_are_missed_in_words(written: Profile) -> None:
    with pytest.raises(
        ProfileError,
        match=(
            "wanted latencies, the table holds none: give a profile that adadecode-profile recorded"
        ),
    ):
        Predictor.of(written)


def test_what_was_drawn_is_told_beside_what_was_asked() -> None:
    tables = draw({"synthetic": MODEL}, alike(8, n_prompt=10))
    rows = compare_with_models({"synthetic": MODEL}, tables)
    assert len(rows) == 9
    assert rows["within"].all()
    trace = tables["trace"].query("depth == 4")
    row = rows.query("depth == 4").set_index("what")["got"]
    assert row["agreement"] == trace["agrees"].mean()
    assert row["confidence, right"] == trace.loc[trace["agrees"], "confidence"].mean()
    assert row["confidence, wrong"] == trace.loc[~trace["agrees"], "confidence"].mean()


def test_what_is_far_from_what_was_asked_is_told() -> None:
    """The text is drawn with other heads here."""
    tables = draw({"synthetic": MODEL.shifted(0.5)}, alike(8, n_prompt=10))
    rows = compare_with_models({"synthetic": MODEL}, tables)
    assert not rows.query("what == 'agreement'")["within"].any()


def test_more_text_leaves_less_room() -> None:
    """Half the margin at four times the outputs; more where outputs hang together."""
    short, long, bound = (
        compare_with_models(
            {"synthetic": model}, draw({"synthetic": model}, alike(count, n_prompt=10))
        )["margin"].iloc[0]
        for model, count in (
            (MODEL, 2),
            (MODEL, 8),
            (HeadModel.of(8, DEPTHS, (0.5, 0.7, 0.9), correlations={"along_text": 0.6}), 8),
        )
    )
    assert long == pytest.approx(short / 2)
    assert bound > 1.5 * long


def test_nothing_is_told_of_what_never_happened() -> None:
    """A head that is never wrong, a domain without prompts."""
    model = HeadModel.of(8, (4,), (1.0,), (0.9,))
    models = {"one": model, "other": model}
    rows = compare_with_models(models, draw(models, [SyntheticPrompt("one", 10, 60)]))
    assert rows[["domain", "what"]].to_numpy().tolist() == [
        ["one", "agreement"],
        ["one", "confidence, right"],
    ]


def test_estimated_acceptances_are_probabilities() -> None:
    """1 where a right head is as sure as the last layer, less the more they differ."""
    trace = draw({"synthetic": MODEL}, PROMPTS)["trace"]
    assert trace["acceptance"].between(0, 1).all()
    assert (trace.loc[trace["depth"] == 8, "acceptance"] == 1).all()
    heads = trace["confidence"].to_numpy().reshape(-1, 4)
    right = trace["agrees"].to_numpy().reshape(-1, 4)[:, 0]
    got = trace["acceptance"].to_numpy().reshape(-1, 4)[:, 0]
    np.testing.assert_allclose(got[right], 1 - np.abs(heads[right, 0] - heads[right, -1]))
    assert (got[~right] <= 1 - heads[~right, 0]).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"models": {}}, "wanted models of heads at the same depths, one or more"),
        (
            {"models": {"synthetic": MODEL, "other": HeadModel.of(8, (2, 4), (0.5, 0.7))}},
            "wanted models of heads at the same depths",
        ),
        (
            {"models": {"synthetic": MODEL, "other": HeadModel.of(16, DEPTHS, (0.5, 0.7, 0.9))}},
            "wanted models of heads at the same depths",
        ),
        ({"prompts": []}, "wanted prompts of the domains synthetic, got none"),
        ({"prompts": alike(1, domain="code")}, "wanted prompts of the domains synthetic, got code"),
        (
            {"prompts": alike(1, n_prompt=0)},
            "wanted a prompt of 1 token or more and 2 outputs or more, got 0 and 512",
        ),
        (
            {"prompts": alike(1, n_output=1)},
            (
                "wanted a prompt of 1 token or more and 2 outputs or more, got 128 and 1: heads "
                "speak from"
            ),
        ),
        ({"seed": -1}, "a seed is a whole number, 0 or more, got -1"),
        (
            {"followed": -1},
            (
                "the number of outputs to follow wrong drafts after is a whole number, 0 or more, "
                "got -1"
            ),
        ),
        ({"cap": 0}, "a cap is a whole number, 1 or more, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"models": {"synthetic": MODEL}, "prompts": PROMPTS, **given}
    with pytest.raises(SyntheticError, match=message):
        draw(values.pop("models"), values.pop("prompts"), **values)


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(
            InputError,
            match="exists and is not an empty directory: name another one with --out",
        ):
            write_synthetic(out, {"synthetic": MODEL}, PROMPTS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_directory_can_be_written_to(tmp_path: Path) -> None:
    assert write_synthetic(tmp_path, {"synthetic": MODEL}, PROMPTS)[0].depths == DEPTHS
