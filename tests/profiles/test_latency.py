"""The latency table: measured points exactly, straight lines between them, errors beyond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles import LatencyError, LatencyTable, ProfileError
from tests.support.synthetic_profile import head_seconds, layer_seconds, synthetic_profile

COLUMNS = ["kind", "layer", "n_tokens", "context", "reuse", "repeat", "seconds"]
Point = tuple[str, int, int, int, int, float]


def table(points: list[Point], n_layers: int = 2) -> LatencyTable:
    """A table of one sample per point."""
    return LatencyTable.from_samples(
        pd.DataFrame([(*p[:5], 0, p[5]) for p in points], columns=COLUMNS), n_layers
    )


def grid(
    tokens: tuple[int, ...] = (1, 4),
    contexts: tuple[int, ...] = (10, 30),
    reuses: tuple[int, ...] = (1, 2),
) -> list[Point]:
    """Two layers; seconds = layer + 1 + n_tokens / 10 + context / 100 + reuse / 1000, linear
    everywhere.
    """
    return [
        ("layer", layer, n, c, r, layer + 1 + n / 10 + c / 100 + r / 1000)
        for layer in (0, 1)
        for n in tokens
        for c in contexts
        for r in reuses
    ]


def test_a_measured_point_is_the_mean_of_its_samples_in_the_usual_visits() -> None:
    """Four visits of one sample each: the mean of the middle two, whatever the outer ones are."""
    samples = pd.DataFrame(
        [("layer", 0, 1, 10, 1, i, s) for i, s in enumerate((0.125, 9.0, 0.25, 0.5))],
        columns=COLUMNS,
    )
    latency = LatencyTable.from_samples(samples, 1)
    assert latency.layer(0, 1, 10, 1) == 0.375
    assert latency.points["samples"].tolist() == [2]


def test_every_measured_point_of_a_profile_is_returned_exactly(tmp_path: Path) -> None:
    """Layers of a whole synthetic recording of three visits, all kept, against plain means."""
    profile = synthetic_profile(tmp_path / "p")
    assert profile.latency["repeat"].nunique() == 3
    latency = LatencyTable.from_samples(profile.latency, profile.n_layers)
    layers = profile.latency[profile.latency["kind"] == "layer"]
    for key, samples in layers.groupby(["layer", "n_tokens", "context", "reuse"])["seconds"]:
        assert latency.layer(*key) == pytest.approx(np.mean(samples.to_numpy()), rel=1e-12)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("n_tokens", "context", "reuse", "seconds"),
    [(1, 20, 1, 1.301), (2, 10, 1, 1.301), (3, 25, 2, 1.552), (4, 30, 2, 1.702), (2, 15, 2, 1.352)],
)
def test_between_measured_points_seconds_are_linear(
    n_tokens: int, context: int, reuse: int, seconds: float
) -> None:
    """Values by hand: 1 + n / 10 + c / 100 + r / 1000 at layer 0."""
    assert table(grid()).layer(0, n_tokens, context, reuse) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("reuse", "seconds"), [(1, 1.0), (2, 1.0), (4, 2.0), (6, 3.0), (100, 3.0)])
def test_reuse_is_linear_between_measured_walks_and_held_beyond(reuse: int, seconds: float) -> None:
    """Below the smallest the smallest, half way the middle, above the largest the largest."""
    points: list[Point] = [("layer", 0, 1, 10, 2, 1.0), ("layer", 0, 1, 10, 6, 3.0)]
    assert table(points).layer(0, 1, 10, reuse) == seconds


def test_a_short_walk_never_stands_for_a_longer_one() -> None:
    """Two tokens were measured after a walk of 2 only: after 6 there is no answer, after 2 the
    measured one.
    """
    latency = table(
        [("layer", 0, 1, 10, 2, 1.0), ("layer", 0, 2, 10, 2, 1.5), ("layer", 0, 1, 10, 6, 3.0)]
    )
    assert latency.layer(0, 2, 10, 2) == 1.5
    with pytest.raises(LatencyError, match=r"no latency for layer 0 at n_tokens=2 and reuse=6"):
        latency.layer(0, 2, 10, 6)


def test_layers_is_the_sum_of_each() -> None:
    """Two layers are summed between measured points."""
    latency = table(grid())
    assert latency.layers(0, 2, 3, 17, 1) == pytest.approx(
        latency.layer(0, 3, 17, 1) + latency.layer(1, 3, 17, 1), rel=1e-12
    )


def test_layers_measured_at_different_contexts_add_up() -> None:
    """Layer 0 bends at context 20, layer 1 at 15: the sum bends at both, from 10 to 30 where both
    were measured.
    """
    points: list[Point] = [("layer", 0, 1, c, 1, s) for c, s in ((10, 1.0), (20, 2.0), (40, 2.0))]
    points += [("layer", 1, 1, c, 1, s) for c, s in ((5, 1.0), (15, 1.0), (30, 4.0))]
    latency = table(points)
    assert latency.layers(0, 2, 1, 18, 1) == pytest.approx(1.8 + 1.6)
    with pytest.raises(
        LatencyError,
        match=r"no latency for layers 0\.\.1 at context=31 \(measured 10\.\.30 at n_tokens=1\)",
    ):
        latency.layers(0, 2, 1, 31, 1)


def test_a_ragged_grid_answers_where_its_points_reach() -> None:
    """Four tokens were only measured from context 20 on: at 25 all rows count, at 15 three tokens
    have no answer.
    """
    points: list[Point] = [
        ("layer", 0, 1, 10, 1, 1.0),
        ("layer", 0, 1, 30, 1, 1.0),
        ("layer", 0, 4, 20, 1, 4.0),
        ("layer", 0, 4, 30, 1, 4.0),
    ]
    latency = table(points)
    assert latency.layer(0, 3, 25, 1) == pytest.approx(3.0)
    with pytest.raises(LatencyError, match=r"at context=15 \(measured 20\.\.30 at n_tokens=3\)"):
        latency.layer(0, 3, 15, 1)


def test_more_tokens_than_measured_are_refused() -> None:
    """With what was measured, and the flag that measures more."""
    with pytest.raises(LatencyError) as refused:
        table(grid(tokens=tuple(range(1, 9)))).layer(1, 9, 20, 1)
    assert (
        str(refused.value)
        == "no latency for layer 1 at n_tokens=9 (measured 1..8): profile with --max-tokens 9"
    )


@pytest.mark.parametrize("context", [9, 31])
def test_a_context_beyond_the_measured_ones_is_refused(context: int) -> None:
    """It is refused on either side, and the message names the flag."""
    with pytest.raises(LatencyError) as refused:
        table(grid()).layer(0, 1, context, 1)
    assert str(refused.value) == (
        f"no latency for layer 0 at context={context} (measured 10..30 at n_tokens=1): "
        f"profile with --contexts {context}"
    )


def test_a_layer_that_was_not_measured_is_refused() -> None:
    """The message names it, also where layers are summed."""
    latency = table([("layer", 0, 1, 10, 1, 1.0)])
    with pytest.raises(LatencyError, match=r"no latency for layer 1 \(measured 0\): profile again"):
        latency.layers(0, 2, 1, 10, 1)


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (-1, 1), (1, 1), (2, 1)])
def test_layers_outside_the_model_are_refused(start: int, stop: int) -> None:
    """An empty range is refused as well."""
    with pytest.raises(LatencyError, match="in a model with 2"):
        table(grid()).layers(start, stop, 1, 10, 1)


@pytest.mark.parametrize("kind", ["embed", "verify", "prefill"])
def test_rows_are_linear_and_bounded_in_tokens(kind: str) -> None:
    """Half way by hand; beyond either end an error that says what was measured."""
    ask = getattr(table([(kind, -1, 2, 0, 0, 1.0), (kind, -1, 6, 0, 0, 3.0)]), kind)
    assert (ask(2), ask(4), ask(6)) == (1.0, 2.0, 3.0)
    for n_tokens in (1, 7):
        with pytest.raises(
            LatencyError,
            match=rf"no latency for {kind} at n_tokens={n_tokens} "
            r"\(measured 2\.\.6\): profile with ",
        ):
            ask(n_tokens)


def test_axes_that_mean_nothing_do_not_split_samples() -> None:
    """Host times recorded with stray contexts are samples of one point."""
    assert (
        table([("host", -1, 1, c, 0, s) for c, s in ((0, 1.0), (5, 2.0), (9, 6.0))]).host() == 3.0
    )


@pytest.mark.parametrize("kind", ["embed", "verify", "prefill", "host"])
def test_a_kind_that_was_not_measured_is_refused(kind: str) -> None:
    """The message names the kinds that were measured."""
    ask = getattr(table(grid()), kind)
    with pytest.raises(LatencyError, match=rf"no latency of kind {kind} \(measured layer\)"):
        ask(*(() if kind == "host" else (1,)))


def test_a_head_depends_on_reuse() -> None:
    """Linear between measured walks, held beyond."""
    latency = table([("head", 1, 1, 0, 1, 1.0), ("head", 1, 1, 0, 3, 2.0)])
    assert [latency.head(1, reuse) for reuse in (0, 1, 2, 3, 9)] == [1.0, 1.0, 1.5, 2.0, 2.0]


def test_a_head_that_was_not_measured_is_refused() -> None:
    """The message names the depths that were measured."""
    with pytest.raises(LatencyError, match=r"no latency for the head at depth 5 \(measured 1, 3\)"):
        table([("head", 1, 1, 0, 1, 1.0), ("head", 3, 1, 0, 1, 1.0)]).head(5, 1)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0.0, -1.0])
def test_absurd_samples_are_refused(seconds: float) -> None:
    with pytest.raises(
        ProfileError, match=r"wanted finite seconds above 0 in the latency table, got .* in row 8"
    ):
        table([*grid()[:8], ("embed", -1, 1, 0, 0, seconds)])


def test_a_host_may_cost_nothing() -> None:
    """Where all is estimated, an engine hides it; a recording's is checked when it is read."""
    assert table([("host", -1, 1, 0, 0, 0.0)]).host() == 0


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"unknown latency kind 'nap': known are layer, head"):
        table([("nap", -1, 1, 0, 0, 1.0)])


