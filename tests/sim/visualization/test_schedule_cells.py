"""The first rounds of a schedule as a table."""

from __future__ import annotations

from adadecode.sim.replay.simulation import ReplayedRun
from adadecode.sim.visualization.schedule_cells import cells

SEGMENTS = (0, 1, 2, 3)
BOUNDARIES = (0, 2, 4, 6, 8)


def test_cells_are_the_tokens_of_each_piece_of_work(figure_2: ReplayedRun) -> None:
    """Figure 2: the passes through layer 3 and the verify hold t1, t2, t3."""
    drawn = cells(figure_2, SEGMENTS)
    passes = drawn[drawn["kind"] == "run"].groupby(["start_s", "depth"])["label"].agg(list)
    assert list(passes) == [["0"], ["0"], ["1"], ["2"], ["1", "2"], ["0", "1", "2"]]


def test_cells_tell_the_fate_of_a_token(rejected: ReplayedRun) -> None:
    """The draft was rejected; what stands there afterwards is the last layer's."""
    drawn = cells(rejected, SEGMENTS).drop_duplicates(["round", "output"])
    assert list(zip(drawn["round"], drawn["output"], drawn["fate"], strict=True)) == [
        (0, 0, "last layer"),
        (0, 1, "rejected draft"),
        (1, 1, "last layer"),
        (2, 2, "last layer"),
    ]


def test_cells_tell_drafts_that_held(figure_2: ReplayedRun) -> None:
    """Both drafts of figure 2 held."""
    fates = cells(figure_2, SEGMENTS).drop_duplicates("output")["fate"]
    assert list(fates) == ["last layer", "accepted draft", "accepted draft"]


def test_cells_say_what_a_sure_head_drafted(figure_2: ReplayedRun) -> None:
    """t1's check at depth 2 and t2's at depth 1 draft, the others do not."""
    checks = cells(figure_2, SEGMENTS).query("kind == 'check'")
    assert list(zip(checks["depth"], checks["next_label"], strict=True)) == [
        (1, ""),
        (2, "1"),
        (1, "2"),
        (1, ""),
        (2, ""),
    ]


def test_cells_stop_after_the_rounds_asked_for(busy: ReplayedRun) -> None:
    """Only two of many rounds have cells."""
    assert set(cells(busy, BOUNDARIES, rounds=2)["round"]) == {0, 1}


def test_words_label_tokens(figure_2: ReplayedRun) -> None:
    """By token id; blanks and line breaks can be seen."""
    drawn = cells(figure_2, SEGMENTS, words={10: " the", 11: "\n", 12: " "})
    assert list(drawn[drawn["kind"] == "verify"]["label"]) == ["the", "⏎", "␣"]
