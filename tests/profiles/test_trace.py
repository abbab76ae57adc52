"""The trace: every answer recorded is found again, and nothing else is answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles import DesignError, Profile, ProfileError, Trace
from tests.support.synthetic_profile import EOS, synthetic_profile

COLUMNS = ["prompt", "output", "depth", "token", "confidence", "agrees", "acceptance"]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("trace") / "p")


@pytest.fixture(scope="module")
def trace(profile: Profile) -> Trace:
    return Trace.from_profile(profile)


def by_hand(
    rows: list[tuple[int, int, int, int, float, bool, float]], n_output: int = 3, prompt: int = 5
) -> Trace:
    """One prompt of a model with 4 layers and a head at 2."""
    prompts = pd.DataFrame(
        {
            "prompt": [prompt],
            "domain": "x",
            "n_prompt": 7,
            "n_output": n_output,
            "ended": False,
            "first_token": 9,
            "sha256": "",
            "max_new_tokens": max(n_output, 1),
        }
    )
    branches = pd.DataFrame(
        [(5, 1, (3,), 2, 6, 0.5), (5, 1, (3,), 2, 8, 0.4)],
        columns=["prompt", "output", "path", "depth", "token", "confidence"],
    )
    return Trace.from_frames(
        prompts, pd.DataFrame(rows, columns=COLUMNS), branches, n_layers=4, depths=(2,), eos=(0,)
    )


ROWS = [
    (5, 1, 2, 3, 0.7, False, 0.6),
    (5, 1, 4, 4, 0.9, True, 1.0),
    (5, 2, 2, 5, 0.8, True, 0.9),
    (5, 2, 4, 5, 0.95, True, 1.0),
]


def test_every_row_of_the_trace_is_found(profile: Profile, trace: Trace) -> None:
    """The rows are of heads and of the last layer."""
    for row in profile.trace.itertuples():
        assert trace.head(row.prompt, row.output, row.depth) == (row.confidence, row.token)


def test_answers_are_plain_python(trace: Trace) -> None:
    """They are compared and hashed a million times."""
    confidence, token = trace.head(0, 1, 2)
    assert (type(confidence), type(token), type(trace.final(0, 1))) == (float, int, int)


def test_the_committed_tokens_are_the_last_layers(profile: Profile, trace: Trace) -> None:
    """They follow the token of the prefill."""
    for prompt in profile.prompts.itertuples():
        last = (
            profile.trace.query("prompt == @prompt.prompt and depth == 8")
            .sort_values("output")["token"]
            .tolist()
        )
        assert [trace.final(prompt.prompt, i) for i in range(prompt.n_output)] == [
            prompt.first_token,
            *last,
        ]


def test_every_branch_is_found(profile: Profile, trace: Trace) -> None:
    """Each is found by prompt, output, path and depth."""
    for row in profile.branches.itertuples():
        assert trace.branch(row.prompt, row.output, row.path, row.depth) == (
            row.confidence,
            row.token,
        )


def test_a_branch_that_was_not_recorded_is_none(trace: Trace) -> None:
    """It is for the caller to model it."""
    assert trace.branch(0, 1, (1, 2, 3, 4, 5), 2) is None


def test_of_a_branch_recorded_twice_the_first_counts() -> None:
    """Numerics may differ between visits."""
    assert by_hand(ROWS).branch(5, 1, (3,), 2) == (0.5, 6)


def test_prompts_say_what_they_are(profile: Profile, trace: Trace) -> None:
    """Everything the table says of them."""
    assert trace.prompts == tuple(profile.prompts["prompt"])
    for row in profile.prompts.itertuples():
        facts = (
            trace.domain(row.prompt),
            trace.n_prompt(row.prompt),
            trace.n_output(row.prompt),
            trace.ended(row.prompt),
        )
        assert (*facts, trace.first_token(row.prompt)) == (
            row.domain,
            row.n_prompt,
            row.n_output,
            row.ended,
            row.first_token,
        )


def test_heads_layers_and_end_tokens_come_from_the_manifest(trace: Trace) -> None:
    """The last layer is no head."""
    assert (trace.depths, trace.n_layers, trace.eos) == ((2, 4, 6), 8, frozenset({EOS}))


def test_rows_may_come_in_any_order() -> None:
    """The rows are reversed here."""
    assert by_hand(ROWS[::-1]).head(5, 2, 2) == (0.8, 5)


def test_arrays_hold_a_row_per_output_and_a_column_per_depth() -> None:
    """By hand; nothing spoke before output 0, which is the prefill's."""
    trace = by_hand(ROWS)
    assert trace.tokens(5).tolist() == [[-1, 9], [3, 4], [5, 5]]
    np.testing.assert_array_equal(trace.confidences(5), [[np.nan, np.nan], [0.7, 0.9], [0.8, 0.95]])


