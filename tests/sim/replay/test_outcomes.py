"""Answers from a trace: on the committed text, on recorded branches, and drawn where nothing was
recorded.
"""

from __future__ import annotations

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Draft
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.outcomes import budget
from adadecode.sim.replay.simulation import Event, replay
from tests.support.handmade import ConstantLatency, one_text

TEXT = [10, 11, 12, 13, 14, 15]
ONE_HEAD = Design.of("adadecode", gamma=0.5, placement=(1,))
WRONG_AT_1 = {(1, 1): (0.9, 7)}


def checked(events: tuple[Event, ...]) -> list[tuple[int, Draft]]:
    """(position, what the head said) of every check."""
    return [
        (e.work.position, e.outcome)
        for e in events
        if isinstance(e.work, Check) and isinstance(e.outcome, Draft)
    ]


def test_a_recorded_branch_is_used() -> None:
    """After the wrong draft 7 the head says what was recorded on that branch, and nothing is
    modelled.
    """
    trace = one_text(TEXT, WRONG_AT_1, {(1, (7,), 1): (0.4, 33), (1, (7,), 2): (0.4, 34)})
    (run,) = replay(trace, ConstantLatency(), ONE_HEAD, events=True)
    assert checked(run.events)[:2] == [(4, (0.9, 7)), (5, (0.4, 33))]
    assert run.modelled_seconds == 0


def test_a_second_wrong_draft_lengthens_the_path() -> None:
    """The branch is known by all drafts since the wrong one."""
    branches = {
        (1, path, depth): output
        for path, output in {(7,): (0.9, 8), (7, 8): (0.2, 35)}.items()
        for depth in (1, 2)
    }
    (run,) = replay(one_text(TEXT, WRONG_AT_1, branches), ConstantLatency(), ONE_HEAD, events=True)
    assert checked(run.events)[:3] == [(4, (0.9, 7)), (5, (0.9, 8)), (6, (0.2, 35))]
    assert run.rounds[0].accepted == 0


def test_right_drafts_before_the_wrong_one_are_no_part_of_the_path() -> None:
    """Draft 11 is right, 7 is wrong at output 2: the branch left the text there."""
    outputs = {(1, 1): (0.9, 11), (2, 1): (0.9, 7)}
    (run,) = replay(
        one_text(TEXT, outputs, {(2, (7,), 1): (0.1, 40), (2, (7,), 2): (0.1, 40)}),
        ConstantLatency(),
        ONE_HEAD,
        events=True,
    )
    assert checked(run.events)[2] == (6, (0.1, 40))
    assert (run.rounds[0].accepted, run.modelled_seconds) == (1, 0)


def test_an_unrecorded_branch_is_drawn_from_recorded_ones_as_long() -> None:
    """The only recorded branch one draft long stands in, whatever the longer ones say, and the
    round is flagged.
    """
    branches = {
        (3, path, depth): output
        for path, output in {(9,): (0.3, 50), (9, 9): (0.3, 51)}.items()
        for depth in (1, 2)
    }
    (run,) = replay(one_text(TEXT, WRONG_AT_1, branches), ConstantLatency(), ONE_HEAD, events=True)
    assert checked(run.events)[1] == (5, (0.3, 50))
    assert (
        run.modelled_seconds == 1.1875 + 0.3125 + 1.1875 + 0.3125 + 2.0625 + 0.5625
    )  # its runs, checks and verify, host steps included


def test_without_branches_as_long_any_recorded_branch_is_drawn() -> None:
    """Only a branch two drafts long was recorded: it stands in for the first step too."""
    branches = {(3, (9, 9), depth): (0.3, 51) for depth in (1, 2)}
    (run,) = replay(one_text(TEXT, WRONG_AT_1, branches), ConstantLatency(), ONE_HEAD, events=True)
    assert checked(run.events)[1] == (5, (0.3, 51))


def test_a_branch_recorded_in_part_is_not_drawn() -> None:
    """A drawn row answers for every head, so one that lacks a depth is of no use."""
    model = BranchModel(
        one_text(
            TEXT,
            branches={(3, (9,), 1): (0.3, 50), (4, (9,), 1): (0.2, 60), (4, (9,), 2): (0.2, 61)},
        )
    )
    assert {model.branch(0, output, (7,)).heads[1] for output in range(1, 60)} == {(0.2, 60)}


def test_without_any_branch_the_committed_text_is_drawn_from() -> None:
    """No branch was recorded: the head says something that it says along the text, and the round is
    flagged.
    """
    (run,) = replay(one_text(TEXT, WRONG_AT_1), ConstantLatency(), ONE_HEAD, events=True)
    assert checked(run.events)[1][1] in {(0.9, 7), *((0.0, token) for token in TEXT)}
    assert run.modelled_seconds > 0


