"""The algorithm: schedules computed by hand, and properties that hold for every design and every
text.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import (
    Check,
    Draft,
    Gate,
    Outcome,
    Round,
    Run,
    Schedule,
    Score,
    Verdict,
    Verify,
    Work,
)
from tests.support.hash_model import FIRST, N_PROMPT, ToyModel, designs, drive, vanilla_text
from tests.support.property_tests import examples


def scripted(
    heads: dict[tuple[int, int], tuple[float, int]],
    final: dict[int, int],
    gates: dict[tuple[int, int], float] | None = None,
) -> Callable[[Work], Outcome]:
    """Heads answer from (depth, position), unsure where not listed, and so do gates; the last
    layer's token after each position is in ``final``.
    """

    def answer(work: Work) -> Outcome:
        match work:
            case Gate(depth, position):
                return Score((gates or {}).get((depth, position), 0.0))
            case Check(depth, position):
                return Draft(*heads.get((depth, position), (0.0, -1)))
            case Verify(start, _, drafts):
                accepted = 0
                while accepted < len(drafts) and drafts[accepted] == final[start + accepted]:
                    accepted += 1
                return Verdict(accepted, final[start + accepted])
            case _:
                return None

    return answer


def adadecode(
    placement: tuple[int, ...],
    gamma: float = 0.5,
    *,
    cap: int = 5,
    verify: bool = True,
    gate: float | tuple[float, ...] = 0.0,
) -> Design:
    return Design.of(
        "adadecode", gamma=gamma, placement=placement, cap=cap, verify=verify, gate=gate
    )


def schedule_of(
    design: Design, *, n_layers: int = 3, max_new_tokens: int = 4, eos: frozenset[int] = frozenset()
) -> Schedule:
    return Schedule(
        design=design,
        n_layers=n_layers,
        n_prompt=N_PROMPT,
        first_token=FIRST,
        max_new_tokens=max_new_tokens,
        eos=eos,
    )


# ---- schedules computed by hand ----


def test_the_papers_figure_2() -> None:
    """L = 3, heads at 1 and 2: t1 exits at depth 2, t2 at depth 1, t3 nowhere."""
    schedule = schedule_of(adadecode((1, 2)), max_new_tokens=99, eos=frozenset({103}))
    handed = drive(
        schedule, scripted({(2, 4): (0.9, 101), (1, 5): (0.9, 102)}, {4: 101, 5: 102, 6: 103})
    )
    assert handed == [
        Run(0, 4, 5),
        Check(1, 4),
        Run(1, 4, 5),
        Check(2, 4),  # t1 exits
        Run(0, 5, 6),
        Check(1, 5),  # t2 exits
        Run(0, 6, 7),
        Check(1, 6),
        Run(1, 5, 7),  # t2 catches up with t3
        Check(2, 6),
        Run(2, 4, 7),  # all three
        Verify(4, 7, (101, 102)),
    ]
    assert schedule.tokens == [100, 101, 102, 103]
    assert schedule.rounds == [
        Round(
            start=4,
            exits=(2, 1),
            accepted=2,
            committed=3,
            work=((0, 1), (1, 1), (0, 1), (0, 1), (1, 2), (2, 3)),
            checks=(1, 2, 1, 1, 2),
        )
    ]


def test_a_round_costs_the_sum_of_its_exits_plus_all_layers() -> None:
    """Layer passes of figure 2's round: e1 + e2 + L = 2 + 1 + 3, a batch counted once."""
    schedule = schedule_of(adadecode((1, 2)), max_new_tokens=99, eos=frozenset({103}))
    drive(schedule, scripted({(2, 4): (0.9, 101), (1, 5): (0.9, 102)}, {4: 101, 5: 102, 6: 103}))
    b = schedule.boundaries
    assert sum(b[s + 1] - b[s] for s, _ in schedule.rounds[0].work) == 2 + 1 + 3


