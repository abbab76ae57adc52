"""Drafting by load, the order worth, and the load from which on early exits do not pay."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from adadecode.profiles.errors import DesignError, InputError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.scheduler import Round
from adadecode.sim.serving.batching.segment_order import Waiting, Worth
from adadecode.sim.serving.crossover import Crossover, LoadGain, find_crossover
from adadecode.sim.serving.exits.descent_shares import DescentShares
from adadecode.sim.serving.exits.descents import PLAIN, Descents
from adadecode.sim.serving.exits.exit_policy import ExitPolicy
from adadecode.sim.serving.exits.expected_rate import LoadPoint
from adadecode.sim.serving.latency.segment_times import SegmentTimes, TypicalStep
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics, measure
from adadecode.sim.serving.request import ServedRequest
from adadecode.sim.serving.served_run import Server, run_server
from adadecode.sim.serving.workloads import arrivals
from adadecode.sim.synthetic.head_model import HeadModel
from adadecode.sim.synthetic.synthetic_profile import write_synthetic
from adadecode.sim.synthetic.trace_generator import alike
from tests.support.paths import ROOT
from tests.support.serving import request

SERVER = Server(kv_blocks=20_000)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A synthetic trace of a model with 32 layers, whose heads are right more often when deep."""
    heads = HeadModel.of(depths=(8, 16), n_layers=32, agreement=(0.6, 0.85))
    out = tmp_path_factory.mktemp("by_load") / "t"
    return write_synthetic(out, {"synthetic": heads}, alike(8, n_output=64), followed=500)[0]


def figures(
    texts: Profile, spec: str, policy: str | None, server: Server = SERVER, **more: object
) -> LoadMetrics:
    exits = None if policy is None else ExitPolicy(policy=policy, trace=texts, **more)  # type: ignore[arg-type]
    run = run_server(
        None, arrivals(spec, seed=1), server, device="h100-sxm", model="llama-3.1-8b", exits=exits
    )
    return run.metrics


QUICK = (
    "closed:1,count=4,prompt=100,output=32",
    "closed:24,count=48,prompt=100,output=32",
    "poisson:20,count=40,prompt=400,output=24",
)
LONG = (
    "closed:8,count=32,prompt=100,output=48",
    "closed:64,count=192,prompt=100,output=48",
    "closed:160,count=480,prompt=100,output=48",
    "poisson:60,count=200,prompt=200,output=48",
    "poisson:120,count=120,prompt=800,output=24",
)


@pytest.mark.parametrize("in_flight", [1, 2, 4, 8])
def test_drafting_by_load_knows_a_recording_of_the_demo_model(in_flight: int) -> None:
    """Around the crossover, where averages alone would leave off too early.

    Lengths differ: equal ones let requests that draw the same text move in step, which costs less.
    """
    profile = read_profile(ROOT / "profiles/recorded/demo-cpu")
    spec = f"closed:{in_flight},count=64,prompt=60,output=20..60"
    exits = ExitPolicy(policy="adaptive", gamma=0.9, heads=(4, 8))
    run = run_server(profile, arrivals(spec, seed=1), Server(kv_blocks=400), exits=exits)
    mean = {name: one.e2e_s.mean for name, one in run.policies.items()}
    assert mean["adaptive"] <= 1.03 * min(mean["vanilla"], mean["adadecode"])


@pytest.mark.parametrize(
    "spec", [*QUICK, *(pytest.param(spec, marks=pytest.mark.slow) for spec in LONG)]
)
def test_drafting_by_load_is_hardly_worse_than_the_better_of_both(
    texts: Profile, spec: str
) -> None:
    found = {
        policy: figures(texts, spec, policy).e2e_s.mean
        for policy in (None, "adadecode", "adaptive")
    }
    assert found["adaptive"] <= 1.03 * min(found[None], found["adadecode"])


def test_each_order_answers_everybody_and_worth_is_no_slower_than_deepest(texts: Profile) -> None:
    spec = "closed:12,count=24,prompt=50,output=24"
    mean = {
        order: figures(texts, spec, "adadecode", order=order).e2e_s.mean
        for order in ("lockstep", "deepest", "largest", "worth")
    }
    assert mean["worth"] <= 1.05 * min(mean.values())


def test_the_worthiest_batch_runs_and_nobody_starves() -> None:
    worth = {0: 3.0, 1: 5.0, 2: 5.0}
    rule = Worth(lambda segment, count: worth[segment] * count, age_limit=4)
    assert rule.choose([Waiting(0, 0), Waiting(1, 0), Waiting(2, 0)]) == 2
    assert rule.choose([Waiting(0, 0), Waiting(0, 0), Waiting(1, 0)]) == 0
    assert rule.choose([Waiting(0, 0), Waiting(0, 0), Waiting(1, 4)]) == 1
    with pytest.raises(InputError, match="age_limit"):
        Worth(lambda *_: 1.0, age_limit=0)


def test_averages_of_walks_are_those_of_their_rounds() -> None:
    """Three descents: an exit that holds, one that does not, and one to the last layer."""
    done = Round(
        start=9,
        exits=(2, 4),
        accepted=1,
        committed=2,
        work=((0, 1), (0, 1), (1, 2), (0, 1), (1, 1), (2, 3)),
        checks=(2, 2, 4, 2),
    )
    shares = DescentShares.of([done], (0, 2, 4, 8))
    assert shares.reach == pytest.approx((1, 2 / 3, 1 / 3))
    assert shares.tokens == pytest.approx((1, 1.5, 3))
    assert shares.checks == pytest.approx((1, 1 / 3, 0))
    assert shares.verified == pytest.approx(1)
    assert shares.committed == pytest.approx(2 / 3)
    assert shares.ahead == pytest.approx((2 / 3, 0.5, 1))
    descents = Descents.of([done], (0, 2, 4, 8))
    assert descents.tokens.tolist() == [[1, 0, 0], [1, 2, 0], [1, 1, 3]]
    assert descents.checks.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert descents.verified.tolist() == [0, 0, 3]
    assert descents.committed.tolist() == [0, 0, 2]


