"""What of a layer's time goes with its context."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from adadecode.profiles import TABLES, LatencyTable
from adadecode.profiles.errors import LatencyError
from adadecode.sim.hardware.attention_latency import Attending


def table(
    contexts: tuple[int, ...], seconds: Callable[[int, int, int], float], n_layers: int = 2
) -> LatencyTable:
    """Layers of 1, 2 and 4 tokens; seconds by layer, n_tokens and context."""
    rows = [
        ("layer", k, n, c, n_layers, 0, seconds(k, n, c))
        for k in range(n_layers)
        for n in (1, 2, 4)
        for c in contexts
    ]
    return LatencyTable.from_samples(pd.DataFrame(rows, columns=TABLES["latency"].names), n_layers)


def test_the_slope_is_the_time_of_a_position() -> None:
    """A layer takes a second and an eighth for each position and token; two layers twice."""
    attending = Attending(table((10, 20, 40), lambda _, n, c: 1.0 + n * c / 8))
    assert attending.layers(0, 1, 1, 8, 2) == pytest.approx(1.0)
    assert attending.layers(0, 2, 4, 16, 2) == pytest.approx(2 * 4 * 2.0)


def test_layers_are_taken_together() -> None:
    """One that seems to become faster with its context is noise beside one that does not."""
    attending = Attending(
        table((10, 20), lambda layer, _n, c: 1.0 + c / 8 if layer else 1.0 - c / 80)
    )
    assert attending.layers(0, 1, 1, 1, 2) == pytest.approx((1 / 8 - 1 / 80) / 2)


def test_it_is_never_less_than_nothing() -> None:
    assert Attending(table((10, 20), lambda _k, _n, c: 2.0 - c / 80)).layers(0, 2, 1, 20, 2) == 0


def test_beyond_a_window_nothing_more_is_seen() -> None:
    """Positions to 16 count, whatever the context."""
    attending = Attending(table((8, 16, 64), lambda _k, _n, c: 1.0 + min(c, 16) / 8), window=16)
    assert (
        attending.layers(0, 1, 1, 64, 2) == attending.layers(0, 1, 1, 16, 2) == pytest.approx(2.0)
    )


def test_one_context_tells_nothing() -> None:
    attending = Attending(table((16,), lambda _k, _n, c: 1.0 + c))
    assert not attending.is_known
    assert attending.layers(0, 1, 1, 16, 2) == 0


def test_everything_else_takes_nothing() -> None:
    attending = Attending(table((10, 20), lambda _k, _n, c: 1.0 + c))
    assert attending.is_known
    assert [
        attending.head(1, 1),
        attending.verify(3),
        attending.embed(3),
        attending.prefill(9),
        attending.host(),
    ] == [0] * 5


def test_batches_that_were_not_measured_are_refused() -> None:
    with pytest.raises(
        LatencyError,
        match="no latency for 9 tokens at once at any context: profile with --max-tokens 9",
    ):
        Attending(table((10, 20), lambda _k, _n, c: 1.0 + c)).layers(0, 1, 9, 10, 2)
