"""The limits of a design that asks gates: what they may take, and what they could give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adadecode.profiles import Profile, Trace
from adadecode.sim.cli.limits import limits_dict
from adadecode.sim.core.design import Design
from adadecode.sim.limits.analysis import find_limits
from adadecode.sim.limits.neighbours import neighbours
from adadecode.sim.limits.perturbation import with_ideal_gates
from adadecode.sim.limits.time_breakdown import Billing
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.prediction.scenario import find_scenario
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.gated import GATED, PLAIN, gated_profile
from tests.support.scaled_latency import ScaledLatency


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return gated_profile(tmp_path_factory.mktemp("limits") / "p")


def test_gates_have_a_break_even_of_their_own(profile: Profile) -> None:
    """A gate so many times as dear as told makes the design as fast as vanilla."""
    scenario = find_scenario(profile)
    told = limits_dict(find_limits(scenario, GATED, scenario.trace.prompts))
    cost = {row["kind"]: row for row in told["cost"]}["gates"]
    assert cost["vanilla"] == 0 < cost["seconds"]
    assert cost["factor"] is not None
    dear = ScaledLatency(table=profile.latency_table, factors={"gates": cost["factor"]})
    dear_speedup = Predictor(trace=scenario.trace, latency=dear).predict(GATED).speedup
    assert dear_speedup == pytest.approx(1, abs=0.02)
    assert told["ideal_gates"] > told["speedup"]
    assert "gates" in {row["assumption"] for row in told["sensitivity"]["rows"]}


def test_no_gate_damps_the_worst_cases(profile: Profile) -> None:
    """Gates that let every head be asked, and what they take on top of the same heads without."""
    scenario = find_scenario(profile)
    gated, plain = (
        find_limits(scenario, design, scenario.trace.prompts).worst for design in (GATED, PLAIN)
    )
    assert gated.discarded > plain.discarded
    assert gated.in_vain is not None
    assert plain.in_vain is not None
    assert gated.in_vain > plain.in_vain


def test_a_design_without_gates_has_the_limits_it_had(profile: Profile) -> None:
    scenario = find_scenario(profile)
    told = limits_dict(find_limits(scenario, PLAIN, scenario.trace.prompts))
    assert "ideal_gates" not in told
    assert "gates" not in {row["kind"] for row in told["cost"]}


def test_ideal_gates_reject_nothing_and_ask_no_head_in_vain(profile: Profile) -> None:
    """Every check drafts, and every draft holds."""
    replay = CompiledReplay.of(Trace.from_profile(profile))
    for gate in (0.2, 0.9):
        design = replace(GATED, gates=(gate, gate))
        ideal = with_ideal_gates(replay, design)
        bill = Billing.of(ideal, ideal.prompts, profile.latency_table, design.cap + 1).bill(
            [design]
        )
        drafts, accepted = (int(bill.work.tally(name)[1]) for name in ("drafts", "accepted"))
        assert drafts == accepted > 0
        assert int(bill.work.total(1)[1]) == drafts


def test_neighbours_keep_their_gates() -> None:
    """A head that is added has the gate threshold of the nearest."""
    found = {design.label for design in neighbours(GATED, (2, 4, 6))}
    assert "adadecode 2 gamma 0.5 gate 0.4" in found
    assert "adadecode 2/4/6 gamma 0.5 gate 0.4/0.4/0.2" in found
    assert all(design.gates for design in neighbours(GATED, (2, 4, 6)))
    assert not any(design.gates for design in neighbours(Design.of(placement=(2,)), (2, 4)))
