"""The measured error of the branch model.

Every figure by hand on one small text, and which cells it is measured on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import adadecode.sim.prediction.branch_error
from adadecode.profiles.errors import DesignError, LatencyError
from adadecode.profiles.trace import HeadOutput, Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.prediction.branch_error import (
    BranchErrors,
    Withheld,
    branch_errors,
    rejecting_cells,
)
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.simulation import replay
from tests.support.handmade import DESIGNS, ConstantLatency, one_text, recorded_profile

TEXT = [10, 11, 12, 13, 14, 15]
ONE_HEAD = Design.of("adadecode", gamma=0.5, placement=(1,))
UNVERIFIED = Design.of("adadecode", gamma=0.5, placement=(1,), verify=False)
WRONG_AT_1 = {(1, 1): (0.9, 7)}
OWN = {(0, 1, (7,)): (0.1, 8)}  # after its wrong draft, prompt 0 is not sure and drafts no more
OTHER = {(1, 3, (5,)): (0.9, 9), (1, 3, (5, 9)): (0.2, 6)}  # elsewhere, one more draft follows


def two_prompts(
    branches: Mapping[tuple[int, int, tuple[int, ...]], HeadOutput],
    outputs: Mapping[tuple[int, int], HeadOutput] = WRONG_AT_1,
) -> Trace:
    """The text of prompt 0, and branches of several prompts on which both heads say the same."""
    return replace(
        one_text(TEXT, outputs),
        _branches={(*place, depth): what for place, what in branches.items() for depth in (1, 2)},
    )


def errors_of(trace: Trace, design: Design = ONE_HEAD) -> BranchErrors:
    return branch_errors(BranchModel(trace), ConstantLatency(), [(design, 0)])


def test_a_withheld_branch_is_not_recorded() -> None:
    """Nor is it any other prompt's; a depth without a head is still refused."""
    trace = two_prompts({**OWN, **OTHER})
    assert BranchModel(trace).recorded(0, 1, (7,), 1) == (0.1, 8)
    assert Withheld(trace).recorded(0, 1, (7,), 1) is None
    with pytest.raises(DesignError, match="no head at depth 9"):
        Withheld(trace).recorded(0, 1, (7,), 9)


def test_a_withheld_prompts_branches_are_not_drawn_either() -> None:
    """Each prompt gets rows of the other, as long ones where there are any."""
    withheld = Withheld(two_prompts({**OWN, **OTHER}))
    assert {withheld.branch(0, output, (7,)).heads[1] for output in range(40)} == {(0.9, 9)}
    assert {withheld.branch(0, output, (7, 7)).heads[1] for output in range(40)} == {(0.2, 6)}
    assert {withheld.branch(0, output, (7, 7, 7)).heads[1] for output in range(40)} == {
        (0.9, 9),
        (0.2, 6),
    }
    assert {withheld.branch(1, output, (7, 7)).heads[1] for output in range(40)} == {(0.1, 8)}


def test_withholding_a_branch_costs_a_draft_more() -> None:
    """Round 1 discards two drafts instead of one.

    It runs the first layer (1.1875 s) and a check (0.3125 s) once more.
    """
    trace = two_prompts({**OWN, **OTHER})
    (exact,) = replay(trace, ConstantLatency(), ONE_HEAD)
    (row,) = errors_of(trace).cells.to_dict("records")
    round_1 = 3 * (1.1875 + 0.3125) + 2.0625 + 0.5625
    checks = sum(len(r.checks) for r in exact.rounds)
    assert (row["design"], row["policy"], row["prompt"]) == (ONE_HEAD.label, "adadecode", 0)
    assert row["share"] == round_1 / (exact.seconds + 1.5)
    assert row["seconds_error"] == pytest.approx(1.5 / exact.seconds)
    assert row["speedup_error"] == pytest.approx(-1.5 / (exact.seconds + 1.5))
    assert row["discarded_error"] == 1
    assert row["checks_error"] == pytest.approx(1 / checks)


def test_branches_that_all_say_the_same_are_modelled_without_error() -> None:
    """The share is what it is, the errors are none."""
    (row,) = errors_of(two_prompts({**OWN, (1, 3, (5,)): (0.1, 8)})).cells.to_dict("records")
    assert row["share"] > 0
    assert (
        row["seconds_error"],
        row["speedup_error"],
        row["discarded_error"],
        row["checks_error"],
    ) == (0, 0, 0, 0)


def test_a_policy_that_drafts_blindly_does_not_err() -> None:
    """``fixed`` takes its drafts whatever the head's confidence."""
    (row,) = errors_of(
        two_prompts({**OWN, **OTHER}), Design.of("fixed", placement=(1,), cap=2)
    ).cells.to_dict("records")
    assert row["share"] > 0
    assert row["seconds_error"] == 0


