"""Gates in a recording: scored everywhere, timed, run, and replayed exactly."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from adadecode.engine.heads.random_heads import random_heads
from adadecode.engine.profiling.latency_walks import Walks, walk
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.plan import RecordingPlan, make_designs
from adadecode.engine.profiling.recorder import Recorder, record_plan
from adadecode.engine.profiling.scripted_recorder import ScriptedRecorder
from adadecode.profiles.errors import DesignError, HeadsError, InputError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Gate, Run
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.models import tiny_model
from tests.support.same_recordings import assert_same_but_timings
from tests.support.small_plan import small_plan

DEPTHS = (2, 3, 4)
DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.03, placement=(2, 4)),
    Design.of(gamma=0.03, placement=(2, 4), gate=0.5),
    Design.of(gamma=(0.02, 0.03), placement=(2, 3), gate=(0.4, 0.0), cap=2),
)


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama", torch.float32)
    heads = ExitHeads.identity(model, DEPTHS)
    return AdaDecoder(model, heads.gated(model, Gates.random(DEPTHS, model.config.hidden_size)))


@pytest.fixture(scope="module")
def plan() -> RecordingPlan:
    return small_plan(DESIGNS, shortlist_from=None)


@pytest.fixture(scope="module")
def whole(
    decoder: AdaDecoder, plan: RecordingPlan, tmp_path_factory: pytest.TempPathFactory
) -> Profile:
    return record_plan(decoder, plan, tmp_path_factory.mktemp("whole") / "p", resume=False)


def test_every_head_has_a_score_at_every_output_and_after_every_wrong_draft(
    decoder: AdaDecoder, whole: Profile
) -> None:
    """The last layer has none."""
    profile = read_profile(whole.path)
    assert profile.manifest["heads"]["gates"] is True
    for table in (profile.trace, profile.branches):
        heads = table[table["depth"] < decoder.parts.n_layers]
        assert heads["gate"].between(0, 1).all()
        assert heads["gate"].nunique() > len(heads) / 2
    final = profile.trace[profile.trace["depth"] == decoder.parts.n_layers]
    assert final["gate"].isna().all()
    assert len(profile.branches)


def test_a_score_in_the_trace_is_what_a_run_was_given(
    decoder: AdaDecoder, plan: RecordingPlan, whole: Profile
) -> None:
    """Bit for bit, along the text."""
    trace = whole.trace.set_index(["prompt", "output", "depth"])["gate"]
    ids, found = torch.tensor([plan.encoded[1]]), []
    design = Design.of(gamma=1 - 1e-9, placement=DEPTHS, gate=1e-9)  # no draft is ever taken
    decoding = decoder.start(ids, design, max_new_tokens=16)

    def watch(work: Any, outcome: Any) -> None:
        if isinstance(work, Gate):
            found.append(outcome.value == trace[1, work.position - 5 + 1, work.depth])

    with decoder.parts.session():
        for _ in decoding.steps(watch):
            pass
    assert len(found) == 14 * len(DEPTHS)  # with one token left no draft could be of use
    assert all(found)


def test_gates_are_timed_at_every_depth(whole: Profile) -> None:
    latency = whole.latency
    gates = latency[latency["kind"] == "gate"]
    assert set(gates["layer"]) == set(DEPTHS)
    assert len(gates) == len(latency[latency["kind"] == "head"])
    assert (gates["seconds"] > 0).all()
    assert set(gates["n_tokens"]) == {1}


def test_gates_asked_are_recorded_as_rounds_and_works(whole: Profile) -> None:
    rounds, works = whole.rounds, whole.works
    gated = rounds[rounds["gates"].map(len) > 0]
    plain = rounds[rounds["gates"].map(len) == 0]
    asked = gated["gates_asked"].map(len).sum()
    assert 0 < gated["checks"].map(len).sum() < asked + len(gated) * 2
    assert plain["gates_asked"].map(len).sum() == 0
    assert Counter(works["kind"])["gate"] == asked
    assert set(works[works["kind"] == "gate"]["gates"].map(tuple)) == {(0.5, 0.5), (0.4, 0.0)}


def test_gated_runs_are_replayed_exactly(whole: Profile) -> None:
    """Gates, exits, batches and accepts of every round; measured pieces add up to the runs."""
    structure = validate(whole).to_dict()["structure"]
    assert structure["exact"] == structure["runs"] == len(DESIGNS) * 2


def test_an_interrupted_recording_resumes_to_the_same_tables(
    decoder: AdaDecoder, plan: RecordingPlan, whole: Profile, tmp_path: Path
) -> None:
    recorder = Recorder(decoder, plan, PieceStore.open(tmp_path / "p", plan.settings, resume=False))
    steps = recorder.run()
    for _ in range(4):
        next(steps)
    assert_same_but_timings(record_plan(decoder, plan, tmp_path / "p", resume=True), whole)


def test_without_gates_a_recording_holds_nothing_of_them(
    decoder: AdaDecoder, plan: RecordingPlan, tmp_path: Path
) -> None:
    """Neither columns nor a word in the manifest: earlier versions read it."""
    bare = AdaDecoder(decoder.parts.model, ExitHeads.identity(decoder.parts.model, DEPTHS))
    profile = record_plan(bare, replace(plan, designs=DESIGNS[:2]), tmp_path / "p", resume=False)
    manifest = json.loads((profile.path / "manifest.json").read_text())
    assert "gates" not in manifest["heads"]
    assert manifest["schema_version"] == 1
    for path in profile.path.glob("*.parquet"):
        assert not [name for name in pq.read_schema(path).names if "gate" in name], path.name
    assert "gate" not in set(profile.latency["kind"])


def test_a_sampled_recording_keeps_what_gates_scored(
    decoder: AdaDecoder, plan: RecordingPlan, tmp_path: Path
) -> None:
    """Every run's own scores, so each is replayed exactly."""
    sampled = replace(plan, sampling=Sampling(temperature=1.0, seed=3), repeats=1)
    profile = record_plan(decoder, sampled, tmp_path / "p", resume=False)
    kinds = Counter(profile.draws["kind"])
    assert kinds["gate"] == profile.rounds["gates_asked"].map(len).sum() > 0
    structure = validate(profile).to_dict()["structure"]
    assert structure["exact"] == structure["runs"] > 0