def test_a_waiting_list_is_appended_to() -> None:
    """Three tokens that exit at depth 1 in a row all wait there, and run layer 2 together with the
    fourth.
    """
    schedule = schedule_of(adadecode((1,)), n_layers=2, max_new_tokens=5)
    handed = drive(
        schedule,
        scripted({(1, p): (0.9, p + 97) for p in (4, 5, 6)}, {p: p + 97 for p in range(4, 9)}),
    )
    assert [w for w in handed if isinstance(w, Run) and w.segment == 1] == [Run(1, 4, 8)]


def test_a_rejection_drops_everything_after_it_and_rolls_back() -> None:
    """Of two drafts the first is wrong: one token is gained, and both later positions are computed
    again.
    """
    schedule = schedule_of(adadecode((1,)), n_layers=2, max_new_tokens=3)
    handed = drive(schedule, scripted({(1, 4): (0.9, 7)}, {4: 101, 5: 102}))
    assert handed == [
        Run(0, 4, 5),
        Check(1, 4),
        Run(0, 5, 6),
        Run(1, 4, 6),
        Verify(4, 6, (7,)),
        Run(0, 5, 6),  # position 5 now holds 101, not 7
        Run(1, 5, 6),
        Verify(5, 6, ()),
    ]
    assert schedule.tokens == [100, 101, 102]
    assert [(r.start, r.exits, r.accepted, r.committed) for r in schedule.rounds] == [
        (4, (1,), 0, 1),
        (5, (), 0, 1),
    ]


def test_a_rejection_in_the_middle_keeps_what_held() -> None:
    """Drafts right, wrong, (anything): the first is kept, the last layer's token replaces the
    second, the third is dropped.
    """
    schedule = schedule_of(adadecode((1,)), n_layers=2, max_new_tokens=6)
    heads = {(1, 4): (0.9, 101), (1, 5): (0.9, 7), (1, 6): (0.9, 103)}
    drive(schedule, scripted(heads, {p: p + 97 for p in range(4, 12)}))
    assert schedule.rounds[0] == Round(
        start=4,
        exits=(1, 1, 1),
        accepted=1,
        committed=2,
        work=((0, 1), (0, 1), (0, 1), (0, 1), (1, 4)),
        checks=(1, 1, 1, 1),
    )
    assert schedule.rounds[1].start == 6
    assert schedule.tokens == [100, 101, 102, 103, 104, 105]


def test_the_cap_ends_a_round() -> None:
    """With a cap of 2 the third token is not tested and runs through."""
    schedule = schedule_of(adadecode((1,), cap=2), n_layers=2, max_new_tokens=7)
    always = {(1, p): (0.9, p + 97) for p in range(4, 12)}
    drive(schedule, scripted(always, {p: p + 97 for p in range(4, 12)}))
    assert [(r.exits, r.committed, r.checks) for r in schedule.rounds] == [
        ((1, 1), 3, (1, 1)),
        ((1, 1), 3, (1, 1)),
    ]


def test_gamma_zero_still_verifies_at_the_cap() -> None:
    """Gamma 0 drafts at the first head every time; the default cap of 5 ends the round with six
    tokens.
    """
    schedule = schedule_of(adadecode((1,), 0.0), n_layers=2, max_new_tokens=7)
    always = {(1, p): (0.01, p + 97) for p in range(4, 12)}
    drive(schedule, scripted(always, {p: p + 97 for p in range(4, 12)}))
    assert [(r.exits, r.committed) for r in schedule.rounds] == [((1,) * 5, 6)]


def test_a_confidence_equal_to_gamma_does_not_draft() -> None:
    """A draft must exceed its threshold."""
    schedule = schedule_of(adadecode((1,), 0.5), n_layers=2, max_new_tokens=3)
    drive(schedule, scripted({(1, 4): (0.5, 101)}, {4: 101, 5: 102}))
    assert schedule.rounds[0].exits == ()


