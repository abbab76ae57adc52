"""The smallest deployment of each device, on servers whose steps have a price by hand."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.errors import InputError, LatencyError
from adadecode.sim.serving.latency.found_steps import StepsWanted, find_steps
from adadecode.sim.serving.metrics import Slo, measure
from adadecode.sim.serving.planning import candidate_runs
from adadecode.sim.serving.planning import plan as planning
from adadecode.sim.serving.planning.bottleneck import Bottleneck, bottleneck
from adadecode.sim.serving.planning.candidate import Candidate
from adadecode.sim.serving.planning.least_work import replicas_for_work
from adadecode.sim.serving.planning.plan import plan
from adadecode.sim.serving.planning.prices import read_prices
from adadecode.sim.serving.planning.sizing import LeftTrial
from adadecode.sim.serving.planning.sure_miss import SureMiss
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.scheduling.step import StepWork
from adadecode.sim.serving.server import TimeShares
from adadecode.sim.serving.workloads import Workload, arrivals


def price(fixed_s: float, token_s: float):
    """Return steps that take some time, and more for every token."""
    return lambda work: fixed_s + token_s * work.n_tokens


def candidate(name: str = "fast", *, factor: float = 1.0, blocks: int = 10_000, **more):
    return Candidate(
        name=name,
        settings=ServerSettings(kv_blocks=blocks),
        price=price(0.010 * factor, 0.0001 * factor),
        **more,
    )


def load(rate: float, count: int = 150):
    def draw(seed: int) -> Workload:
        return arrivals(f"poisson:{rate},count={count},prompt=256,output=20..60", seed=seed)

    return draw


SLO = Slo.parse("ttft_p99=500ms,tpot_mean=30ms")


def test_more_load_and_slower_devices_need_more_replicas() -> None:
    fast, slow = candidate(), candidate("slow", factor=2)
    few = plan([fast, slow], load(10), SLO, seeds=3)
    many = plan([fast, slow], load(60), SLO, seeds=3)
    for found in (few, many):
        assert found.deployments[0].trial.replicas <= found.deployments[1].trial.replicas
    for before, after in zip(few.deployments, many.deployments, strict=True):
        assert before.trial.replicas < after.trial.replicas


def test_the_chosen_number_meets_the_objectives_and_one_less_does_not() -> None:
    (found,) = plan([candidate()], load(60), SLO, seeds=3).deployments
    chosen, below = found.sizing.chosen, found.sizing.below
    assert chosen is not None
    assert below is not None
    assert below.replicas == chosen.replicas - 1
    assert min(one.mean for one in chosen.margins.values()) >= 0
    assert min(one.mean for one in below.margins.values()) < 0 or below.runs.verdict == "overloaded"


def test_costs_are_those_of_all_devices_for_what_comes_out() -> None:
    priced = candidate(devices=2, hourly=3.0)
    found = plan([priced, candidate("other", factor=1.5)], load(10), SLO, seeds=3)
    first = found.deployments[0]
    rate = first.trial.runs.interval("throughput", "output_tokens_per_s")
    assert rate is not None
    assert first.devices == 2 * first.trial.replicas
    assert first.hourly == 3.0 * first.devices
    assert first.cost_per_million == pytest.approx(1e6 * first.hourly / 3600 / rate.mean)
    assert found.deployments[1].cost_per_million is None
    assert found.cheapest is first


def test_too_few_blocks_bind_by_memory() -> None:
    """A replica of 60 blocks holds three requests at a time."""
    (found,) = plan([candidate(blocks=61)], load(20), SLO, seeds=1).deployments
    assert found.binds is Bottleneck.MEMORY
    (enough,) = plan([candidate()], load(20), SLO, seeds=1).deployments
    assert enough.trial.replicas < found.trial.replicas


@pytest.mark.parametrize(
    ("ridge", "binds"),
    [(1e9, Bottleneck.BANDWIDTH), (1, Bottleneck.COMPUTE), (None, Bottleneck.DEVICE)],
)
def test_steps_below_the_ridge_are_bound_by_bandwidth(
    ridge: float | None, binds: Bottleneck
) -> None:
    slow_steps = Slo.parse("tpot_mean=12ms")
    (found,) = plan([candidate(ridge_tokens=ridge)], load(40), slow_steps, seeds=1).deployments
    assert found.binds is binds


@pytest.mark.parametrize(
    ("preempted", "binds"), [(0, "bandwidth"), (1, "bandwidth"), (5, "bandwidth"), (6, "memory")]
)
def test_a_few_requests_that_lost_their_memory_do_not_make_it_bind(
    preempted: int, binds: str
) -> None:
    """Six of a hundred are more than one in twenty."""
    served = [
        ServedRequest(
            request=Request(name=str(n), arrival_s=float(n), n_prompt=4, n_output=2),
            scheduled_s=float(n),
            token_s=(n + 0.5, n + 0.75),
            preemptions=3 * (n < preempted),
        )
        for n in range(100)
    ]
    shares = TimeShares(kept_out=0.0, by_tokens={4: 1.0})
    assert bottleneck(measure(served), shares, "tpot_mean", 100.0) == binds


def test_what_binds_is_what_binds_in_most_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of three runs would say the queue."""
    said = iter([Bottleneck.QUEUE, Bottleneck.BANDWIDTH, Bottleneck.BANDWIDTH])
    monkeypatch.setattr(candidate_runs, "bottleneck", lambda *_: next(said))
    slow_steps = Slo.parse("tpot_mean=5ms")
    (found,) = plan([candidate()], load(5, 40), slow_steps, most_replicas=1, seeds=3).deployments
    assert found.sizing.below is not None
    assert len(found.sizing.below.runs.runs) == 3
    assert found.binds is Bottleneck.BANDWIDTH


