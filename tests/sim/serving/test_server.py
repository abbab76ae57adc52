"""A server under load: what theory says of queues, and what holds for every load."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.errors import InputError, LatencyError
from adadecode.sim.serving.metrics import measure
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.routing import ROUTINGS
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.scheduling.steady_run import SteadyRun
from adadecode.sim.serving.scheduling.step import StepWork
from adadecode.sim.serving.server import ServedLoad, serve
from tests.support.serving import one_at_a_time, request


def by_tokens(work: StepWork) -> float:
    """Return the seconds of a step that takes a millisecond, and one for each token."""
    return 1e-3 * (1 + work.n_tokens)


def waits(load: ServedLoad) -> list[float]:
    return [one.token_s[-1] - one.request.arrival_s for one in load.served]


def poisson(count: int, rate: float, tokens: Sequence[int], seed: int) -> list[Request]:
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))
    return [
        request(str(n), arrival_s=float(at), n_prompt=size)
        for n, (at, size) in enumerate(zip(arrivals, tokens, strict=True))
    ]


def mean_stay(count: int, load: float, sizes: Sequence[int], seed: int) -> float:
    """Return the mean stay, in mean service times, of requests served one after the other."""
    mean = float(np.mean(sizes))
    requests = poisson(count, load / mean, sizes, seed)
    served = serve(requests, one_at_a_time(max(sizes)), lambda work: float(work.n_tokens))
    return float(np.mean(waits(served))) / mean


def queue(requests: Sequence[Request]) -> list[float]:
    """Return the stays of requests in a queue with one server, by Lindley's recursion."""
    free, stays = 0.0, []
    for one in requests:
        free = max(free, one.arrival_s) + one.n_prompt
        stays.append(free - one.arrival_s)
    return stays


@given(st.integers(0, 10**6), st.floats(0.1, 0.95))
def test_one_request_at_a_time_is_a_queue_with_one_server(seed: int, load: float) -> None:
    sizes = np.random.default_rng(seed).integers(1, 50, 60).tolist()
    requests = poisson(60, load / float(np.mean(sizes)), sizes, seed)
    served = serve(requests, one_at_a_time(50), lambda work: float(work.n_tokens))
    assert waits(served) == pytest.approx(queue(requests), rel=1e-9)


@pytest.mark.slow
def test_equal_requests_stay_as_long_as_in_an_m_d_1_queue() -> None:
    """At half load 1.5 service times; chance leaves 0.3 % of so many requests."""
    stays = [mean_stay(100_000, 0.5, [10] * 100_000, seed) for seed in range(4)]
    assert float(np.mean(stays)) == pytest.approx(1.5, rel=0.01)


@pytest.mark.slow
def test_exponential_requests_stay_as_long_as_in_an_m_m_1_queue() -> None:
    """At half load 2 service times; chance leaves 0.4 % of so many requests."""
    stays = []
    for seed in range(6):
        draws = np.random.default_rng(1000 + seed).exponential(1000, 100_000)
        sizes = np.maximum(np.rint(draws), 1).astype(int).tolist()
        stays.append(mean_stay(100_000, 0.5, sizes, seed))
    assert float(np.mean(stays)) == pytest.approx(2.0, rel=0.01)


def several_at_once(places: int, requests: Sequence[Request]) -> list[float]:
    """Return the stays of requests where each step takes 1 s, however many run."""
    settings = ServerSettings(
        kv_blocks=places * 1000, max_num_seqs=places, async_scheduling=False, prefix_caching=False
    )
    served = serve(requests, settings, lambda _: 1.0).served
    order = sorted(served, key=lambda one: int(one.request.name))
    return [one.token_s[-1] - one.request.arrival_s for one in order]


def outputs(count: int, gap: float, mean: float, seed: int) -> list[Request]:
    """Return requests with one token of prompt: Poisson arrivals, exponential outputs."""
    draws = np.random.default_rng(seed)
    sizes = np.ceil(draws.exponential(mean, count)).astype(int)
    gaps = draws.exponential(1.0, count)
    times = np.cumsum(gaps * gap * sizes.mean() / gaps.mean())
    return [
        request(str(n), arrival_s=float(at), n_prompt=1, n_output=size)
        for n, (at, size) in enumerate(zip(times, sizes.tolist(), strict=True))
    ]


