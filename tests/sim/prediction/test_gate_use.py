"""What gates save and miss: counted by hand, and the same in the account of a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import Profile, Trace
from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Gate
from adadecode.sim.hardware.gate_latency import EMBEDDINGS
from adadecode.sim.prediction.gate_use import gate_use
from adadecode.sim.prediction.scenario import ScenarioOptions, find_scenario
from adadecode.sim.prediction.token_account import token_account
from adadecode.sim.replay.simulation import replay
from tests.support.gated import GATED, PLAIN, gated_profile
from tests.support.handmade import ConstantLatency, one_text, recorded_profile
from tests.support.recordings import on_a100
from tests.support.sim_command import run, run_json

TEXT = [10, 11, 12, 13, 14, 15]
END = 2


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return gated_profile(tmp_path_factory.mktemp("use") / "p")


def test_counts_by_hand() -> None:
    """One head: a good exit found, one missed, a check saved for nothing, and one in vain."""
    trace = one_text(
        TEXT,
        {(1, 1): (0.9, 11), (2, 1): (0.9, 12), (3, 1): (0.1, 13), (4, 1): (0.1, 14)},
        gates={(1, 1): 0.8, (2, 1): 0.2, (3, 1): 0.1, (4, 1): 0.7},
    )
    design = Design.of(gamma=0.5, placement=(1,), gate=0.5)
    runs = replay(trace, ConstantLatency(), design, events=True)
    use = gate_use(trace, design, runs)
    assert (use.asked, use.saved, use.missed, use.found, use.recall) == (4, 2, 1, 1, 0.5)
    assert sum(len(r.checks) for run in runs for r in run.rounds) == 2
    assert runs[0].seconds == pytest.approx(
        sum(event.seconds for event in runs[0].events), abs=1e-12
    )
    gates = [event.seconds for event in runs[0].events if isinstance(event.work, Gate)]
    assert gates == [0.03125 + 0.0625] * 4


def test_an_end_that_is_verified_is_no_good_exit() -> None:
    """A head that rightly ends the text drafts nothing there, so that no exit was found or missed.

    Unverified it does, and so it does in `with_ideal_gates`.
    """
    heads = {(1, 1): (0.9, 11), (2, 1): (0.9, END), (3, 1): (0.1, 13)}
    for score, asked in ((0.8, "found"), (0.2, "missed")):
        trace = one_text(
            [10, 11, END], heads, gates={(1, 1): 0.8, (2, 1): score}, eos=frozenset({END})
        )
        counted = {}
        for verify in (True, False):
            design = Design.of(gamma=0.5, placement=(1,), gate=0.5, verify=verify)
            runs = replay(trace, ConstantLatency(), design, events=True)
            counted[verify] = gate_use(trace, design, runs)
        assert (counted[True].found, counted[True].missed, counted[True].recall) == (1, 0, 1.0)
        assert getattr(counted[False], asked) == (2 if asked == "found" else 1)


def test_nothing_is_good_once_a_run_without_verification_has_left_the_text() -> None:
    heads = {(1, 1): (0.9, 7), (2, 1): (0.9, 12), (3, 1): (0.9, 13), (4, 1): (0.9, 14)}
    trace = one_text(TEXT, heads, gates=dict.fromkeys(heads, 0.8))
    design = Design.of(gamma=0.5, placement=(1,), gate=0.5, verify=False)
    runs = replay(trace, ConstantLatency(), design, events=True)
    assert runs[0].left_text
    use = gate_use(trace, design, runs)
    assert use.asked > 1
    assert (use.found, use.missed, use.recall) == (0, 0, None)


def test_a_gate_off_the_text_draws_the_same_row_as_its_head() -> None:
    """After a wrong draft score and confidence come from one recorded branch."""
    branches = {(3, (9,), 1): (0.9, 50), (3, (9,), 2): (0.1, 51)}
    wrong = {(1, 1): (0.9, 7)}
    design = Design.of(gamma=0.5, placement=(1,), gate=0.5)

    def drafts(score: float) -> int:
        trace = one_text(
            TEXT, wrong, branches, gates={(1, 1): 0.8}, branch_gates={(3, (9,), 1): score}
        )
        return sum(len(r.exits) for r in replay(trace, ConstantLatency(), design)[0].rounds[:1])

    assert drafts(0.9) > drafts(0.3) == 1


def test_the_account_tells_of_gates(profile: Profile) -> None:
    """Their FLOPs and bytes apart, and what they saved; nothing of it without gates."""
    told = token_account(profile, lambda _: GATED).to_json()
    assert told["gates"]["asked"] > told["gates"]["saved"] > 0
    assert 0 < told["flops_per_token"]["gates"] < told["flops_per_token"]["heads"]
    parts = told["bytes_per_token"]
    assert parts["total"] == pytest.approx(
        sum(amount for part, amount in parts.items() if part not in ("total", "wasted"))
    )
    plain = token_account(profile, lambda _: PLAIN).to_json()
    assert "gates" not in plain
    assert not [part for part in plain["flops_per_token"] if part.startswith("gates")]
    assert plain["flops_per_token"]["heads"] > told["flops_per_token"]["heads"]


def test_a_prediction_tells_of_gates(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("predict", profile.path, "--heads", "2,6", "--gamma", "0.5")
    gated = run_json(capsys, *arguments, "--gate", "0.4,0.2", "--json")
    plain = run_json(capsys, *arguments, "--json")
    assert gated["design"]["label"] == GATED.label
    assert gated["design"]["gates"] == [0.4, 0.2]
    assert gated["gates_asked"] > 0
    assert gated["checks"] < plain["checks"]
    assert set(gated) - set(plain) == {"gates_asked"}
    assert set(gated["design"]) - set(plain["design"]) == {"gates"}
    assert run(*arguments, "--gate", "0.4,0.2") == 0
    assert "questions to gates" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (ScenarioOptions(), None),
        (ScenarioOptions(device="h100-sxm"), None),
    ],
)
def test_measured_gates_are_priced_or_carried(
    profile: Profile, options: ScenarioOptions, note: str | None
) -> None:
    scenario = find_scenario(profile, options)
    assert scenario.latencies.middle.gate_depths == profile.depths
    assert not [one for one in scenario.notes if one.startswith("gates:")]


def test_gates_that_were_not_timed_are_estimated_and_said_so(
    profile: Profile, tmp_path: Path
) -> None:
    """On the machine by embeddings, elsewhere from bytes and kernels; from a datasheet too."""
    timed = recorded_profile(tmp_path / "timed", prompts=4)
    scenario = find_scenario(timed, trace=profile)
    table = scenario.latencies.middle
    assert table.gate(4) == pytest.approx(EMBEDDINGS * table.embed(1))
    assert [
        note for note in scenario.notes if note.startswith("gates: not measured, each is taken")
    ]
    sheet = find_scenario(None, ScenarioOptions(device="h100-sxm"), trace=profile)
    gate = sheet.latencies.middle.gate(4)
    assert 0 < gate < 0.2 * sheet.latencies.middle.head(4, 8)
    assert find_scenario(timed).latencies.middle.gate_depths == ()


def test_gates_are_refused_where_there_are_none(tmp_path: Path) -> None:
    plain = on_a100(tmp_path / "p")
    with pytest.raises(DesignError, match="no gates in this recording"):
        token_account(plain, lambda _: GATED)
    assert run("predict", plain.path, "--gate", "0.3") == 2
    assert Trace.from_profile(plain).has_gates is False
