"""Heads of another form in the simulator.

What a shortlist would have said, and what a form costs where.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles import LatencyTable, Profile
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.errors import HeadsError, ProfileError, ShapeError
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.memory import Deployment, peak_memory
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.prediction.scenario import ScenarioOptions, find_scenario
from adadecode.sim.prediction.shortlist_trace import in_form, shortlisted
from adadecode.sim.replay.simulation import replay
from tests.support.handmade import ConstantLatency, one_text
from tests.support.recordings import about, on_a100
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import EOS, synthetic_profile

A100, H100 = find_device("a100-80gb-sxm"), find_device("h100-sxm")
ASKED: dict[str, Any] = {"max_context": 40, "max_tokens": 8, "depths": (2, 4, 6)}
SHORT = HeadForm(shortlist=8)

SCRIPT = {"profile": "x", "model": "y", "n_layers": 8, "map": {"2": 2}}
"""What a manifest holds of the recording whose decisions were followed."""


def with_form(path: Path, form: dict[str, Any], **extra: Any) -> Profile:
    """A recording whose heads had this form."""
    return synthetic_profile(
        path,
        manifest={
            **about(),
            "heads": {"name": "h", "depths": [2, 4, 6], "metrics": [], "form": form},
            **extra,
        },
    )


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("shortlist") / "p")


@pytest.fixture(scope="module")
def trace(profile: Profile) -> Trace:
    return Trace.from_profile(profile)


# -- what they would have said -------------------------------------------------------------------


def test_a_draft_outside_is_wrong_and_never_sure_and_the_rest_stays() -> None:
    """Before outputs 1 and 2 of four; the text and its last layer are what they were."""
    before = one_text(
        [5, 6, 7, 8], {(1, 1): (0.9, 6), (1, 2): (0.8, 9), (2, 1): (0.7, 7), (2, 2): (0.6, 5)}
    )
    after = before.shortlisted({0: (6, 5, 8)})
    assert [after.head(0, 1, 1), after.head(0, 2, 2), after.head(0, 3, 1)] == [
        (0.9, 6),
        (0.6, 5),
        (0.0, 8),
    ]
    assert (after.head(0, 1, 2), after.head(0, 2, 1)) == (
        (0.0, 5),
        (0.0, 6),
    )  # another token than the last layer's 6, than its 7
    assert [after.final(0, output) for output in range(4)] == [5, 6, 7, 8]


def test_the_wrong_token_ends_no_text() -> None:
    """Such a draft would never be taken, and one that is taken must be seen to be wrong."""
    after = one_text([5, 6, 7], {(1, 1): (0.9, 9)}, eos=frozenset({4})).shortlisted({0: (4, 6, 8)})
    assert after.head(0, 1, 1) == (0.0, 8)


def test_branches_outside_are_not_sure_either() -> None:
    after = one_text(
        [5, 6, 7], branches={(1, (3,), 1): (0.9, 9), (1, (3,), 2): (0.9, 8)}
    ).shortlisted({0: (6, 8)})
    assert (after.branch(0, 1, (3,), 1), after.branch(0, 1, (3,), 2)) == ((0.0, 6), (0.9, 8))


def test_of_a_sampled_text_nobody_knows(tmp_path: Path) -> None:
    """Of what a head would draw from its shortlist only the likeliest token was recorded.

    Another format alone is taken to say the same.
    """
    sampled = synthetic_profile(tmp_path / "p", sampling={"temperature": 0.8, "seed": 0})
    recorded_trace = Trace.from_profile(sampled)
    with pytest.raises(HeadsError, match="record with --shortlist and the same sampling"):
        in_form(sampled, Provenance.of(sampled), recorded_trace, SHORT)
    assert (
        in_form(sampled, Provenance.of(sampled), recorded_trace, HeadForm(dtype="int8"))[0]
        is recorded_trace
    )


def test_a_shortlist_without_two_tokens_to_say_is_refused() -> None:
    with pytest.raises(ProfileError, match="two tokens besides those that end a text"):
        one_text([5, 6, 7]).shortlisted({0: (6,)})


def test_a_shortlist_longer_than_the_vocabulary_is_refused_first(tmp_path: Path) -> None:
    """Before anything is said of the one prompt there is."""
    alone = on_a100(tmp_path / "p", prompts=1)
    with pytest.raises(ShapeError, match="a shortlist of 99999 tokens leaves out none"):
        find_scenario(alone, ScenarioOptions(form=HeadForm(shortlist=99999)))


def test_shortlists_are_of_the_other_prompts(trace: Trace) -> None:
    """Out of sample.

    What a prompt's own text says often counts for nothing; ends are always held.
    """
    found = shortlisted(trace, 8)
    outside = outputs = 0
    for prompt in trace.prompts:
        others = [
            t
            for p in trace.prompts
            if p != prompt
            for t in trace.tokens(p)[:, -1].tolist()
            if t != EOS
        ]
        held = {EOS, *sorted(set(others), key=lambda t: (-others.count(t), t))[:7]}
        for output in range(1, trace.n_output(prompt)):
            outputs += 1
            outside += trace.final(prompt, output) not in held
            for depth in trace.depths:
                confidence, token = trace.head(prompt, output, depth)
                assert found.trace.head(prompt, output, depth)[0] == (
                    confidence if token in held else 0.0
                )
    assert found.outside == outside / outputs > 0
    assert found.sizes == (8, 8)


def test_a_shortlist_of_everything_changes_only_what_no_other_prompt_said(trace: Trace) -> None:
    """The note says how many tokens it holds."""
    found = shortlisted(trace, 5000)
    assert found.sizes[1] < 5000
    assert found.outside < shortlisted(trace, 8).outside


def test_one_prompt_has_no_others() -> None:
    with pytest.raises(ProfileError, match="there is one alone: profile more prompts"):
        shortlisted(one_text([5, 6, 7]), 2)


def with_ranking(path: Path, counted: list[int], **settings: Any) -> Profile:
    """A recording that carries the order in which the engine takes tokens."""
    ranking = {"source": "texts.txt", "vocabulary": 32000, "counted": counted}
    heads = {"name": "h", "depths": [2, 4, 6], "metrics": [], "ranking": ranking}
    return synthetic_profile(path, manifest={**about(), "heads": heads}, **settings)


def test_a_recording_that_carries_the_order_is_predicted_with_the_engines_tokens(
    tmp_path: Path,
) -> None:
    """The same for every prompt, also for a single one; what the texts say counts for nothing."""
    recorded = with_ranking(tmp_path / "p", [EOS, 9, 30], prompts=1)
    full = Trace.from_profile(recorded)
    held = {EOS, 9, 30, *[token for token in range(9) if token != EOS][:5]}
    got, (note,) = in_form(recorded, Provenance.of(recorded), full, SHORT)
    assert "tokens as counted in texts.txt, then by id" in note
    final = full.tokens(0)[1:, -1]
    assert f"{1 - np.isin(final, list(held)).mean():.1%} of the outputs are outside" in note
    inside = np.isin(full.tokens(0)[1:, :-1], list(held))
    assert (got.confidences(0)[1:, :-1][~inside] == 0).all()
    assert (got.confidences(0)[1:, :-1] == full.confidences(0)[1:, :-1])[inside].all()


def test_the_tokens_of_a_prompt_are_added_to_its_shortlist_alone(tmp_path: Path) -> None:
    recorded = with_ranking(tmp_path / "p", [EOS, 9, 30])
    full, form = Trace.from_profile(recorded), HeadForm(shortlist=8, prompt=True)
    with pytest.raises(HeadsError, match="does not tell which tokens its prompts hold"):
        in_form(recorded, Provenance.of(recorded), full, form)
    said = sorted({*full.tokens(1)[1:, -1].tolist()})
    beside = pd.Series([(), tuple(said), ()], index=recorded.prompts.index, dtype=object)
    told = replace(recorded, prompts=recorded.prompts.assign(in_prompt=beside))
    plain, _ = in_form(told, Provenance.of(told), full, SHORT)
    got, (note,) = in_form(told, Provenance.of(told), full, form)
    assert "and the tokens of each prompt" in note
    for prompt in (0, 2):
        assert (got.tokens(prompt) == plain.tokens(prompt)).all()
    inside = np.isin(full.tokens(1)[1:, :-1], said)
    assert (got.tokens(1)[1:, :-1] == full.tokens(1)[1:, :-1])[inside].all()
    assert not (plain.tokens(1)[1:, :-1] == full.tokens(1)[1:, :-1])[inside].all()


def test_a_shortlist_takes_fewer_drafts_and_no_other_text(trace: Trace) -> None:
    """Drafts outside go on to the last layer."""
    design = Design.of("adadecode", gamma=0.3, placement=(2, 4))
    full, short = (
        replay(one, ConstantLatency(), design) for one in (trace, shortlisted(trace, 8).trace)
    )
    assert [run.n_tokens for run in full] == [run.n_tokens for run in short]
    drafts = [sum(len(done.exits) for run in runs for done in run.rounds) for runs in (full, short)]
    assert drafts[1] < drafts[0]


# -- what was recorded, what is asked ------------------------------------------------------------


def test_a_profile_tells_the_form_of_its_heads(tmp_path: Path, profile: Profile) -> None:
    """Older ones do not, and had full ones.

    Scripted decisions are those of the heads that were followed, whatever was timed.
    """
    recorded = with_form(
        tmp_path / "a",
        {"shortlist": 8, "dtype": "int8", "product": "weight-only", "tokens": [1, 2]},
    )
    scripted = with_form(tmp_path / "b", {"shortlist": 8, "dtype": None}, scripted=SCRIPT)
    assert (
        Provenance.of(profile).timed_form,
        Provenance.of(recorded).timed_form,
        Provenance.of(recorded).trace_form,
    ) == (
        FULL,
        *[HeadForm(shortlist=8, dtype="int8")] * 2,
    )
    assert (Provenance.of(scripted).timed_form, Provenance.of(scripted).trace_form) == (SHORT, FULL)
    followed = with_form(
        tmp_path / "c",
        {"shortlist": None},
        scripted={**SCRIPT, "form": {"shortlist": 8, "dtype": None}},
    )
    assert (Provenance.of(followed).timed_form, Provenance.of(followed).trace_form) == (FULL, SHORT)


def test_what_was_recorded_is_not_changed_twice(tmp_path: Path) -> None:
    """The same form is the recording itself; of another shortlist nobody knows."""
    recorded = with_form(tmp_path / "p", {"shortlist": 8, "dtype": None})
    recorded_trace = Trace.from_profile(recorded)
    assert (
        in_form(recorded, Provenance.of(recorded), recorded_trace, None)
        == in_form(recorded, Provenance.of(recorded), recorded_trace, SHORT)
        == (recorded_trace, [])
    )
    assert (
        in_form(
            recorded, Provenance.of(recorded), recorded_trace, HeadForm(shortlist=8, dtype="int8")
        )[0]
        is recorded_trace
    )
    for form in (FULL, HeadForm(shortlist=4)):
        with pytest.raises(HeadsError, match="record it with --shortlist 0"):
            in_form(recorded, Provenance.of(recorded), recorded_trace, form)


def test_a_drawn_text_has_no_frequent_tokens(tmp_path: Path) -> None:
    drawn = synthetic_profile(tmp_path / "p", manifest={**about(), "synthetic": {"seed": 0}})
    recorded_trace = Trace.from_profile(drawn)
    scripted = synthetic_profile(
        tmp_path / "s", manifest={**about(), "scripted": {**SCRIPT, "synthetic": True}}
    )
    for one in (drawn, scripted):
        got, notes = in_form(one, Provenance.of(one), recorded_trace, SHORT)
        assert got is recorded_trace
        assert "the shortlist changes cost alone" in notes[0]


# -- what it costs -------------------------------------------------------------------------------


def test_a_form_that_was_not_timed_is_carried_by_its_bytes(profile: Profile) -> None:
    """On the recorded device itself.

    Heads take less, with an interval; all else what was measured.
    """
    before = LatencyTable.from_samples(profile.latency, 8)
    there = carried_latencies(profile, A100, **ASKED, form=SHORT)
    assert there.basis == "carried"
    assert any(
        "heads shortlist:8, which took full ones' time for each byte and kernel" in note
        for note in there.notes
    )
    assert (
        there.tables["low"].head(4, 8)
        < there.middle.head(4, 8)
        < there.tables["high"].head(4, 8)
        < before.head(4, 8)
    )
    assert (there.middle.verify(3), there.middle.layer(3, 2, 24, 4)) == (
        before.verify(3),
        before.layer(3, 2, 24, 4),
    )


def test_a_timed_form_stays_as_it_was(tmp_path: Path) -> None:
    """Where it was measured; elsewhere it is told."""
    recorded = with_form(tmp_path / "p", {"shortlist": 8, "dtype": "int8"})
    assert carried_latencies(recorded, A100, **ASKED).basis == "measured"
    assert any(
        note.endswith("heads shortlist:8 int8")
        for note in carried_latencies(recorded, H100, **ASKED).notes
    )


def test_from_a_datasheet_heads_cost_what_their_form_reads(profile: Profile) -> None:
    """Each form costs less than the one before."""
    forms = (
        FULL,
        HeadForm(dtype="int8"),
        HeadForm(shortlist=2000),
        HeadForm(shortlist=2000, dtype="int8"),
    )
    shape = Provenance.of(profile).require_shape()
    seconds = [
        datasheet_latencies(shape, H100, dtype="bf16", **ASKED, form=form).middle.head(4, 8)
        for form in forms
    ]
    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) == 4


def test_a_scenario_holds_form_trace_and_cost_together(profile: Profile) -> None:
    scenario = find_scenario(profile, ScenarioOptions(form=SHORT))
    assert (scenario.form, scenario.latencies.basis) == (SHORT, "carried")
    assert any("of the outputs are outside" in note for note in scenario.notes)
    assert find_scenario(profile).form == FULL


def test_a_text_of_short_heads_on_latencies_of_full_ones_is_priced_as_it_was_said(
    tmp_path: Path, profile: Profile
) -> None:
    recorded = with_form(tmp_path / "p", {"shortlist": 8, "dtype": None})
    scenario = find_scenario(profile, trace=recorded)
    assert (scenario.form, scenario.latencies.basis) == (SHORT, "carried")


def test_heads_of_another_form_hold_rows_of_their_own(profile: Profile) -> None:
    """Once for all heads; the model's LM head stays for verification."""
    shape = Provenance.of(profile).require_shape()
    held = [
        peak_memory(Deployment(shape=shape, heads=(2, 4), form=form)).heads
        for form in (FULL, SHORT, HeadForm(dtype="int8"))
    ]
    matrices, d = 2 * 4096**2, 4096
    assert held == [2 * matrices, 2 * (matrices + 8 * d), matrices + 32000 * d]
    assert peak_memory(Deployment(shape=shape, form=SHORT)).heads == 0
    with pytest.raises(ShapeError, match="leaves out none of the 32000"):
        Deployment(shape=shape, form=HeadForm(shortlist=32000))