def test_an_objective_that_nothing_meets_is_told_with_how_much_is_missing() -> None:
    impossible = Slo.parse("tpot_mean=5ms")  # a step takes 10 ms
    found = plan([candidate()], load(5, 40), impossible, most_replicas=4, seeds=1)
    (one,) = found.deployments
    assert not one.meets
    assert one.trial.replicas == 4
    assert one.trial.margins["tpot_mean"].mean < -1
    assert found.cheapest is None
    assert one.to_json()["meets"] is False
    assert one.out_of_reach == "tpot_mean"
    assert one.to_json()["margins_alone"]["tpot_mean"] == pytest.approx(1 - 10.1 / 5)
    crowded = plan([candidate()], load(60), SLO, most_replicas=1, seeds=1).deployments[0]
    assert not crowded.meets
    assert crowded.out_of_reach is None


def test_the_document_and_the_frame_hold_every_trial() -> None:
    found = plan([candidate(hourly=1.0), candidate("slow", factor=2)], load(30), SLO, seeds=3)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [one["device"] for one in document["deployments"]] == ["fast", "slow"]
    assert document["slo"] == "ttft_p99=0.5s,tpot_mean=0.03s"
    frame = found.to_frame()
    assert len(frame) == sum(len(one["trials"]) for one in document["deployments"])
    assert frame[frame["chosen"]]["replicas"].tolist() == [
        one["replicas"] for one in document["deployments"]
    ]


def test_the_same_arguments_give_the_same_plan() -> None:
    one, same = (plan([candidate()], load(30), SLO, seeds=3).to_json() for _ in range(2))
    assert one == same


def test_candidates_are_told_apart_by_their_names() -> None:
    with pytest.raises(InputError, match=r"of different names, got \['fast', 'fast'\]"):
        plan([candidate(), candidate()], load(1), SLO)


OBJECTIVES = st.sampled_from(
    ["ttft_p99=120ms", "ttft_mean=60ms", "tpot_p90=18ms", "itl_p99=40ms", "itl_mean=14ms",
     "e2e_p50=700ms", "ttft_p95=1h", "ttft_p99=300ms,tpot_mean=16ms"]
)  # fmt: skip


@given(OBJECTIVES, st.floats(1, 40), st.integers(0, 99), st.sampled_from([0.0, 0.5]))
def test_runs_that_are_left_change_no_answer(
    objectives: str, rate: float, seed: int, warmup_s: float
) -> None:
    """The fewest replicas, their figures, and those of one less are what whole runs give."""
    slo = Slo.parse(objectives)

    def planned() -> tuple[list[object], str]:
        (found,) = plan(
            [candidate(blocks=90, ridge_tokens=40)],
            lambda number: load(rate, 60)(seed + number),
            slo,
            most_replicas=6,
            warmup_s=warmup_s,
        ).deployments
        both = [found.sizing.chosen, found.sizing.below]
        return [one and (one.to_json(), one.runs.to_json()) for one in both], str(found.binds)

    early = planned()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SureMiss, "__call__", lambda *_: False)
        patch.setattr(planning, "replicas_for_work", lambda *_: 1)
        assert planned() == early