def test_each_head_has_its_own_gamma() -> None:
    """0.6 passes the first head's 0.5 and fails the second's 0.7."""
    design = Design.of("adadecode", gamma=[0.5, 0.7], placement=(1, 2))
    schedule = schedule_of(design, max_new_tokens=4)
    drive(
        schedule,
        scripted(
            {(2, 4): (0.6, 101), (1, 5): (0.6, 102), (1, 4): (0.5, 101)}, {4: 101, 5: 102, 6: 103}
        ),
    )
    assert [r.exits for r in schedule.rounds] == [(), (1,)]


def test_an_eos_draft_is_not_taken() -> None:
    """A head sure of the end does not exit: the token runs on, and the last layer ends the text."""
    schedule = schedule_of(adadecode((1,)), n_layers=2, max_new_tokens=9, eos=frozenset({0}))
    handed = drive(schedule, scripted({(1, 4): (0.9, 0)}, {4: 0}))
    assert handed == [Run(0, 4, 5), Check(1, 4), Run(1, 4, 5), Verify(4, 5, ())]
    assert schedule.tokens == [100, 0]


def test_a_wrong_eos_draft_does_not_end_the_text() -> None:
    """Where the head says the end and the last layer says 101, 101 it is."""
    schedule = schedule_of(adadecode((1,)), n_layers=2, max_new_tokens=3, eos=frozenset({0}))
    drive(schedule, scripted({(1, 4): (0.9, 0)}, {4: 101, 5: 0}))
    assert schedule.tokens == [100, 101, 0]


def test_an_unverified_eos_draft_ends_the_text() -> None:
    """Without verification a drafted end is the end, and the last layer never runs."""
    schedule = schedule_of(
        adadecode((1,), verify=False), n_layers=2, max_new_tokens=9, eos=frozenset({0})
    )
    handed = drive(schedule, scripted({(1, 4): (0.9, 0)}, {}))
    assert handed == [Run(0, 4, 5), Check(1, 4)]
    assert schedule.tokens == [100, 0]
    assert schedule.rounds[0].committed == 1


def test_the_budget_leaves_a_token_for_the_last_layer() -> None:
    """With two tokens left one draft is of use; with one left none is."""
    schedule = schedule_of(adadecode((1,)), n_layers=2, max_new_tokens=3)
    always = {(1, p): (0.9, p + 97) for p in range(4, 12)}
    drive(schedule, scripted(always, {p: p + 97 for p in range(4, 12)}))
    assert [r.exits for r in schedule.rounds] == [(1,)]
    assert schedule.tokens == [100, 101, 102]


def test_a_budget_of_one_does_nothing() -> None:
    """The prefill has already spent it."""
    schedule = schedule_of(adadecode((1,)), max_new_tokens=1)
    assert drive(schedule, scripted({}, {})) == []


def test_a_first_token_that_ends_the_text_does_nothing() -> None:
    """The prefill may predict the end."""
    schedule = schedule_of(adadecode((1,)), eos=frozenset({FIRST}))
    assert drive(schedule, scripted({}, {})) == []


def test_vanilla_runs_the_stack_for_each_token() -> None:
    """One segment, no checks, one verify a token."""
    schedule = schedule_of(Design.of("vanilla"), max_new_tokens=3)
    assert drive(schedule, scripted({}, {4: 101, 5: 102})) == [
        Run(0, 4, 5),
        Verify(4, 5, ()),
        Run(0, 5, 6),
        Verify(5, 6, ()),
    ]


def test_an_empty_placement_is_vanilla() -> None:
    """AdaDecode without heads does vanilla's work."""
    script = scripted({}, {4: 101, 5: 102, 6: 103})
    assert drive(schedule_of(adadecode(())), script) == drive(
        schedule_of(Design.of("vanilla")), script
    )


def test_gamma_one_is_vanilla() -> None:
    """No probability exceeds 1, so no head is tested and the work is vanilla's."""
    script = scripted({(1, p): (1.0, 7) for p in range(4, 9)}, {4: 101, 5: 102, 6: 103})
    assert drive(schedule_of(adadecode((1, 2), 1.0)), script) == drive(
        schedule_of(Design.of("vanilla")), script
    )