# -- commands ------------------------------------------------------------------------------------


FORM = ("--shortlist", "8", "--head-dtype", "int8")


def test_predict_tells_what_it_assumed(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cheaper heads that are heard less: with drafts only in the shortlist, fewer leave early."""
    full, short = (
        run_json(capsys, "predict", profile.path, "--gamma", "0.5", *form, "--json")
        for form in ((), FORM)
    )
    assert (full["basis"], short["basis"]) == ("measured", "carried")
    assert short["early_rate"] < full["early_rate"]
    assert sum("heads shortlist:8 int8" in note for note in short["notes"]) == 3


def test_account_counts_the_bytes_of_the_form(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check reads 17 million bytes and scales, and writes logits.

    Where it read 148 million numbers of two bytes.
    """
    documents = [
        run_json(capsys, "account", profile.path, "--gamma", "0.99999999", *form, "--json")
        for form in ((), FORM)
    ]
    full, short = (one["bytes_per_token"]["heads"] for one in documents)
    rows = 4096 + 8
    assert short / full == pytest.approx(
        (rows * 4096 + 4 * rows + 4 * (32000 + 8)) / (2 * (4096 + 32000) * 4096), rel=1e-9
    )


def test_memory_tells_the_form(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(
        capsys, "memory", "llama-3.1-8b", "--device", "l4", "--heads", "8", *FORM, "--json"
    )["answers"][0]
    assert (document["head_form"], document["bytes"]["heads"]) == (
        "shortlist:8 int8",
        4096**2 + 8 * 4096,
    )


def test_a_sweep_prices_the_form(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is another sweep than that of full heads."""
    options = ("--gammas", "0.5", "--max-heads", "1", "--json")
    documents = []
    for number, form in enumerate(((), FORM)):
        assert run("sweep", profile.path, "--out", tmp_path / str(number), *options, *form) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0]["plan"] != documents[1]["plan"]
    assert any("heads shortlist:8 int8" in note for note in documents[1]["notes"])


@pytest.mark.parametrize(
    "form", [("--shortlist", "0"), ("--head-dtype", "int3"), ("--shortlist", "32000")]
)
def test_impossible_forms_exit_with_2(
    profile: Profile, capsys: pytest.CaptureFixture[str], form: tuple[str, str]
) -> None:
    assert run("predict", profile.path, *form) == 2
    assert "error:" in capsys.readouterr().err