def test_arrays_cannot_be_changed() -> None:
    """All callers share them."""
    with pytest.raises(ValueError, match="read-only"):
        by_hand(ROWS).tokens(5)[0, 0] = 1


def test_agreement_counts_by_domain_and_depth() -> None:
    """One of two right at depth 2, with confidence 0.75; the last layer agrees with itself."""
    assert by_hand(ROWS).agreement().to_dict("records") == [
        {"domain": "x", "depth": 2, "outputs": 2, "agree": 0.5, "confidence": pytest.approx(0.75)},
        {"domain": "x", "depth": 4, "outputs": 2, "agree": 1.0, "confidence": pytest.approx(0.925)},
    ]


def test_agreement_equals_the_table(profile: Profile, trace: Trace) -> None:
    """The means are those of the recorded columns."""
    groups = profile.trace.merge(profile.prompts[["prompt", "domain"]], on="prompt").groupby(
        ["domain", "depth"]
    )
    counted = trace.agreement().set_index(["domain", "depth"]).sort_index()
    pd.testing.assert_series_equal(
        counted["agree"], groups["agrees"].mean(), check_names=False, check_index_type=False
    )
    pd.testing.assert_series_equal(
        counted["confidence"],
        groups["confidence"].mean(),
        check_names=False,
        check_index_type=False,
    )


def test_a_single_output_leaves_nothing_to_agree_on() -> None:
    """Its only token comes from the prefill."""
    trace = by_hand([], n_output=1)
    assert trace.final(5, 0) == 9
    assert trace.agreement().empty


@pytest.mark.parametrize("ask", ["head", "branch"])
def test_an_unknown_depth_is_refused(trace: Trace, ask: str) -> None:
    """The message names the trained depths."""
    with pytest.raises(DesignError, match=r"no head at depth 3 \(trained: 2, 4, 6\)"):
        trace.head(0, 1, 3) if ask == "head" else trace.branch(0, 1, (1,), 3)


@pytest.mark.parametrize("output", [0, -1, 24])
def test_an_output_before_which_no_head_spoke_is_refused(trace: Trace, output: int) -> None:
    """It cannot be counted from the end either."""
    with pytest.raises(
        ProfileError,
        match=rf"no head spoke before output {output} of prompt 1 \(1\.\.23 recorded\)",
    ):
        trace.head(1, output, 2)


@pytest.mark.parametrize("output", [-1, 24])
def test_a_committed_token_beyond_the_text_is_refused(trace: Trace, output: int) -> None:
    """It cannot be counted from the end either."""
    with pytest.raises(ProfileError, match=rf"output {output} of prompt 1"):
        trace.final(1, output)


@pytest.mark.parametrize(
    "ask",
    [
        lambda trace: trace.head(77, 1, 2),
        lambda trace: trace.final(77, 1),
        lambda trace: trace.n_prompt(77),
        lambda trace: trace.n_output(77),
        lambda trace: trace.tokens(77),
    ],
)
def test_an_unknown_prompt_is_refused(trace: Trace, ask: object) -> None:
    """The message names the known prompts."""
    with pytest.raises(ProfileError, match=r"no prompt 77 in the trace \(it holds 0, 1, 2\)"):
        ask(trace)  # type: ignore[operator]


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:-1],
        ROWS[1:],
        [*ROWS[:2], *ROWS[:2]],
        [*ROWS, (5, 3, 2, 1, 0.5, True, 1.0)],
        [(*ROWS[0][:2], 3, *ROWS[0][3:]), *ROWS[1:]],
        [],
    ],
    ids=["no last layer", "a head missing", "output twice", "too many", "another depth", "nothing"],
)
def test_a_trace_with_gaps_is_refused(
    rows: list[tuple[int, int, int, int, float, bool, float]],
) -> None:
    """It would replay some designs and not others."""
    with pytest.raises(
        ProfileError,
        match=r"wanted depths 2, 4 before each of outputs 1\.\.2 in "
        r"the trace of prompt 5 \(4 rows\)",
    ):
        by_hand(rows)


