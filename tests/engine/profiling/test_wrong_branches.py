"""Wrong branches: those that designs went down are found without running the designs again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.profiling.branch_trace import wrong_exits
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.profiling.timed_runs import columns, round_columns
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Outcome, Round, Verdict, Verify, Work
from tests.support.models import random_prompt, tiny_model

PROMPT = random_prompt(6)
N_NEW = 24
ALL = (1, 2, 3, 4, 5)
DESIGNS = [
    Design.of(Policy.VANILLA),
    Design.of(Policy.FIXED, placement=(2,), cap=3),
    Design.of(Policy.FIXED, placement=(5,), cap=5),
    *(
        Design.of(Policy.ADADECODE, gamma=gamma, placement=placement, cap=5)
        for gamma in (0.0, 0.02, 0.03)
        for placement in ((1,), (2, 4), (3, 5))
    ),
    Design.of(Policy.ADADECODE, gamma=0.0, placement=(3,), cap=2, verify=False),
]


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama", torch.float64)
    made = AdaDecoder(model, ExitHeads.identity(model, ALL))
    with torch.inference_mode():
        made.parts.allocate(PROMPT.shape[1] + N_NEW + 4)
    return made


def run(decoder: AdaDecoder, design: Design) -> tuple[list[Round], set[Any]]:
    """The rounds of a run, and the wrong drafts that it was seen to take."""
    seen = set()

    def watch(work: Work, outcome: Outcome) -> None:
        if isinstance(work, Verify) and isinstance(outcome, Verdict):
            wrong = work.drafts[outcome.accepted :]
            if wrong:
                seen.add((work.start - PROMPT.shape[1] + 1 + outcome.accepted, wrong))

    decoding = decoder.start(PROMPT, design, max_new_tokens=N_NEW)
    with decoder.parts.session():
        for _ in decoding.steps(watch):
            pass
    return decoding.schedule.rounds, seen


def recorded(decoder: AdaDecoder, rounds: list[Any], floor: float) -> list[dict[str, Any]]:
    with decoder.parts.session():
        text, trace = Counterfactual(decoder).trace(tuple(PROMPT[0].tolist()), N_NEW)
        return list(
            Counterfactual(decoder).branches(
                text,
                trace,
                wrong_exits(rounds, PROMPT.shape[1]),
                floor=floor,
                longest=4,
                room=PROMPT.shape[1] + N_NEW,
            )
        )


@pytest.fixture(scope="module")
def all_runs(decoder: AdaDecoder) -> tuple[list[Any], set[Any]]:
    """The rounds of all designs as a recording holds them, and wrong drafts of verified ones."""
    rows, seen = [], set()
    for design in DESIGNS:
        rounds, wrong = run(decoder, design)
        rows += [{**columns(design), **round_columns(n, one)} for n, one in enumerate(rounds)]
        seen |= wrong if design.verify else set()
    assert max(len(path) for _, path in seen) > 2
    return rows, seen


def prefixes(branches: set[Any]) -> Iterator[Any]:
    for output, path in branches:
        yield from ((output, path[:n]) for n in range(1, len(path) + 1))


def test_each_branch_that_a_design_went_down_is_recorded(
    decoder: AdaDecoder, all_runs: tuple[list[Any], set[Any]]
) -> None:
    """And at this floor no other: as many as the runs were seen to take, but the longest."""
    rows, seen = all_runs
    found = recorded(decoder, rows, floor=1.0)
    held = {(row["output"], tuple(row["path"])) for row in found}
    assert held == {one for one in prefixes(seen) if len(one[1]) <= 4}


def test_likely_branches_are_recorded_beside_them(
    decoder: AdaDecoder, all_runs: tuple[list[Any], set[Any]]
) -> None:
    """The rows of the others are the same."""
    rows, _ = all_runs
    few, many, likely = (
        {(row["output"], tuple(row["path"]), row["depth"]): repr(row) for row in found}
        for found in (
            recorded(decoder, rows, floor=1.0),
            recorded(decoder, rows, floor=0.02),
            recorded(decoder, [], floor=0.02),
        )
    )
    assert few.items() <= many.items()
    assert likely.items() <= many.items()
    assert len(likely) < len(many)


def test_a_run_that_called_a_right_draft_wrong_leads_nowhere(decoder: AdaDecoder) -> None:
    """As one that flipped a token in 16 bits."""
    with decoder.parts.session():
        text, trace = Counterfactual(decoder).trace(tuple(PROMPT[0].tolist()), N_NEW)
        right = next(row for row in trace if row["agrees"] and row["depth"] in ALL)
        found = Counterfactual(decoder).branches(
            text,
            trace,
            {(right["output"], (right["depth"], 1))},
            floor=1.0,
            longest=4,
            room=PROMPT.shape[1] + N_NEW,
        )
        assert list(found) == []
