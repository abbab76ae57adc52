"""The simulator against measured runs: of the committed profile, and of a recording made here.

Nothing is fitted on the runs that are predicted: latencies come from walks of their own, structure
from the counterfactual trace.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adadecode.engine import AdaDecoder, load_demo
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.profiling.plan import make_plan
from adadecode.engine.profiling.recorder import record_plan
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.paths import ROOT

RECORDED = sorted((ROOT / "profiles" / "recorded").iterdir())


@pytest.fixture(scope="module", params=RECORDED, ids=lambda path: path.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    return read_profile(request.param)


@pytest.fixture(scope="module")
def comparison(profile: Profile) -> Validation:
    return validate(profile)


def test_the_recording_is_large_enough_to_judge(profile: Profile, comparison: Validation) -> None:
    """It has at least 12 designs on 12 prompts, unless it is the base of a load."""
    if "load" in profile.manifest:
        pytest.skip("its loads are judged, in test_recorded_load")
    assert comparison.cells["design"].nunique() >= 12
    assert comparison.cells["prompt"].nunique() >= 12


def test_structure_is_exact(comparison: Validation) -> None:
    """T0.

    Every round of every run is replayed exactly, save near-ties with gamma in under 2 % of the
    runs, each of them named.
    """
    structure = comparison.to_dict()["structure"]
    assert comparison.failing == ()
    assert structure["exact"] + structure["explained"] == structure["runs"]
    assert structure["explained"] < 0.02 * structure["runs"]


def test_replay_of_measured_durations(comparison: Validation) -> None:
    """T1: measured durations in, run time out, within 1 % in the median."""
    error = comparison.to_dict()["replay_error"]["median"]
    assert error is not None
    assert error <= 0.01


def test_prediction_of_other_runs(comparison: Validation) -> None:
    """T2.

    Run time within 5 % and speedup within 3 % in the median, from latencies disjoint from the runs.
    """
    if not comparison.trust.trusted:
        pytest.skip(f"this recording judges no prediction: {' '.join(comparison.trust.reasons)}")
    document = comparison.to_dict()
    assert document["prediction_error"]["median"] <= 0.05
    assert document["speedup_error"]["median"] <= 0.03


def test_a_live_run_has_the_structure_that_its_trace_predicts(tmp_path: Path) -> None:
    """T0 on a recording of the demo model made by this very test.

    Right and wrong drafts included.
    """
    torch.set_num_threads(1)
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    options = RecordingOptions(
        limit=1,
        max_new_tokens=48,
        repeats=1,
        walks=(8,),
        placements=((2,), (4, 9)),
        gammas=(0.3, 0.8),
        branch_floor=0.9,
    )
    source = ModelSource(demo=True, model="demo", heads="demo")
    comparison = validate(
        record_plan(
            decoder,
            make_plan(decoder, demo.tokenizer, demo.examples, options, source=source),
            tmp_path / "live",
            resume=False,
        )
    )
    structure = comparison.to_dict()["structure"]
    assert comparison.failing == ()
    assert structure["exact"] + structure["explained"] == structure["runs"] == 4 * (1 + 2 * 2 + 1)
    assert structure["explained"] <= 1
