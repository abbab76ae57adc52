"""Drawn arrivals: their rates and spreads, their seeds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads import arrivals

SIZES = "prompt=512,output=128"
MANY = f"count=40000,{SIZES}"


def gaps(spec: str) -> np.ndarray:
    times = [0.0, *(one.arrival_s for one in arrivals(spec).requests)]
    return np.diff(times)


@pytest.mark.parametrize(
    ("spec", "cv"),
    [
        ("poisson:5", 1),
        ("gamma:5,cv=2", 2),
        ("gamma:5,cv=0.5", 0.5),
        ("weibull:5,shape=0.7", 1.462),
        ("weibull:5,shape=2", 0.523),
        ("uniform:5", 1 / np.sqrt(3)),
        ("constant:5", 0),
    ],
)
def test_gaps_have_the_rate_and_the_spread_of_their_law(spec: str, cv: float) -> None:
    found = gaps(f"{spec},{MANY}")
    assert found.mean() == pytest.approx(0.2, rel=0.03)
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.03, abs=1e-9)


def test_a_ramp_has_the_rate_of_each_moment() -> None:
    """From 1 to 9 in 1,000 s: 5 a second on average, and 3 a second in its first half."""
    times = np.array(
        [one.arrival_s for one in arrivals(f"ramp:1..9,over=1000s,duration=2000s,{SIZES}").requests]
    )
    assert (times < 500).sum() == pytest.approx(1500, rel=0.05)
    assert (times < 1000).sum() == pytest.approx(5000, rel=0.05)
    assert (times >= 1000).sum() == pytest.approx(9000, rel=0.05)
    assert (np.diff(times) >= 0).all()


@pytest.mark.parametrize(("start", "end"), [(2, 2), (0, 4), (8, 2)])
def test_a_ramp_lays_equal_steps_along_its_rate(start: float, end: float) -> None:
    from adadecode.sim.serving.workloads.arrival_process import Ramp

    times = np.array([0.0, 1, 5, 10, 12])
    slope = (end - start) / 10
    inside = start * times + slope * times**2 / 2
    expected = np.where(times <= 10, inside, (start + end) * 5 + (times - 10) * end)
    assert Ramp(start, end, 10).seconds(expected) == pytest.approx(times)


def test_bursts_come_in_the_first_seconds_of_every_turn() -> None:
    spec = f"burst:1,peak=50,every=60s,lasting=6s,duration=1h,{SIZES}"
    times = np.array([one.arrival_s for one in arrivals(spec).requests])
    inside = times % 60 < 6
    assert inside.sum() == pytest.approx(60 * 300, rel=0.03)
    assert (~inside).sum() == pytest.approx(60 * 54, rel=0.06)


def test_the_same_seed_gives_the_same_pattern_at_every_rate() -> None:
    slow, fast = (arrivals(f"poisson:{rate},count=50,prompt=1..900,output=5") for rate in (1, 4))
    assert [one.arrival_s for one in slow.requests] == pytest.approx(
        [4 * one.arrival_s for one in fast.requests]
    )
    assert [one.n_prompt for one in slow.requests] == [one.n_prompt for one in fast.requests]


def test_seeds_are_told_apart_and_may_stand_in_either_place() -> None:
    spec = f"poisson:1,count=5,{SIZES}"
    assert arrivals(spec).requests == arrivals(spec, seed=0).requests
    assert arrivals(f"{spec},seed=3").requests == arrivals(spec, seed=3).requests
    assert arrivals(spec, seed=3).requests != arrivals(spec, seed=4).requests


def test_a_longer_duration_only_adds() -> None:
    short, long = (arrivals(f"poisson:90,duration={s}s,{SIZES}").requests for s in (60, 120))
    assert max(one.arrival_s for one in short) < 60
    assert long[: len(short)] == short
    assert arrivals(f"poisson:90,duration=60s,count=7,{SIZES}").requests == short[:7]


def test_a_closed_loop_says_how_many_are_in_flight() -> None:
    found = arrivals(f"closed:8,count=20,{SIZES}")
    assert found.in_flight == 8
    assert len(found.requests) == 20
    assert found.rate is None


@pytest.mark.parametrize(
    ("length", "mean", "low", "high"),
    [
        ("512", 512, 512, 512),
        ("100..900", 500, 100, 900),
        ("lognormal:300/0.5", 300, 10, 3000),
        ("geometric:40", 40, 1, 900),
    ],
)
def test_lengths_are_drawn_from_their_law(length: str, mean: float, low: int, high: int) -> None:
    found = [
        one.n_prompt
        for one in arrivals(f"constant:1,count=20000,prompt={length},output=1").requests
    ]
    assert np.mean(found) == pytest.approx(mean, rel=0.02)
    assert low <= min(found) <= max(found) <= high


def test_lengths_of_a_trace_stay_together(tmp_path: Path) -> None:
    pairs = [(10, 1), (20, 2), (30, 3)]
    found = arrivals("poisson:1,count=300", lengths=pairs).requests
    assert {(one.n_prompt, one.n_output) for one in found} == set(pairs)
    path = tmp_path / "lengths.csv"
    rows = "".join(f"{prompt},{output}\n" for prompt, output in pairs)
    path.write_text(f"num_prefill_tokens,num_decode_tokens\n{rows}")
    assert arrivals(f"poisson:1,count=300,lengths={path}").requests == found


@pytest.mark.parametrize(
    "text",
    [
        "3.5\n4\n4\n7.25\n",
        "arrived_at,num_prefill_tokens,num_decode_tokens\n3.5,1,1\n4,1,1\n4,9,9\n7.25,2,2\n",
    ],
)
def test_arrivals_of_a_file_get_lengths_that_are_drawn(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.txt"
    path.write_text(text)
    found = arrivals(f"times:{path},prompt=100..200,output=7", seed=3).requests
    assert [one.arrival_s for one in found] == [0.0, 0.5, 0.5, 3.75]
    assert {one.n_output for one in found} == {7}
    assert all(100 <= one.n_prompt <= 200 for one in found)
    other = arrivals(f"times:{path},prompt=100..200,output=7", seed=4).requests
    assert [one.n_prompt for one in other] != [one.n_prompt for one in found]
    for words, count in (("count=2", 2), ("duration=1s", 3), ("duration=1s,count=9", 3)):
        assert len(arrivals(f"times:{path},{words},{SIZES}").requests) == count
    with pytest.raises(InputError, match=r"wanted 5 arrivals, got 4 in .*times.txt"):
        arrivals(f"times:{path},count=5,{SIZES}")


def test_arrivals_of_a_file_that_run_backwards_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("1\n3\n2.5\n")
    with pytest.raises(InputError, match=r"got 2.5 s after 3 s in .*times.txt: sort the file"):
        arrivals(f"times:{path},{SIZES}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("poison:5", r"got 'poison:5': of the kinds of arrivals, the nearest are poisson"),
        ("poisson", "wanted a rate behind poisson, like poisson:5, got 'poisson'"),
        ("poisson:fast", "wanted poisson as a number from 1e-09 to 1e[+]09, got 'fast'"),
        ("poisson:0", "wanted poisson as a number from 1e-09 to"),
        ("poisson:nan", "wanted poisson as a number from 1e-09 to"),
        ("gamma:5", "wanted cv with gamma, like gamma:5,cv=2"),
        ("gamma:5,cv=0", "wanted cv as a number from 0.01 to 100"),
        ("ramp:5,over=9s", r"the rates of a ramp as START..END"),
        ("ramp:1..8,over=60", "wanted over as a duration with its unit"),
        ("burst:1,peak=8,every=5s,lasting=5s", "bursts that end before the next one"),
        ("closed:0", "wanted closed as a whole number from 1 to 1,000,000,000, got '0'"),
        ("poisson:5,count", "wanted WORD=VALUE between commas, got 'count'"),
        ("poisson:5,size=3", "wanted one of the words count, .*, got 'size'"),
        ("poisson:5,cv=3,count=1", "wanted one of the words count, .*, got 'cv'"),
        ("poisson:5,count=1,count=2", "wanted count once, got it twice"),
        (f"poisson:5,{SIZES}", "wanted how many requests arrive .*: add count=1000 or duration"),
        (f"closed:5,{SIZES}", "wanted a count, and no duration, in a closed loop"),
        (f"closed:5,count=4,duration=3s,{SIZES}", "wanted a count, and no duration, in a closed"),
        (f"poisson:5,count=0,{SIZES}", "wanted count from 1 to 2,000,000, got 0"),
        (f"poisson:5,count=-1,{SIZES}", "wanted count as a whole number from 1 to .*, got '-1'"),
        (f"constant:5,duration=1ms,{SIZES}", "got none that arrive before 0.001 s"),
        ("poisson:5,count=9,prompt=5", "wanted how long requests are .*: add prompt=512,output=1"),
        ("poisson:5,count=9,prompt=0,output=5", "wanted prompt as 512, 100..900 .*, got '0'"),
        ("poisson:5,count=9,prompt=9..5,output=5", "wanted prompt as 512, .*, got '9..5'"),
        ("poisson:5,count=9,prompt=lognormal:5,output=5", "wanted prompt as 512, .*lognormal:5"),
        (f"poisson:5,count=9,seed=x,{SIZES}", "wanted seed as a whole number from 0 on, .* 'x'"),
        (f"poisson:5,count={'9' * 5000},{SIZES}", "wanted count as a whole number from 1 to 2,0"),
        (f"poisson:5,count=9,seed={'9' * 5000},{SIZES}", "wanted seed as a whole number .*, got"),
        (f"closed:{'9' * 5000},count=9,{SIZES}", "wanted closed as a whole number from 1 to"),
        ("times:,count=9", "wanted a file behind times, like times:FILE"),
    ],
)
def test_a_specification_that_cannot_be_read_is_one_clear_sentence(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        arrivals(spec)


def test_what_is_said_twice_is_refused() -> None:
    spec = f"poisson:5,count=9,seed=1,{SIZES}"
    with pytest.raises(InputError, match=r"wanted count once, got it in .* and beside it"):
        arrivals(spec, count=3)
    with pytest.raises(InputError, match="wanted seed once"):
        arrivals(spec, seed=3)
    with pytest.raises(InputError, match="wanted lengths of a trace or prompt, got both"):
        arrivals(spec, lengths=[(1, 1)])