class _Seconds:
    """Times of steps: 1 s for each token of each layer, and 10 s for the host of a step."""

    def typical(self, step: TypicalStep) -> float:
        return 10 + step.n_layers * (step.sequences * step.tokens + step.prompt)


def test_beside_a_prompt_the_host_of_every_further_segment_counts() -> None:
    """Two layers, one sequence without drafts, a prompt of 4 tokens: alone 10 + 2 * 4 = 18 s.

    In one step both take 10 + 2 * 5 s, 2 of them for the token. In two they take 10 s more.
    """
    walk = Round(start=9, exits=(), accepted=0, committed=1, work=((0, 1), (1, 1)), checks=())
    two, load = Descents.of([walk], (0, 1, 2)), LoadPoint(sequences=1, context=9, prompt=4)
    times: SegmentTimes = _Seconds()  # type: ignore[assignment]
    assert PLAIN.seconds_per_token(times, (2,), load) == pytest.approx(2)
    assert two.seconds_per_token(times, (1, 1), load) == pytest.approx(12)
    assert two.seconds_per_token(times, (1, 1), replace(load, prompt=0)) == pytest.approx(22)


def takes(seconds: float) -> LoadMetrics:
    """Return figures of requests that take so long."""
    served = ServedRequest(request=request("0"), scheduled_s=0.0, token_s=(seconds,))
    return measure([served])


def gains(*each: float) -> Crossover:
    """Return loads 1, 4, 16 and so on with these gains."""
    return Crossover(
        points=tuple(
            LoadGain(load=4.0**place, vanilla=takes(gain), exits=takes(1.0))
            for place, gain in enumerate(each)
        )
    )


@pytest.mark.parametrize(
    ("found", "at"),
    [
        (gains(1.5, 0.5), 2.0),  # half way from 1 to 4, over the logarithm
        (gains(2.0, 1.25, 0.75), 8.0),
        (gains(1.5, 0.5, 1.5, 0.5), 32.0),  # the last of two
        (gains(0.5, 1.5, 0.5), 8.0),  # not the smallest load: they pay at the second
        (gains(1.5, 1.0), 4.0),
        (gains(1.5, 0.5, 1.5), None),
        (gains(0.5, 1.5), None),
        (gains(1.5), None),
        (gains(0.9, 0.8), 1.0),
    ],
)
def test_the_crossover_is_the_load_from_which_on_exits_do_not_pay(
    found: Crossover, at: float | None
) -> None:
    assert found.at == (None if at is None else pytest.approx(at))
    assert found.to_json()["at"] == found.at


def test_each_load_is_served_by_both() -> None:
    exits = ExitPolicy()
    seconds = {(2.0, None): 3.0, (2.0, exits): 2.0, (8.0, None): 4.0, (8.0, exits): 8.0}
    found = find_crossover([2.0, 8.0], lambda *asked: takes(seconds[asked]), exits)
    assert [one.gain for one in found.points] == [1.5, 0.5]
    assert found.at == pytest.approx(4.0)


@pytest.mark.parametrize("loads", [[], [8, 1], [0, 1], [1, math.inf], [math.nan], [1, math.nan]])
def test_loads_that_do_not_rise_are_refused(loads: list[float]) -> None:
    with pytest.raises(InputError, match="rising loads"):
        find_crossover(loads, lambda *_: takes(1.0), ExitPolicy())


def test_each_seed_of_requests_draws_its_own_texts(texts: Profile) -> None:
    """Requests of equal lengths in a closed loop differ by their texts alone."""
    spec = "closed:1,count=6,prompt=50,output=20"
    runs = [
        run_server(
            None, arrivals(spec, seed=seed), SERVER, device="h100-sxm", model="llama-3.1-8b",
            exits=ExitPolicy(trace=texts),
        ).load.served
        for seed in (0, 1)
    ]  # fmt: skip
    requests = [[one.request for one in run] for run in runs]
    assert [one.n_output for one in requests[0]] == [one.n_output for one in requests[1]]
    assert [one.token_s[-1] for one in runs[0]] != [one.token_s[-1] for one in runs[1]]


def test_wrong_names_are_refused(texts: Profile) -> None:
    with pytest.raises(DesignError, match="unknown order"):
        figures(texts, QUICK[0], "adadecode", order="deep")
    with pytest.raises(DesignError, match="unknown policy"):
        figures(texts, QUICK[0], "oracle")


def test_heads_take_memory_from_keys_and_values(texts: Profile) -> None:
    """Two heads of 4,096 x 4,096 numbers of 2 bytes, of blocks of 2 MiB: 32 blocks."""
    blocks = [
        run_server(
            None,
            arrivals("closed:1,count=2,prompt=20,output=4"),
            Server(),
            device="h100-sxm",
            model="llama-3.1-8b",
            exits=exits,
        ).settings.kv_blocks
        for exits in (None, ExitPolicy(trace=texts))
    ]
    assert blocks[0] - blocks[1] == 32