def test_the_error_to_expect_is_the_share_times_the_error_per_share() -> None:
    """Twice the share, twice the error; none of no share, unknown where it was not measured."""
    errors = errors_of(two_prompts({**OWN, **OTHER}))
    (row,) = errors.cells.to_dict("records")
    assert errors.per_share(Policy.ADADECODE) == row["seconds_error"] / row["share"]
    assert errors.expected(ONE_HEAD, row["share"]) == pytest.approx(row["seconds_error"])
    assert errors.expected(ONE_HEAD, 2 * row["share"]) == pytest.approx(2 * row["seconds_error"])
    assert errors.expected(UNVERIFIED, 0) == 0
    assert errors.expected(UNVERIFIED, 0.1) is None
    assert errors.expected(Design.of("fixed", placement=(1,)), 0.1) is None


@pytest.mark.parametrize("branches", [{}, OWN, OTHER])
def test_nothing_is_measured_without_branches_to_compare(
    branches: Mapping[tuple[int, int, tuple[int, ...]], HeadOutput],
) -> None:
    """None at all, none of any other prompt to draw from.

    Or none of this one to be held against.
    """
    errors = errors_of(two_prompts(branches))
    document = json.loads(json.dumps(errors.to_dict(), allow_nan=False))
    assert (document["cells"], document["share"], document["policies"]) == (0, None, {})
    assert document["seconds_error"] == {"median": None, "p90": None}
    assert errors.expected(ONE_HEAD, 0.1) is None


def test_a_rejection_that_asks_nothing_off_the_text_is_no_cell() -> None:
    """With a cap of one, nothing is asked after the wrong draft."""
    assert not len(
        errors_of(
            two_prompts({**OWN, **OTHER}), Design.of("adadecode", gamma=0.5, placement=(1,), cap=1)
        ).cells
    )


def test_a_design_beyond_the_latencies_is_left_out() -> None:
    """A prediction must not fail over a design that nobody asked for."""

    class Short(ConstantLatency):
        def verify(self, n_tokens: int) -> float:
            raise LatencyError("too long")

    assert not len(
        branch_errors(BranchModel(two_prompts({**OWN, **OTHER})), Short(), [(ONE_HEAD, 0)]).cells
    )


def test_policies_are_told_apart() -> None:
    """All together, and each for itself with what to multiply a share with."""
    model = BranchModel(two_prompts({**OWN, **OTHER}))
    errors = branch_errors(
        model, ConstantLatency(), [(ONE_HEAD, 0), (Design.of("fixed", placement=(1,), cap=2), 0)]
    )
    document = errors.to_dict()
    assert (
        document["cells"],
        [document["policies"][name]["cells"] for name in ("adadecode", "fixed")],
    ) == (2, [1, 1])
    assert document["share"] == errors.cells["share"].mean()
    assert document["policies"]["fixed"]["error_per_share"] == 0
    assert document["policies"]["adadecode"]["error_per_share"] == errors.per_share(
        Policy.ADADECODE
    )
    assert document["policies"]["adadecode"]["discarded_error"] == {"median": 1, "p90": 1}


def test_errors_are_told_as_magnitudes() -> None:
    """The speedup is lower, the error above zero."""
    document = errors_of(two_prompts({**OWN, **OTHER})).to_dict()
    assert document["speedup_error"]["median"] > 0
    assert math.isclose(document["speedup_error"]["median"], document["speedup_error"]["p90"])


def test_cells_are_those_seen_to_reject(tmp_path: Path) -> None:
    """Verified, and with a draft discarded; vanilla discards none."""
    profile = recorded_profile(tmp_path / "profile")
    cells = rejecting_cells(profile)
    assert {design for design, _ in cells} == {DESIGNS[1]}
    rounds = profile.rounds[profile.rounds["verify"]]
    assert {prompt for _, prompt in cells} == set(
        rounds["prompt"][rounds["exits"].map(len) > rounds["accepted"]]
    )


def test_many_cells_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sample is drawn every time."""
    profile = recorded_profile(tmp_path / "profile")
    every = rejecting_cells(profile)
    monkeypatch.setattr(adadecode.sim.prediction.branch_error, "MOST_CELLS", 1)
    assert len(every) == 2
    assert len(rejecting_cells(profile)) == 1
    assert set(rejecting_cells(profile)) < set(every)
    assert rejecting_cells(profile) == rejecting_cells(profile)


def test_a_profile_without_runs_has_no_cells(tmp_path: Path) -> None:
    """There is nothing to compare with."""
    assert rejecting_cells(recorded_profile(tmp_path / "profile", designs=[])) == ()
