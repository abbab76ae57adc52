"""Requests that no model has positions for, and measurements of other loads."""

from __future__ import annotations

import pytest

from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import InputError
from adadecode.sim.serving.load_checks import check_positions, other_load
from adadecode.sim.serving.request import Request

LLAMA = find_model("llama-3.1-8b")


def of(*lengths: tuple[int, int]) -> list[Request]:
    return [
        Request(name=f"r{at}", arrival_s=float(at), n_prompt=prompt, n_output=output)
        for at, (prompt, output) in enumerate(lengths)
    ]


def test_a_request_may_fill_all_positions_and_no_more() -> None:
    check_positions(of((131_000, 72)), LLAMA)
    with pytest.raises(InputError, match=r"131,072 positions, got request r1 of 131,073"):
        check_positions(of((10, 10), (131_000, 73)), LLAMA)


def test_a_model_that_nobody_knows_refuses_nothing() -> None:
    check_positions(of((10**6, 10**6)), None)


def test_the_same_load_is_compared_without_a_word() -> None:
    load = of((1000, 200), (500, 100))
    assert other_load(load, load) is None
    assert other_load(load, of((1000, 200), (500, 101))) is None  # a text that ended a token later


@pytest.mark.parametrize(
    "measured", [of((1000, 200)), of((1000, 200), (500, 400)), of((10, 200), (50, 100))]
)
def test_another_load_is_named(measured: list[Request]) -> None:
    found = other_load(of((1000, 200), (500, 100)), measured)
    assert found is not None
    assert "simulated: 2 requests of 750 and 150 tokens" in found