def test_a_gate_decides_whether_its_head_is_asked() -> None:
    """L = 3, heads at 1 and 2: at t1 the gate at 1 is shut and the one at 2 open; at t2 the gate at
    1 opens to a head that is unsure, and the one at 2 stays shut.
    """
    schedule = schedule_of(adadecode((1, 2), gate=(0.3, 0.2)), max_new_tokens=4)
    handed = drive(
        schedule,
        scripted(
            {(2, 4): (0.9, 101), (2, 5): (0.9, 102)},
            {4: 101, 5: 102, 6: 103},
            {(1, 4): 0.3, (2, 4): 0.21, (1, 5): 0.31, (2, 5): 0.2},
        ),
    )
    assert handed[:10] == [
        Run(0, 4, 5),
        Gate(1, 4),
        Run(1, 4, 5),
        Gate(2, 4),
        Check(2, 4),
        Run(0, 5, 6),
        Gate(1, 5),
        Check(1, 5),
        Run(1, 5, 6),
        Gate(2, 5),
    ]
    assert schedule.rounds[0] == Round(
        start=4,
        exits=(2,),
        accepted=1,
        committed=2,
        work=((0, 1), (1, 1), (0, 1), (1, 1), (2, 2)),
        checks=(2, 1),
        gates=(1, 2, 1, 2),
    )
    assert schedule.tokens == [FIRST, 101, 102, 103]


def test_a_gate_at_1_is_its_head_left_out() -> None:
    """No score exceeds 1, so that head splits nothing: the work is that of the other head alone."""
    script = scripted(
        {(d, p): (0.9, 97 + p) for d in (1, 2) for p in range(4, 9)},
        {p: 97 + p for p in range(4, 9)},
        {(d, p): 1.0 for d in (1, 2) for p in range(4, 9)},
    )
    gated, alone = (
        schedule_of(adadecode((1, 2), gate=(1.0, 0.0)), max_new_tokens=6),
        schedule_of(adadecode((2,)), max_new_tokens=6),
    )
    assert drive(gated, script) == drive(alone, script)
    assert gated.rounds == alone.rounds


def test_no_gate_is_asked_where_nothing_could_be_drafted() -> None:
    """At the cap, and where the budget leaves one token to the last layer."""
    script = scripted({(1, 4): (0.9, 101)}, {4: 101, 5: 102}, {(1, 4): 0.9, (1, 5): 0.9})
    schedule = schedule_of(adadecode((1,), cap=1, gate=0.5), max_new_tokens=3)
    handed = drive(schedule, script)
    assert [work for work in handed if isinstance(work, Gate)] == [Gate(1, 4)]


def test_fixed_drafts_cap_tokens_however_unsure() -> None:
    """LayerSkip-style: cap drafts from the one exit, then one pass over all of them."""
    schedule = schedule_of(Design.of("fixed", placement=(1,), cap=2), max_new_tokens=4)
    handed = drive(
        schedule, scripted({(1, 4): (0.0, 101), (1, 5): (0.0, 102)}, {4: 101, 5: 102, 6: 103})
    )
    assert handed == [
        Run(0, 4, 5),
        Check(1, 4),
        Run(0, 5, 6),
        Check(1, 5),
        Run(0, 6, 7),
        Run(1, 4, 7),
        Verify(4, 7, (101, 102)),
    ]


def test_unverified_drafts_are_kept_and_only_the_last_token_is_asked() -> None:
    """Without verification the wrong draft 7 stays in the text."""
    schedule = schedule_of(adadecode((1,), verify=False), n_layers=2, max_new_tokens=3)
    handed = drive(schedule, scripted({(1, 4): (0.9, 7)}, {5: 102}))
    assert handed == [
        Run(0, 4, 5),
        Check(1, 4),
        Run(0, 5, 6),
        Check(1, 5),
        Run(1, 4, 6),
        Verify(5, 6, ()),
    ]
    assert schedule.tokens == [100, 7, 102]