@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0.1, 0.95))
def test_sequences_that_run_at_once_are_a_queue_with_so_many_servers(
    seed: int, places: int, load: float
) -> None:
    """Each ends as in that queue (Kiefer and Wolfowitz), or less than one step later."""
    requests = outputs(60, 1 / (places * load), 15, seed)
    free = [0.0] * places
    for one, stay in zip(requests, several_at_once(places, requests), strict=True):
        end = max(one.arrival_s, heapq.heappop(free)) + one.n_output
        heapq.heappush(free, end)
        assert -1e-6 <= one.arrival_s + stay - end <= 1 + 1e-6


@pytest.mark.slow
def test_sequences_that_run_at_once_stay_as_long_as_in_an_m_m_k_queue() -> None:
    """Four places at half load: 1 + C / 2 service times, C = 4 / 23 by Erlang's formula.

    Chance leaves 0.4 % of so many requests, and waiting for the next step 0.3 %.
    """
    stays = []
    for seed in range(3):
        requests = outputs(10_000, 1 / 2, 150, seed)
        mean = float(np.mean([one.n_output for one in requests]))
        stays.append(float(np.mean(several_at_once(4, requests))) / mean)
    assert float(np.mean(stays)) == pytest.approx(1 + 4 / 23 / 2, rel=0.01)


LOADS = st.lists(
    st.tuples(
        st.floats(0, 0.2), st.integers(1, 60), st.integers(1, 40), st.integers(0, 3), st.booleans()
    ),
    min_size=1,
    max_size=25,
)
SETTINGS = st.builds(
    ServerSettings,
    kv_blocks=st.integers(27, 60),
    block_size=st.just(4),
    max_batched_tokens=st.integers(1, 64),
    max_num_seqs=st.integers(1, 12),
    prefix_caching=st.booleans(),
    reserve_whole_prompt=st.booleans(),
    async_scheduling=st.booleans(),
)


def drawn(load: Sequence[tuple[float, int, int, int, bool]]) -> list[Request]:
    """Return requests; those of one group begin with the same text."""
    requests, now = [], 0.0
    for number, (gap, n_prompt, n_output, group, shares) in enumerate(load):
        now += gap
        blocks = tuple(
            1000 * group + place if shares and place < 5 else 10**6 * (number + 1) + place
            for place in range(n_prompt // 4)
        )
        requests.append(
            Request(
                name=str(number), arrival_s=now, n_prompt=n_prompt, n_output=n_output, blocks=blocks
            )
        )
    return requests


@given(LOADS, SETTINGS, st.integers(1, 3), st.sampled_from(["round-robin", "least-loaded"]))
def test_every_request_ends_once_in_order_of_time_and_leaves_no_block(
    load: list[tuple[float, int, int, int, bool]],
    settings: ServerSettings,
    replicas: int,
    routing: str,
) -> None:
    requests = drawn(load)
    found = serve(
        requests, settings, by_tokens, replicas=replicas, routing=routing, keep_steps=True
    )
    assert sorted(one.request.name for one in found.served) == sorted(one.name for one in requests)
    for one in found.served:
        assert len(one.token_s) == one.request.n_output
        times = [one.request.arrival_s, one.scheduled_s, *one.token_s]
        assert times == sorted(times)
        assert len(set(one.token_s)) == len(one.token_s)
    for server in range(replicas):
        steps = [step for step in found.steps if step.server == server]
        for before, after in pairwise(steps):
            assert after.start_s >= before.start_s + before.seconds - 1e-12
        assert all(step.kv_blocks <= settings.usable_blocks for step in steps)
        assert all(step.n_tokens <= settings.max_batched_tokens for step in steps)
        assert all(step.running <= settings.max_num_seqs for step in steps)
    assert found.n_steps == len(found.steps)
    assert found.blocks_at_end == (0,) * replicas
    again = serve(
        requests, settings, by_tokens, replicas=replicas, routing=routing, keep_steps=True
    )
    assert again.served == found.served
    assert again.steps == found.steps


def by_contexts(work: StepWork) -> float:
    """Return the seconds of a step that takes longer with more positions."""
    return by_tokens(work) + 1e-5 * sum(work.contexts)


@given(LOADS, SETTINGS, st.integers(1, 3), st.sampled_from(sorted(ROUTINGS)), st.integers(0, 9))
def test_steps_that_are_alike_come_to_the_same_as_each_by_itself(
    load: list[tuple[float, int, int, int, bool]],
    settings: ServerSettings,
    replicas: int,
    routing: str,
    in_flight: int,
) -> None:
    """Bit for bit, whoever arrives when, and with the same steps in the same order."""

    def run() -> ServedLoad:
        return serve(
            drawn(load),
            settings,
            by_contexts,
            in_flight=in_flight or None,
            replicas=replicas,
            routing=routing,
            keep_steps=True,
        )

    found = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SteadyRun, "of", lambda *_: None)
        each = run()
    assert found.served == each.served
    assert found.steps == each.steps
    assert (found.use, found.n_steps, found.hit_share) == (each.use, each.n_steps, each.hit_share)


