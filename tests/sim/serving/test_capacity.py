"""What-ifs of a load: the curve, the plan and the crossover are those of the parts."""

from __future__ import annotations

from typing import Any

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim import ExitPolicy, Server, crossover, load_curve, plan_devices
from adadecode.sim.serving import capacity
from adadecode.sim.serving.capacity import LOAD
from adadecode.sim.serving.metrics.replications import Replications
from adadecode.sim.serving.served_run import run_server
from adadecode.sim.serving.workloads import arrivals
from tests.support.synthetic_profile import synthetic_profile

SPEC = "poisson:{load},count=30,prompt=40,output=6..12"
MODEL: dict[str, Any] = {"model": "llama-3.1-8b"}
ON: dict[str, Any] = {"device": "h100-sxm", **MODEL}


def test_a_point_of_a_curve_is_the_mean_over_seeds() -> None:
    found = load_curve(None, SPEC, [4, 40.5], seeds=2, server=Server(replicas=2), **ON)
    assert set(found["load"]) == {4, 40.5}
    runs = Replications(
        runs=tuple(
            run_server(
                None, arrivals(SPEC.replace(LOAD, "40.5"), seed=seed), Server(replicas=2), **ON
            ).metrics
            for seed in range(2)
        )
    )
    rows = found[found["load"] == 40.5].set_index(["metric", "statistic"])
    for metric, statistic in (("ttft_s", "p99"), ("throughput", "requests_per_s")):
        interval = runs.interval(metric, statistic)
        assert interval is not None
        row = rows.loc[(metric, statistic)]
        assert (row["mean"], row["low"], row["high"]) == (
            interval.mean,
            interval.low,
            interval.high,
        )
    assert set(rows["verdict"]) == {str(runs.verdict)}


def test_a_plan_has_the_fewest_servers_of_each_device() -> None:
    load = "poisson:40,count=60,prompt=400,output=20..60"
    found = plan_devices(
        None,
        load,
        "ttft_p99=1s,tpot_p99=60ms",
        ["a100-80gb-sxm", "h100-sxm"],
        prices={"a100-80gb-sxm": 1.5, "h100-sxm": 3.0},
        model="llama-3.1-8b",
        seeds=1,
    )
    assert [one.candidate.name for one in found.deployments] == ["a100-80gb-sxm", "h100-sxm"]
    assert all(one.meets for one in found.deployments)
    assert found.cheapest is not None


@pytest.mark.parametrize("words", [{}, {"server": Server()}, {"server": Server(kv_blocks=3000)}])
@pytest.mark.parametrize("routing", [None, "round-robin", "prefix-aware"])
def test_a_plan_sends_requests_to_the_least_loaded_server_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], routing: str | None
) -> None:
    """However each server is set."""
    planned: list[str] = []
    monkeypatch.setattr(capacity, "plan", lambda *_, routing, **__: planned.append(routing))
    more = words if routing is None else {**words, "routing": routing}
    plan_devices(None, SPEC.replace(LOAD, "4"), "e2e_p99=1h", ["h100-sxm"], **MODEL, **more)
    assert planned == [routing or "least-loaded"]


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (Server(replicas=3), "finds how many servers there are, got 3 replicas"),
        (Server(routing="prefix-aware"), "the routing of a plan as routing='prefix-aware'"),
    ],
)
def test_what_a_plan_finds_is_not_given(server: Server, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_devices(
            None, SPEC.replace(LOAD, "4"), "e2e_p99=1h", ["h100-sxm"], server=server, **MODEL
        )


def test_a_crossover_serves_every_load_both_ways(tmp_path_factory: pytest.TempPathFactory) -> None:
    profile = synthetic_profile(tmp_path_factory.mktemp("capacity") / "p")
    found = crossover(
        profile,
        "closed:{load},count=8,prompt=4,output=6",
        [1, 4],
        ExitPolicy(gamma=0.5),
        server=Server(kv_blocks=100),
    )
    assert [one.load for one in found.points] == [1, 4]
    assert all(one.gain > 0 for one in found.points)


@pytest.mark.parametrize(
    ("spec", "loads", "seeds", "message"),
    [
        ("poisson:5,count=3,prompt=4,output=2", [1], 1, "in the place of the load"),
        (SPEC, [], 1, "one load and one seed at least"),
        (SPEC, [1], 0, "one load and one seed at least"),
        (SPEC, [-1], 1, "as a number from"),
    ],
)
def test_what_makes_no_curve_is_refused(
    spec: str, loads: list[float], seeds: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_curve(None, spec, loads, seeds=seeds, **ON)