def test_agreement_that_contradicts_the_tokens_is_refused() -> None:
    """Tokens 3 and 4 do not agree."""
    with pytest.raises(
        ProfileError, match="wanted agrees to hold where a head's token is the last layer's"
    ):
        by_hand([(*ROWS[0][:5], True, 0.6), *ROWS[1:]])


def test_a_trace_of_a_prompt_that_is_not_listed_is_refused() -> None:
    """The trace has prompt 5, the list only prompt 6."""
    with pytest.raises(ProfileError, match="got prompt 5"):
        by_hand(ROWS, n_output=1, prompt=6)


@pytest.mark.parametrize("eos", [None, 2, ["</s>"]])
def test_a_manifest_without_end_tokens_is_refused(tmp_path: Path, eos: object) -> None:
    """Without them no replay knows where a text ends."""
    with pytest.raises(ProfileError, match="wanted a list of token ids as eos_token_ids"):
        Trace.from_profile(synthetic_profile(tmp_path / "p", manifest={"eos_token_ids": eos}))


def test_a_mapped_trace_says_the_same_elsewhere(profile: Profile, trace: Trace) -> None:
    """Heads 2 and 6 of 8 layers, at 5 and 20 of 32; the last layer is the last one there."""
    moved = trace.mapped({2: 5, 6: 20}, n_layers=32)
    assert (moved.n_layers, moved.depths, moved.prompts, moved.eos) == (
        32,
        (5, 20),
        trace.prompts,
        trace.eos,
    )
    for prompt in trace.prompts:
        for output in range(1, trace.n_output(prompt)):
            assert moved.head(prompt, output, 5) == trace.head(prompt, output, 2)
            assert moved.head(prompt, output, 20) == trace.head(prompt, output, 6)
            assert moved.head(prompt, output, 32) == trace.head(prompt, output, 8)
            assert moved.final(prompt, output) == trace.final(prompt, output)
        np.testing.assert_array_equal(moved.tokens(prompt), trace.tokens(prompt)[:, [0, 2, 3]])


def test_a_mapped_trace_keeps_its_branches(profile: Profile, trace: Trace) -> None:
    """Of the heads that are kept, and of the last layer."""
    moved = trace.mapped({4: 10}, n_layers=16)
    for row in profile.branches.itertuples():
        if row.depth in (4, 8):
            assert moved.branch(row.prompt, row.output, row.path, {4: 10, 8: 16}[row.depth]) == (
                row.confidence,
                row.token,
            )
    assert all(set(outputs) == {10, 16} for outputs in moved.branches().values())


def test_a_mapped_trace_has_no_other_heads(trace: Trace) -> None:
    """It cannot be changed either."""
    moved = trace.mapped({4: 10}, n_layers=16)
    with pytest.raises(DesignError, match=r"no head at depth 4 \(trained: 10\)"):
        moved.head(0, 1, 4)
    with pytest.raises(ValueError, match="read-only"):
        moved.tokens(0)[0, 0] = 1


def test_a_trace_mapped_to_itself_is_the_same(trace: Trace) -> None:
    """Every question gets the same answer."""
    moved = trace.mapped({depth: depth for depth in trace.depths}, n_layers=trace.n_layers)
    assert moved.branches() == trace.branches()
    pd.testing.assert_frame_equal(moved.agreement(), trace.agreement())
    assert all(
        (moved.earliest(prompt, (2, 6)) == trace.earliest(prompt, (2, 6))).all()
        for prompt in trace.prompts
    )


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ({3: 5}, r"no head at depth 3 \(trained: 2, 4, 6\)"),
        ({2: 5, 4: 5}, r"wanted heads 2, 4 mapped to rising depths in 1\.\.15, got 5, 5"),
        ({2: 6, 4: 5}, r"a deeper head stays the deeper one"),
        ({2: 16}, r"rising depths in 1\.\.15, got 16"),
        ({2: 0}, r"rising depths in 1\.\.15, got 0"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(
    trace: Trace, depths: dict[int, int], message: str
) -> None:
    """Unknown heads, and depths outside the model or out of order."""
    with pytest.raises(DesignError, match=message):
        trace.mapped(depths, n_layers=16)
