"""Which stages fit into which call."""

from __future__ import annotations

import pytest

from scripts.gpu_run import cli, estimates, planner, stages
from scripts.gpu_run.estimates import PAPER, Size, recording_s
from scripts.gpu_run.runner import BUDGET_MINUTES, GRACE_S, MINUTES, PACKING_S, START_S


def limits(**changes: float) -> planner.CallLimits:
    usual = {
        "call_s": 60 * MINUTES,
        "kept_s": PACKING_S + GRACE_S,
        "budget_s": 60 * BUDGET_MINUTES,
        "start_s": START_S,
    }
    return planner.CallLimits(**{**usual, **changes})


def test_the_usual_minutes_hold_two_calls_with_the_most_valuable_stages() -> None:
    """What the recordings depend on comes first, and the starts are within the minutes."""
    calls, unplanned = planner.plan_calls(limits())
    assert calls == [
        ["setup", "device", "lossless", "graphs", "pack"],
        ["setup", "paper", "baselines", "demo", "pack"],
    ]
    seconds = [
        sum(stages.STAGES[name].seconds for name in call) + PACKING_S + GRACE_S for call in calls
    ]
    assert max(seconds) <= 60 * MINUTES < 600
    assert sum(seconds) + 2 * START_S <= 900
    assert sorted([*unplanned, *(name for call in calls for name in call)]) == sorted(
        [*stages.STAGES, *stages.STAGES_OF_EVERY_CALL]
    )


def test_a_longer_run_holds_every_stage_once_and_in_order() -> None:
    calls, unplanned = planner.plan_calls(limits(budget_s=3600))
    assert unplanned == []
    always = stages.STAGES_OF_EVERY_CALL
    planned = [name for call in calls for name in call if name not in always]
    assert planned == [name for name in stages.STAGES if name not in always]


def test_a_stage_longer_than_a_call_is_planned_into_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A later, shorter stage still is."""
    arguments = ["--plan", "--minutes", "2.5", "--budget", "3.5"]
    assert cli.main([*arguments, "--stage", "device,graphs,validate"]) == 0
    _, call, estimate, rest = capsys.readouterr().out.splitlines()
    assert call.startswith("call 1: --stage device,validate --minutes 2 ")
    assert estimate.startswith("  device 25, validate 40; ")
    assert rest.startswith("not in these minutes: graphs ")
    assert rest.endswith("(longer than a call)")


def test_an_estimate_is_what_is_decoded_at_the_time_to_read_the_weights() -> None:
    """One more repeat of every design costs its tokens, and nothing else."""
    more = Size(**{**vars(PAPER), "repeats": PAPER.repeats + 1})
    tokens = PAPER.prompts * PAPER.domains * PAPER.tokens * PAPER.designs
    assert PAPER.designs == 6
    rise = recording_s(more, "llama-3.1-8b") - recording_s(PAPER, "llama-3.1-8b")
    bandwidth = estimates.BANDWIDTH_SHARE * 4.8e12
    assert rise == pytest.approx(tokens * 16.06e9 / bandwidth, rel=1e-3)
    assert bandwidth == pytest.approx(0.7 * 4.8e12)