def test_what_arrives_as_a_step_ends_is_in_the_next_one() -> None:
    """Whichever of both comes first in the queue of events."""
    settings = ServerSettings(kv_blocks=50, async_scheduling=False)
    for early in (0.0, 0.5, 1.5):
        requests = [
            request("a", n_prompt=1, n_output=9),
            request("b", arrival_s=early, n_prompt=1),
            request("c", arrival_s=4.0, n_prompt=1),
        ]
        served = serve(requests, settings, lambda _: 1.0).served
        assert {one.request.name: one.scheduled_s for one in served}["c"] == 4.0


def test_a_run_is_stopped_by_whoever_watches_it() -> None:
    requests = [request(str(n), arrival_s=float(n), n_prompt=4, n_output=3) for n in range(9)]
    seen: list[str] = []

    def watch(one: ServedRequest) -> bool:
        seen.append(one.request.name)
        return len(seen) == 4

    found = serve(requests, ServerSettings(kv_blocks=50), by_tokens, watch=watch)
    assert [one.request.name for one in found.served] == seen == ["0", "1", "2", "3"]


def test_a_prompt_goes_where_its_beginning_is() -> None:
    """Unless nobody knows it: then to the server with the fewest requests."""
    arriving = [(0, (1, 2, 3)), (0, (4, 5, 6)), (1, (4, 5, 7)), (2, (1, 8, 9)), (3, (10, 11))]
    requests = [
        request(str(n), arrival_s=float(at), n_prompt=13, n_output=2, blocks=blocks)
        for n, (at, blocks) in enumerate(arriving)
    ]
    settings = ServerSettings(kv_blocks=50, block_size=4)
    found = serve(
        requests, settings, by_tokens, replicas=2, routing="prefix-aware", keep_steps=True
    )
    assert {step.server for step in found.steps if step.start_s == 0} == {0, 1}
    later = {step.start_s: step.server for step in found.steps}
    assert [later[float(at)] for at in (1, 2, 3)] == [1, 0, 0]
    assert found.hit_share == pytest.approx((8 + 4) / 65)


def test_blocks_that_nobody_uses_take_no_memory() -> None:
    settings = ServerSettings(kv_blocks=10**9)
    found = serve([request("a", n_prompt=100, n_output=3)], settings, by_tokens, replicas=100)
    assert found.use.kv_peak == pytest.approx(7e-9)


def test_a_closed_loop_keeps_as_many_in_flight() -> None:
    requests = [request(str(n), n_prompt=8, n_output=4) for n in range(20)]
    settings = ServerSettings(kv_blocks=100, block_size=4, async_scheduling=False)
    found = serve(requests, settings, by_tokens, in_flight=3, keep_steps=True)
    assert len(found.served) == 20
    assert all(step.running == 3 for step in found.steps[:-8])
    assert all(one.scheduled_s == one.request.arrival_s for one in found.served)