def test_a_run_that_misses_for_sure_is_left() -> None:
    (found,) = plan([candidate()], load(60), Slo.parse("ttft_p99=500ms"), seeds=1).deployments
    left = [one for one in found.sizing.trials if isinstance(one, LeftTrial)]
    assert [one.to_json()["missed_early"] for one in left] == ["ttft_p99"] * len(left)
    frame = plan([candidate()], load(60), Slo.parse("e2e_p50=1s"), seeds=1).to_frame()
    assert frame["replicas"].is_monotonic_increasing
    assert frame["chosen"].sum() == 1


def test_candidates_in_processes_come_to_the_same() -> None:
    drawn, slo = load(25, 40), Slo.parse("ttft_p99=200ms")
    wanted = StepsWanted(
        device="h100-sxm", model="llama-3.1-8b", context=400, prompt=256, tokens=2048
    )
    steps = find_steps(None, wanted)
    both = [
        Candidate(name=name, settings=ServerSettings(kv_blocks=blocks), price=steps.price)
        for name, blocks in (("one", 100), ("two", 900))
    ]
    alone = plan(both, drawn, slo, most_replicas=3).to_json()
    assert plan(both, drawn, slo, most_replicas=3, processes=2).to_json() == alone


class Ends:
    """A price that ends its process."""

    def __call__(self, work: StepWork) -> float:
        os._exit(3)


@pytest.mark.slow
def test_a_process_that_ends_is_one_clear_sentence() -> None:
    both = [
        Candidate(name=name, settings=ServerSettings(kv_blocks=900), price=Ends())
        for name in ("one", "two")
    ]
    with pytest.raises(InputError, match="a process ended while it planned a device"):
        plan(both, load(25, 40), SLO, processes=2)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 0.0, -1.0])
def test_steps_that_take_no_time_are_refused(seconds: float) -> None:
    one = Candidate(name="odd", settings=ServerSettings(kv_blocks=900), price=lambda _: seconds)
    message = rf"wanted steps that take time, got one of {seconds} s of odd: check its latencies"
    with pytest.raises(LatencyError, match=message):
        plan([one], load(30), SLO)


def test_the_search_begins_where_replicas_would_be_busy() -> None:
    """11 requests in 10 s: 1,100 prompt tokens of 1 s each, in steps of 2,048, and no other work.

    A step costs a second a token here, so that 1,100 s in 10 s keep 110 replicas busy.
    """
    requests = tuple(
        Request(name=str(n), arrival_s=float(n), n_prompt=100, n_output=1) for n in range(11)
    )
    one = Candidate(
        name="one",
        settings=ServerSettings(kv_blocks=900),
        price=lambda work: float(work.n_tokens),
    )
    assert replicas_for_work(one, Workload(requests=requests, source="by hand")) == 110


def test_the_load_is_the_same_for_all() -> None:
    asked: list[int] = []

    def draw(seed: int) -> Workload:
        asked.append(seed)
        return load(30)(seed)

    plan([candidate(), candidate("slow", factor=2)], draw, SLO, seeds=3)
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wanted prices in .*, got none: add a line like"),
        ("a100 = 'much'", "the price of an hour of a100 in .*, got much"),
        ("a100 = 0", "the price of an hour of a100 in .*, got 0"),
        ("a100 = nan", "the price of an hour of a100 in .*, got nan"),
    ],
)
def test_prices_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_prices(path)


def test_prices_are_read_by_device(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("a100-80gb-sxm = 1.79\nl4 = 1\n")
    assert read_prices(path) == {"a100-80gb-sxm": 1.79, "l4": 1}


def test_a_step_of_the_hand_made_price_counts_its_tokens() -> None:
    work = StepWork()
    work.add(5, 0)
    work.add(1, 9)
    assert price(1, 0.5)(work) == 4