def test_an_unverified_budget_may_end_on_a_draft() -> None:
    """The last token allowed is drafted, and nothing is left for the last layer to do."""
    schedule = schedule_of(adadecode((1,), verify=False), n_layers=2, max_new_tokens=2)
    assert drive(schedule, scripted({(1, 4): (0.9, 7)}, {})) == [Run(0, 4, 5), Check(1, 4)]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"placement": (2, 1)},
        {"placement": (1, 1)},
        {"placement": (0,)},
        {"placement": (1, 2), "gamma": [0.5]},
        {"placement": (1,), "gamma": 1.5},
        {"placement": (1,), "gamma": float("nan")},
        {"placement": (1,), "cap": 0},
        {"policy": "fixed", "placement": (1, 2)},
        {"policy": "medusa"},
    ],
)
def test_a_design_that_makes_no_sense_is_refused(kwargs: dict[str, object]) -> None:
    """Falling or repeated depths, depth 0, a missing or absurd gamma, no drafts, fixed with two
    heads, an unknown policy.
    """
    with pytest.raises(DesignError):
        Design.of(**kwargs)  # type: ignore[arg-type]


def test_a_head_at_the_last_layer_is_refused() -> None:
    """A head lies between the layers."""
    with pytest.raises(DesignError, match=r"depths 1\.\.2"):
        schedule_of(adadecode((3,)))


# ---- properties: any design, any text ----


@examples(120)
@given(
    designs(),
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.sampled_from([frozenset(), frozenset({0})]),
)
def test_the_text_is_always_the_last_layers(
    case: tuple[Design, int], seed: int, budget: int, eos: frozenset[int]
) -> None:
    """Whatever the heads say, the text is vanilla's, every read is of something computed from the
    right tokens, and depth never rises.
    """
    design, n_layers = case
    schedule = schedule_of(design, n_layers=n_layers, max_new_tokens=budget, eos=eos)
    model = ToyModel(seed, schedule)
    drive(schedule, model)
    assert schedule.tokens == vanilla_text(model, budget, eos)


@examples(60)
@given(
    designs(verify=False),
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.sampled_from([frozenset(), frozenset({0})]),
)
def test_unverified_reads_nothing_stale_and_keeps_to_the_budget(
    case: tuple[Design, int], seed: int, budget: int, eos: frozenset[int]
) -> None:
    """Without verification the text may differ, but it is as long as allowed and rests on nothing
    stale or missing.
    """
    design, n_layers = case
    schedule = schedule_of(design, n_layers=n_layers, max_new_tokens=budget, eos=eos)
    drive(schedule, ToyModel(seed, schedule))
    assert len(schedule.tokens) == budget or schedule.tokens[-1] in eos
    assert len(schedule.tokens) <= budget
    assert not any(token in eos for token in schedule.tokens[:-1])


@examples(60)
@given(designs(), st.integers(0, 10**6), st.integers(2, 40))
def test_a_round_reports_what_was_handed_out(
    case: tuple[Design, int], seed: int, budget: int
) -> None:
    """The rounds' work and checks, in order, are the Runs and Checks that were handed out;
    committed tokens add up.
    """
    design, n_layers = case
    schedule = schedule_of(design, n_layers=n_layers, max_new_tokens=budget)
    handed = drive(schedule, ToyModel(seed, schedule))
    assert [w for r in schedule.rounds for w in r.work] == [
        (w.segment, w.stop - w.start) for w in handed if isinstance(w, Run)
    ]
    assert [d for r in schedule.rounds for d in r.checks] == [
        w.depth for w in handed if isinstance(w, Check)
    ]
    assert [d for r in schedule.rounds for d in r.gates] == [
        w.depth for w in handed if isinstance(w, Gate)
    ]
    assert 1 + sum(r.committed for r in schedule.rounds) == len(schedule.tokens)
    assert all(len(r.exits) <= design.cap for r in schedule.rounds)