def test_a_draw_depends_on_the_place_alone() -> None:
    """Two models of one trace draw the same rows, and not the same row everywhere."""
    trace = one_text(
        TEXT, branches={(3, (n,), depth): (n / 100, n) for n in range(20) for depth in (1, 2)}
    )
    places = [(output, (token,)) for output in range(1, 6) for token in range(10)]
    rows = [
        [model.branch(0, *place) for place in places]
        for model in (BranchModel(trace), BranchModel(trace))
    ]
    assert rows[0] == rows[1]
    assert len({row.heads[1] for row in rows[0]}) > 5


def test_one_branch_answers_for_all_its_depths() -> None:
    """The row of one recorded branch is drawn whole, not depth by depth."""
    trace = one_text(
        TEXT, branches={(3, (n,), depth): (n / 100, n) for n in range(20) for depth in (1, 2)}
    )
    row = BranchModel(trace).branch(0, 1, (7,))
    assert row.heads[1] == row.heads[2]


def test_the_next_round_is_on_the_text_again() -> None:
    """After the rejection the heads answer from the trace, and that round is not modelled."""
    (run,) = replay(
        one_text(TEXT, {**WRONG_AT_1, (2, 1): (0.3, 41)}), ConstantLatency(), ONE_HEAD, events=True
    )
    second = [output for position, output in checked(run.events) if position == 5][-1]
    assert second == (0.3, 41)


def test_a_draw_does_not_outlive_its_round() -> None:
    """Position 6 is two drafts off the text in round 1 and one draft off it in round 2: another
    branch, another draw.
    """
    branches = {
        (3, path, depth): output
        for path, output in {(5,): (0.9, 8), (5, 5): (0.1, 51)}.items()
        for depth in (1, 2)
    }
    (run,) = replay(
        one_text(TEXT, {**WRONG_AT_1, (2, 1): (0.9, 9)}, branches),
        ConstantLatency(),
        ONE_HEAD,
        events=True,
    )
    assert [output for position, output in checked(run.events) if position == 6][:2] == [
        (0.1, 51),
        (0.9, 8),
    ]


def test_an_unverified_wrong_draft_leaves_the_text_for_good() -> None:
    """Later rounds rest on draws, the text differs, and the run is as long as recorded."""
    (run,) = replay(
        one_text(TEXT, WRONG_AT_1),
        ConstantLatency(),
        Design.of("adadecode", gamma=0.5, placement=(1,), verify=False),
    )
    assert run.left_text
    assert run.n_tokens == len(TEXT)
    assert run.modelled_seconds == run.seconds


def test_unverified_right_drafts_stay_on_the_text() -> None:
    """Nothing is drawn while every draft is right."""
    outputs = {(output, 1): (0.9, TEXT[output]) for output in (1, 2, 4)}
    (run,) = replay(
        one_text(TEXT, outputs),
        ConstantLatency(),
        Design.of("adadecode", gamma=0.5, placement=(1,), verify=False),
    )
    assert (run.left_text, run.modelled_seconds) == (False, 0)


def test_an_unverified_wrong_draft_at_the_very_end_is_noticed() -> None:
    """Nothing is asked after the last token, and still the text differs."""
    outputs = {(5, 1): (0.9, 7)}
    (run,) = replay(
        one_text(TEXT, outputs),
        ConstantLatency(),
        Design.of("adadecode", gamma=0.5, placement=(1,), verify=False),
    )
    assert run.left_text


def test_a_draw_never_ends_an_unverified_text() -> None:
    """The end of the recorded text is not drawn for the middle of another."""
    trace = one_text([10, 11, 0], eos=frozenset({0}))
    assert {BranchModel(trace).committed(0, output, 1).heads[3][1] for output in range(50)} == {11}


def test_the_budget_of_a_text_cut_off_is_its_length() -> None:
    """The text was cut off at its budget."""
    assert budget(one_text(TEXT, max_new_tokens=6), 0, ONE_HEAD) == 6


def test_the_budget_of_a_text_that_ended_is_the_recordings() -> None:
    """It could have gone on, so heads were tested before its last token."""
    assert budget(one_text(TEXT, eos=frozenset({15}), max_new_tokens=64), 0, ONE_HEAD) == 64


def test_a_head_is_tested_before_the_end_token() -> None:
    """The last output of a text that ended is checked like any other; of one cut off it is not."""
    for eos, last in ((frozenset({15}), 8), (frozenset[int](), 7)):
        (run,) = replay(one_text(TEXT, eos=eos), ConstantLatency(), ONE_HEAD, events=True)
        assert max(position for position, _ in checked(run.events)) == last
