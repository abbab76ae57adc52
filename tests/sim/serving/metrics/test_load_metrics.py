"""The figures of a run: by hand, and of queues whose waits theory knows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics import ServerUse, Slo, errors, measure
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.workloads import arrivals
from tests.support.served_queue import served_queue


def request(name: str, arrival_s: float, n_output: int = 3) -> Request:
    return Request(name=name, arrival_s=arrival_s, n_prompt=100, n_output=n_output)


TWO = (
    ServedRequest(request=request("b", 2), scheduled_s=3, token_s=(5.0, 6.0, 10.0), preemptions=2),
    ServedRequest(request=request("a", 0), scheduled_s=0, token_s=(1.0, 2.0, 2.0)),
)


def test_a_run_is_summed_up_as_by_hand() -> None:
    found = measure(TWO)
    assert (found.ttft_s.mean, found.ttft_s.p50, found.ttft_s.p90) == pytest.approx((2, 2, 2.8))
    assert found.tpot_s is not None
    assert found.tpot_s.mean == 1.5
    assert found.itl_s is not None
    assert (found.itl_s.count, found.itl_s.mean) == (3, 2)
    assert found.e2e_s.mean == 5
    assert found.wait_s is not None
    assert found.wait_s.mean == 0.5
    assert found.seconds == 10
    assert found.throughput.requests_per_s == 0.2
    assert found.throughput.output_tokens_per_s == 0.6
    assert found.throughput.total_tokens_per_s == 20.6
    assert found.preemptions == 2
    assert list(found.table["name"]) == ["a", "b"]


def test_the_warm_up_is_cut() -> None:
    """Request a is left out; of its tokens those after the cut, at 1.5 s, count as output."""
    found = measure(TWO, warmup_s=1.5)
    assert (found.requests, found.warmup) == (1, 1)
    assert found.ttft_s.mean == 3
    assert found.seconds == 8.5
    assert found.throughput.requests_per_s == 2 / 8.5
    assert found.throughput.output_tokens_per_s == pytest.approx(5 / 8.5)
    with pytest.raises(InputError, match="after a warm-up of 3 s and are answered, got none of 2"):
        measure(TWO, warmup_s=3)


def test_what_was_not_measured_is_not_made_up() -> None:
    ends = ServedRequest(request=request("c", 0, 9), scheduled_s=math.nan, token_s=(1.0, 9.0))
    found = measure([ends])
    assert found.itl_s is None
    assert found.wait_s is None
    assert found.tpot_s is not None
    assert found.tpot_s.mean == 1
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["itl_s"] is None
    assert document["utilisation"] is None


def test_one_token_a_request_has_no_time_per_output_token() -> None:
    found = measure(served_queue([0.0, 1.0], [0.5, 0.5]))
    assert found.tpot_s is None
    assert found.itl_s is None


def test_goodput_counts_what_keeps_every_objective() -> None:
    found = measure(TWO, slo=Slo.parse("ttft_p99=1s,itl_p99=1s")).goodput
    assert found is not None
    assert (found.share, found.requests_per_s) == (0.5, 0.1)
    found = measure(TWO, slo=Slo.parse("e2e_p99=1min"), unfinished=[request("u", 3)]).goodput
    assert found is not None
    assert found.share == pytest.approx(2 / 3)


def test_the_use_of_a_server_is_told_as_its_engines_count_it() -> None:
    use = ServerUse(devices=2, busy_s=5, rounds=10, drafts=30, accepted=15, kv_mean=0.5, kv_peak=1)
    found = measure(TWO, use=use).to_json()
    assert found["utilisation"] == 0.25
    assert found["acceptance_length"] == 2.5
    assert found["acceptance_rate"] == 0.5
    assert (found["kv_mean"], found["kv_peak"]) == (0.5, 1)


def test_nothing_is_promised_that_nobody_fills() -> None:
    """Of a run of which all is known only the goodput is empty, which needs objectives."""
    use = ServerUse(devices=2, busy_s=5, rounds=10, drafts=30, accepted=15, kv_mean=0.5, kv_peak=1)
    found = measure(TWO, use=use).to_json()
    assert [name for name, value in found.items() if value is None] == ["goodput"]


def test_the_document_has_the_promised_keys() -> None:
    found = measure(TWO).to_json()
    for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        assert list(found[name]) == ["mean", "p50", "p90", "p95", "p99"]
    assert found["verdict"] == "stable"
    assert found["throughput"]["output_tokens_per_s"] == 0.6


def test_the_frame_has_a_row_for_each_request() -> None:
    frame = measure(TWO).to_frame().set_index("name")
    assert list(frame.index) == ["a", "b"]
    assert frame.loc["b", "ttft_s"] == 3
    assert frame.loc["b", "tpot_s"] == 2.5
    assert frame.loc["a", "wait_s"] == 0


def test_a_run_without_requests_or_time_is_refused() -> None:
    with pytest.raises(InputError, match="got none of 0"):
        measure([])
    with pytest.raises(InputError, match="wanted a run that takes time, got one of 0 s"):
        measure([ServedRequest(request=request("a", 1, 1), scheduled_s=1, token_s=(1.0,))])
    with pytest.raises(InputError, match="wanted the tokens of request a, got none"):
        measure([ServedRequest(request=request("a", 1), scheduled_s=1, token_s=())])


def test_a_queue_with_equal_gaps_and_equal_work_never_waits() -> None:
    """D/D/1: work of half the gap; every request takes just its work."""
    drawn = arrivals("constant:2,count=500,prompt=1,output=1").requests
    found = measure(served_queue([one.arrival_s for one in drawn], [0.25] * 500))
    assert found.wait_s is not None
    assert found.wait_s.p99 == 0
    assert found.e2e_s.mean == pytest.approx(0.25)
    assert found.throughput.requests_per_s == pytest.approx(500 / (499 * 0.5 + 0.25))


@pytest.mark.parametrize(
    ("works", "wait"),
    [
        pytest.param("exponential", 1.0, id="M/M/1"),  # load / (1 - load) times the work
        pytest.param("equal", 0.5, id="M/D/1"),  # half of it
    ],
)
def test_waits_are_those_of_theory(works: str, wait: float) -> None:
    """At a load of 0.5, with work of 1 s on average."""
    count = 200_000
    drawn = arrivals(f"poisson:0.5,count={count},prompt=1,output=1,seed=5").requests
    rng = np.random.default_rng(6)
    work = rng.exponential(size=count) if works == "exponential" else np.ones(count)
    found = measure(served_queue((one.arrival_s for one in drawn), work.tolist()), warmup_s=100)
    assert found.wait_s is not None
    assert found.wait_s.mean == pytest.approx(wait, rel=0.03)
    if works == "exponential":  # its time in the system is exponential too
        assert found.e2e_s.mean == pytest.approx(2, rel=0.03)
        assert found.e2e_s.p99 == pytest.approx(2 * math.log(100), rel=0.04)


def test_errors_are_relative_to_what_was_measured() -> None:
    slower = [
        ServedRequest(
            request=one.request,
            scheduled_s=one.scheduled_s,
            token_s=tuple(time + 1 for time in one.token_s),
        )
        for one in TWO
    ]
    found = errors(measure(slower), measure(TWO))
    assert found["ttft_s"]["mean"] == pytest.approx(0.5)
    assert found["e2e_s"]["mean"] == pytest.approx(0.2)
    assert found["tpot_s"]["mean"] == 0
    assert found["throughput"]["requests_per_s"] == pytest.approx(10 / 11 - 1)
    ends = ServedRequest(request=request("c", 0, 9), scheduled_s=math.nan, token_s=(1.0, 9.0))
    assert "itl_s" not in errors(measure(TWO), measure([ends]))