@examples(60)
@given(designs(), st.integers(0, 10**6), st.integers(2, 40))
def test_a_head_with_a_gate_is_asked_just_where_its_gate_opens(
    case: tuple[Design, int], seed: int, budget: int
) -> None:
    """A check follows each open gate, nothing of that depth a shut one, and no gate stands before a
    head whose threshold is 0.
    """
    design, n_layers = case
    schedule = schedule_of(design, n_layers=n_layers, max_new_tokens=budget)
    model, opened = ToyModel(seed, schedule), []

    def watch(work: Work) -> Outcome:
        outcome = model(work)
        if isinstance(work, Gate):
            assert isinstance(outcome, Score)
            assert design.gate(work.depth) > 0
            opened.append(outcome.value > design.gate(work.depth))
        return outcome

    handed = drive(schedule, watch)
    follows = {at: handed[at + 1] for at, work in enumerate(handed) if isinstance(work, Gate)}
    assert [
        handed[at] == Gate(*work) if isinstance(work, Check) else False
        for at, work in follows.items()
    ] == opened
    gated = [at for at, work in enumerate(handed) if isinstance(work, Check)]
    assert all(
        isinstance(handed[at - 1], Gate) == bool(design.gate(handed[at].depth))  # type: ignore[union-attr]
        for at in gated
    )


# ---- a text that stops ----


def stopping_at(token: int, design: Design) -> Schedule:
    """Three layers; the text ends where ``token`` is committed, though it is no end token."""
    return Schedule(
        design=design,
        n_layers=3,
        n_prompt=N_PROMPT,
        first_token=FIRST,
        max_new_tokens=99,
        stops=lambda tokens: tokens[-1] == token,
    )


SURE = {(1, 4): (0.9, 101), (1, 5): (0.9, 102), (1, 6): (0.9, 103)}
"""A head at depth 1 that drafts 101, 102, 103 after positions 4, 5, 6."""


def test_a_stop_among_accepted_drafts_ends_the_text_there() -> None:
    """All three drafts hold, and the last layer's own token too: what is behind 102 is dropped."""
    schedule = stopping_at(102, adadecode((1,)))
    drive(schedule, scripted(SURE, {4: 101, 5: 102, 6: 103, 7: 104}))
    assert schedule.tokens == [FIRST, 101, 102]
    assert schedule.done
    (only,) = schedule.rounds
    assert (only.exits, only.accepted, only.committed) == ((1, 1, 1), 2, 2)
    assert schedule.lengths == [6, 6]  # positions 0 to 5: no more are needed behind 102


def test_a_stop_in_a_rejected_draft_does_not_end_the_text() -> None:
    """102 is drafted, but the last layer says 112; its 102 comes later, and ends the text."""
    schedule = stopping_at(102, adadecode((1,)))
    drive(schedule, scripted(SURE, {4: 101, 5: 112, 6: 113, 7: 102, 8: 114}))
    assert schedule.tokens == [FIRST, 101, 112, 113, 102]


def test_the_first_token_may_stop_the_text() -> None:
    schedule = stopping_at(FIRST, adadecode((1,)))
    assert drive(schedule, scripted(SURE, {})) == []
    assert (schedule.tokens, schedule.rounds) == ([FIRST], [])


def test_unverified_drafts_stop_the_text_too() -> None:
    schedule = stopping_at(102, adadecode((1,), verify=False))
    drive(schedule, scripted(SURE, {7: 104}))
    assert schedule.tokens == [FIRST, 101, 102]


@pytest.mark.parametrize(
    ("policy", "earliest"), [("oracle", None), ("adadecode", lambda position: position)]
)
def test_only_the_oracle_knows_where_tokens_may_leave(
    policy: str, earliest: Callable[[int], int] | None
) -> None:
    """An oracle that knows nothing would draft everything; an engine's schedule is such a one."""
    with pytest.raises(DesignError, match="the oracle must know"):
        Schedule(
            design=Design.of(policy, placement=(1,)),
            n_layers=3,
            n_prompt=2,
            first_token=1,
            max_new_tokens=4,
            earliest=earliest,
        )