def test_a_layer_beyond_the_model_is_refused() -> None:
    with pytest.raises(
        ProfileError, match=r"wanted layers 0\.\.0 in the latency table, got layer 1"
    ):
        table(grid(), n_layers=1)


def test_points_can_be_priced_again() -> None:
    """The points of a table, one sample each, make the same table."""
    first = table([*grid(), ("host", -1, 1, 0, 0, 1.0)])
    again = LatencyTable.from_samples(first.points, 2)
    assert again.points["seconds"].tolist() == first.points["seconds"].tolist()
    assert again.layers(0, 2, 3, 17, 2) == first.layers(0, 2, 3, 17, 2)


def test_the_synthetic_recording_without_noise_is_its_formula(tmp_path: Path) -> None:
    """Linear in everything, so exact between points too; what other tests build on."""
    profile = synthetic_profile(tmp_path / "p", noise=0.0)
    latency = LatencyTable.from_samples(profile.latency, 8)
    assert latency.layer(3, 5, 20, 7) == pytest.approx(layer_seconds(3, 5, 20, 7, 8), rel=1e-12)
    assert latency.head(2, 3) == pytest.approx(head_seconds(3, 8), rel=1e-12)


TOKENS, CONTEXTS, REUSES = (1, 3, 8), (8, 20, 64), (1, 4, 8)


