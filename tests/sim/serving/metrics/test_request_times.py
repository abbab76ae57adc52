"""TTFT, TPOT, ITL and end to end of one request, computed by hand."""

from __future__ import annotations

import pytest

from adadecode.sim.serving.metrics.request_times import e2e_s, gaps_s, tpot_s, ttft_s, wait_s
from adadecode.sim.serving.request import Request, ServedRequest


def served(*token_s: float, n_output: int | None = None) -> ServedRequest:
    n_output = len(token_s) if n_output is None else n_output
    request = Request(name="r", arrival_s=10.0, n_prompt=5, n_output=n_output)
    return ServedRequest(request=request, scheduled_s=10.5, token_s=token_s)


def test_times_count_from_the_arrival() -> None:
    one = served(12, 13, 14.5)
    assert (wait_s(one), ttft_s(one), e2e_s(one)) == (0.5, 2, 4.5)
    assert tpot_s(one) == 1.25
    assert gaps_s(one) == pytest.approx([1, 1.5])


def test_tokens_that_come_at_once_are_one_moment_but_several_tokens() -> None:
    """Three drafts are accepted at once: the gaps are a second each, a token takes a third."""
    one = served(12, 13, 13, 13, 14, 14, 14)
    assert gaps_s(one) == pytest.approx([1, 1])
    assert tpot_s(one) == pytest.approx(1 / 3)


def test_one_token_has_neither() -> None:
    one = served(12)
    assert tpot_s(one) is None
    assert gaps_s(one) == pytest.approx([])


def test_the_first_and_the_last_token_do_not_tell_the_gaps() -> None:
    one = served(12, 20, n_output=5)
    assert tpot_s(one) == 2
    assert gaps_s(one) is None
    assert gaps_s(served(12, 20)) == pytest.approx([8])


def test_all_tokens_at_once_take_no_time_after_the_first() -> None:
    one = served(12, 12, 12)
    assert tpot_s(one) == 0
    assert gaps_s(one) == pytest.approx([])
