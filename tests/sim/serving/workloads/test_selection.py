"""What is taken of a trace, and how it is scaled."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads import Selection, read_requests, read_workload


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "t.csv"
    rows = [f"{10 + second},{100 + second},{second + 1}" for second in range(200)]
    header = "arrived_at,num_prefill_tokens,num_decode_tokens"
    path.write_text("\n".join([header, *rows]))
    return path


def test_a_window_begins_at_its_start(trace: Path) -> None:
    found = read_requests(trace, selection=Selection(window_s=(5, 8)))
    assert [(one.arrival_s, one.n_prompt) for one in found] == [(0, 105), (1, 106), (2, 107)]


def test_the_first_ones_are_those_of_the_window(trace: Path) -> None:
    found = read_requests(trace, selection=Selection(window_s=(5, 50), first=2))
    assert [one.n_prompt for one in found] == [105, 106]


def test_a_sample_keeps_its_share_and_its_seed(trace: Path) -> None:
    one, same, other = (
        read_requests(trace, selection=Selection(sample=0.25, seed=seed)) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other
    assert 30 <= len(one) <= 70
    assert {request.n_prompt - 100 for request in one} == {request.arrival_s for request in one}


def test_rates_and_lengths_are_scaled(trace: Path) -> None:
    scaled = Selection(first=3, rate_scale=4, prompt_scale=0.5, output_scale=0.25)
    found = read_requests(trace, selection=scaled)
    assert [one.arrival_s for one in found] == [0, 0.25, 0.5]
    assert [one.n_prompt for one in found] == [50, 51, 51]
    assert [one.n_output for one in found] == [1, 1, 1]


def test_the_rate_is_that_of_the_gaps(trace: Path) -> None:
    found = read_workload(trace, selection=Selection(first=11, rate_scale=2))
    assert (found.seconds, found.rate) == (5, 2)
    assert list(found.to_frame().columns) == ["name", "arrival_s", "n_prompt", "n_output"]


def test_a_longer_prompt_is_like_no_other_in_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"input_toks": 32, "output_toks": 1, "arrival_time_ns": 0, "hash_ids": [0, 1]}\n' * 2
    )
    first, second = read_requests(path, selection=Selection(prompt_scale=2))
    assert first.blocks[:2] == second.blocks[:2] == (0, 1)
    assert len({*first.blocks[2:], *second.blocks[2:]}) == 4


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"window_s": (5.0, 5.0)}, "ends after 5 s, where it starts, got 5 s"),
        ({"window_s": (-1.0, 5.0)}, "the start of the window"),
        ({"first": 0}, "the first requests, 1 or more, got 0"),
        ({"sample": 0.0}, "a share above 0, up to 1, got 0"),
        ({"sample": float("nan")}, "a share above 0, up to 1, got nan"),
        ({"seed": -1}, "the seed as a whole number from 0 on, got -1"),
        ({"rate_scale": 0.0}, "rate_scale as a number in .*, got 0"),
        ({"output_scale": float("inf")}, "output_scale as a number in .*, got inf"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(choice, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Selection(**choice)


def test_lengths_beyond_every_model_are_refused(trace: Path) -> None:
    with pytest.raises(
        InputError, match=r"at most 10,000,000 tokens, got 299 times 1e[+]06: lower"
    ):
        read_requests(trace, selection=Selection(prompt_scale=1e6))


def test_an_empty_choice_says_how_long_the_trace_is(trace: Path) -> None:
    with pytest.raises(InputError, match=r"got none of its 200 in 199.000 s: take a wider window"):
        read_requests(trace, selection=Selection(window_s=(500, 600)))