def test_the_least_loaded_server_is_taken() -> None:
    requests = [
        request("long", n_prompt=100, n_output=50),
        *(request(str(n), arrival_s=0.01 * n, n_prompt=1) for n in range(1, 5)),
    ]
    settings = ServerSettings(kv_blocks=1000, async_scheduling=False)
    found = serve(
        requests, settings, by_tokens, replicas=2, routing="least-loaded", keep_steps=True
    )
    long = {step.server for step in found.steps if step.n_tokens > 90}
    short = {step.server for step in found.steps if step.start_s > 0.01 and step.n_sequences == 1}
    assert long == {0}
    assert 1 in short


def test_with_asynchronous_scheduling_a_request_waits_for_the_step_after_next() -> None:
    requests = [request("a", n_prompt=10, n_output=9), request("b", arrival_s=0.012, n_prompt=1)]
    first = {
        ahead: serve(
            requests, ServerSettings(kv_blocks=50, async_scheduling=ahead), by_tokens
        ).served[0]
        for ahead in (False, True)
    }
    # Steps end at 11, 13, 15 ms. "b" arrives at 12, when that until 13 runs.
    assert first[False].token_s[0] == pytest.approx(0.016)
    # Here the step until 15 was formed at 11, before "b" came.
    assert first[True].token_s[0] == pytest.approx(0.018)
    assert all(one.request.name == "b" for one in first.values())


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([], "wanted requests"),
        ([request("a", arrival_s=2.0), request("b", arrival_s=1.0)], "in the order of"),
        ([request("a", n_prompt=0)], "1 or more tokens"),
        ([request("a", n_prompt=10_000)], "needs 625 blocks"),
    ],
)
def test_what_cannot_be_served_is_refused(requests: list[Request], words: str) -> None:
    with pytest.raises(InputError, match=words):
        serve(requests, ServerSettings(kv_blocks=50), by_tokens)


def test_a_price_that_is_none_is_refused() -> None:
    with pytest.raises(LatencyError, match="steps that take time"):
        serve([request("a")], ServerSettings(kv_blocks=50), lambda _: 0.0)


def test_an_unknown_routing_is_refused() -> None:
    with pytest.raises(InputError, match="round-robin, least-loaded, prefix-aware"):
        serve([request("a")], ServerSettings(kv_blocks=50), by_tokens, routing="x")


def test_a_served_request_knows_its_times() -> None:
    found = serve([request("a", n_prompt=4, n_output=3)], ServerSettings(kv_blocks=9), by_tokens)
    (one,) = found.served
    assert one.request == request("a", n_prompt=4, n_output=3)
    assert (one.scheduled_s, one.preemptions) == (0.0, 0)
    assert one.token_s == pytest.approx((0.005, 0.007, 0.009))
    assert found.use.busy_s == pytest.approx(0.009)
    assert found.use.kv_peak == pytest.approx(1 / 8)


@pytest.mark.parametrize("ahead", [False, True])
def test_blocks_in_use_are_averaged_over_all_time(ahead: bool) -> None:
    """One block of 8 for 9 ms, none for the second until the next request, and one for 3 ms."""
    requests = [request("a", n_prompt=4, n_output=3), request("b", arrival_s=1.0, n_prompt=2)]
    settings = ServerSettings(kv_blocks=9, async_scheduling=ahead)
    found = serve(requests, settings, by_tokens)
    assert found.use.busy_s == pytest.approx(0.012)
    assert found.use.kv_mean == pytest.approx(0.012 / 1.003 / 8)


@given(LOADS, SETTINGS, st.integers(1, 3), st.floats(0, 1))
def test_no_server_works_longer_than_there_is_time(
    load: list[tuple[float, int, int, int, bool]],
    settings: ServerSettings,
    replicas: int,
    share: float,
) -> None:
    """Whatever is left out as warm-up."""
    requests = drawn(load)
    found = serve(requests, settings, by_tokens, replicas=replicas)
    warmup_s = share * (requests[-1].arrival_s - requests[0].arrival_s) * (1 - 1e-9)
    metrics = measure(found.served, warmup_s=warmup_s, use=found.use)
    utilisation = metrics.to_json()["utilisation"]
    assert 0 < utilisation <= 1 + 1e-9
    whole = measure(found.served, use=found.use)
    assert utilisation == pytest.approx(whole.to_json()["utilisation"])
    assert found.use.kv_mean is not None
    assert found.use.kv_peak is not None
    assert 0 < found.use.kv_mean <= found.use.kv_peak <= 1