def test_a_script_of_gated_heads_asks_gates_of_the_model_that_runs(
    whole: Profile, plan: RecordingPlan, tmp_path: Path
) -> None:
    """It does the work, takes the recorded scores, and goes the recorded rounds."""
    script = Script.of(whole, 6)
    assert script.has_gates
    model = tiny_model("llama", torch.float32, seed=4)
    other = AdaDecoder(model, random_heads(model, DEPTHS, gates=True))
    store = PieceStore.open(tmp_path / "p", plan.settings, resume=False)
    scripted = replace(plan, prompts=script.prompts, encoded=script.encoded(97, 0), repeats=1)
    recorder = ScriptedRecorder(other, scripted, store, script)
    for _ in recorder.run():
        pass
    profile = recorder.finish()
    columns = ["prompt", "placement", "gates", "round", "exits", "gates_asked", "checks"]
    same = whole.rounds[whole.rounds["policy"] == "adadecode"][columns].reset_index(drop=True)
    again = profile.rounds[profile.rounds["policy"] == "adadecode"][columns]
    assert same.equals(again.reset_index(drop=True))
    assert profile.trace["gate"].equals(whole.trace["gate"])
    assert "gate" in set(profile.latency["kind"])


def test_a_script_without_gates_does_not_lend_any(whole: Profile) -> None:
    manifest = {**whole.manifest, "heads": {**whole.manifest["heads"], "gates": False}}
    assert not replace(Script.of(whole, 6), source=manifest).has_gates


def test_a_walk_asks_the_gate_before_the_head(decoder: AdaDecoder) -> None:
    walks = Walks(4, 6, (5,), 9, checked=True, laps=2, gated=True)
    assert list(walks.steps()) == [Run(0, 8, 9), Gate(4, 8), Check(4, 8)] * 2
    with torch.inference_mode():
        decoder.parts.allocate(24)
    with decoder.parts.session():
        one = Counter(row["kind"] for row in walk(decoder, 4, (5,), 9, 2, 0))
        more = Counter(row["kind"] for row in walk(decoder, 4, (5, 6), 9, 2, 0))
    assert one == {"layer": 8, "head": 2, "gate": 2}
    assert more == {"layer": 8}


def test_designs_are_made_with_every_gate(decoder: AdaDecoder) -> None:
    made = make_designs(
        decoder, placements=[(2,)], gammas=(0.5, 0.8), cap=5, fixed_drafts=0, gates=(0.0, 0.3)
    )
    found = [(one.gammas, one.gates) for one in made if one.policy == "adadecode"]
    assert found == [((g,), gate) for g in (0.5, 0.8) for gate in ((), (0.3,))]


def test_designs_with_gates_need_heads_with_gates(decoder: AdaDecoder) -> None:
    bare = AdaDecoder(decoder.parts.model, ExitHeads.identity(decoder.parts.model, DEPTHS))
    with pytest.raises(HeadsError, match="no gates to ask"):
        make_designs(bare, placements=None, gammas=(0.5,), cap=5, fixed_drafts=3, gates=(0.3,))


def test_bad_gates_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(DesignError, match="gate threshold"):
        RecordingOptions(gates=(0.3, 1.5))
    with pytest.raises(InputError, match="at least one gate threshold as --gates"):
        RecordingOptions(gates=())
    assert math.isclose(RecordingOptions(gates=(0, 0.3)).gates[1], 0.3)