@given(
    seconds=st.lists(st.floats(1e-6, 1.0), min_size=27, max_size=27),
    n_tokens=st.integers(1, 8),
    context=st.integers(8, 64),
    reuse=st.integers(1, 8),
)
def test_an_answer_lies_between_the_measured_points_around_it(
    seconds: list[float], n_tokens: int, context: int, reuse: int
) -> None:
    """Whatever was measured at the 27 points of a grid."""
    corners = [(n, c, r) for n in TOKENS for c in CONTEXTS for r in REUSES]
    measured = dict(zip(corners, seconds, strict=True))
    latency = table([("layer", 0, *corner, s) for corner, s in measured.items()], n_layers=1)

    def around(marks: tuple[int, ...], x: int) -> set[int]:
        return {max(m for m in marks if m <= x), min(m for m in marks if m >= x)}

    near = [
        measured[n, c, r]
        for n in around(TOKENS, n_tokens)
        for c in around(CONTEXTS, context)
        for r in around(REUSES, reuse)
    ]
    assert (
        min(near) * (1 - 1e-12)
        <= latency.layer(0, n_tokens, context, reuse)
        <= max(near) * (1 + 1e-12)
    )


@given(
    steps=st.lists(st.floats(0.0, 0.1), min_size=9, max_size=9),
    low=st.integers(8, 63),
    by=st.integers(0, 56),
    n_tokens=st.integers(1, 8),
)
def test_longer_contexts_are_never_cheaper_where_no_sample_says_so(
    steps: list[float], low: int, by: int, n_tokens: int
) -> None:
    """Seconds that rise along context at every measured point rise in between."""
    rising = np.cumsum(np.array(steps).reshape(3, 3), axis=1) + 1e-3
    points: list[Point] = [
        ("layer", 0, n, c, 1, float(rising[i, j]))
        for i, n in enumerate(TOKENS)
        for j, c in enumerate(CONTEXTS)
    ]
    latency = table(points, n_layers=1)
    assert latency.layer(0, n_tokens, low, 1) <= latency.layer(
        0, n_tokens, min(64, low + by), 1
    ) * (1 + 1e-12)
