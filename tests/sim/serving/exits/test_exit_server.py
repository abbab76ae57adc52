"""Servers with early exits: what holds for every load, and what one user alone gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.errors import DesignError, InputError, LatencyError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Schedule
from adadecode.sim.replay.simulation import replay
from adadecode.sim.serving.exits.adaptive_schedule import AdaptiveSchedule
from adadecode.sim.serving.exits.exit_server import ServedExits, serve_exits
from adadecode.sim.serving.exits.served_text import MakeSchedule
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.latency.segment_times import SegmentWork
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.scheduling.settings import ServerSettings
from tests.support.property_tests import examples
from tests.support.served_exits import PROMPT_S, PricedAlone, decoding_of
from tests.support.serving import request
from tests.support.synthetic_profile import synthetic_profile

DESIGNS = [
    Design.of("vanilla"),
    Design.of("adadecode", gamma=0.6, placement=[2, 4, 6]),
    Design.of("adadecode", gamma=0.4, placement=[2, 6], cap=2, gate=0.4),
    Design.of("fixed", placement=[4], cap=3),
]
SETTINGS = ServerSettings(kv_blocks=400, block_size=4, max_batched_tokens=64, max_num_seqs=8)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("exits") / "p"
    return synthetic_profile(path, prompts=4, gates=True, noise=0.0)


def named(texts: Texts, prompt: int) -> str:
    """Return a name of a request that a text of this number answers."""
    return next(name for name in map(str, range(10_000)) if texts.text_of(request(name)) == prompt)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda one: one.label)
def test_one_user_alone_gets_the_rounds_and_the_time_of_a_prediction(
    profile: Profile, design: Design
) -> None:
    trace, latency = Trace.from_profile(profile), profile.latency_table
    bounds = design.boundaries(trace.n_layers)
    for run in replay(trace, latency, design):
        text = run.prompt
        price = PricedAlone(latency, bounds)
        decoding = decoding_of(profile, design, run.n_tokens, price=price)
        one = request(
            named(decoding.texts, text), n_prompt=trace.n_prompt(text), n_output=run.n_tokens
        )
        found = serve_exits([one], SETTINGS, decoding)
        assert found.rounds == run.rounds
        (served,) = found.load.served
        decode_s = served.token_s[-1] - served.token_s[0]
        assert decode_s == pytest.approx(run.seconds, rel=1e-9)
        assert served.token_s[0] == pytest.approx((len(bounds) - 1) * PROMPT_S)
        drafted = sum(bool(one.exits) for one in run.rounds)
        assert found.load.use.rounds == drafted
        drafts = sum(len(one.exits) for one in run.rounds)
        assert found.load.use.drafts == drafts
        if drafts:
            accepted = sum(one.accepted for one in run.rounds)
            assert found.load.use.acceptance_rate == accepted / drafts
            assert found.load.use.acceptance_length == 1 + accepted / drafted


LENGTHS = st.integers(1, 60) | st.none()  # none for a text that is taken whole
LOADS = st.lists(
    st.tuples(st.floats(0, 0.05), st.integers(1, 40), LENGTHS), min_size=1, max_size=12
)
LIMITS = st.builds(
    ServerSettings,
    kv_blocks=st.integers(2, 32),  # those that the largest request leaves, and the reserved one
    block_size=st.just(4),
    max_batched_tokens=st.integers(4, 64),
    max_num_seqs=st.integers(1, 8),
)


def requests_of(load: Sequence[tuple[float, int, int | None]], texts: Texts) -> list[Request]:
    now, found = 0.0, []
    for name, (gap, n_prompt, n_output) in enumerate(load):
        now += gap
        whole = texts.trace.n_output(texts.text_of(request(str(name))))
        found.append(
            request(str(name), arrival_s=now, n_prompt=n_prompt, n_output=n_output or whole)
        )
    return found


@examples(60)
@given(
    load=LOADS,
    settings=LIMITS,
    design=st.sampled_from(DESIGNS),
    order=st.sampled_from(["lockstep", "deepest", "largest"]),
    replicas=st.integers(1, 3),
    in_flight=st.none() | st.integers(1, 5),
    routing=st.sampled_from(["round-robin", "least-loaded"]),
)
def test_every_request_ends_once_and_no_block_is_lost(
    profile: Profile,
    load: list[tuple[float, int, int | None]],
    settings: ServerSettings,
    design: Design,
    order: str,
    replicas: int,
    in_flight: int | None,
    routing: str,
) -> None:
    texts = decoding_of(profile, design, 60).texts
    requests = requests_of(load, texts)
    largest = max(-(-(one.n_prompt + texts.budget(one) - 1) // 4) for one in requests)
    settings = replace(settings, kv_blocks=settings.kv_blocks - 1 + largest)

    def served() -> ServedExits:
        decoding = decoding_of(profile, design, 60, order=order)
        return serve_exits(
            requests,
            settings,
            decoding,
            in_flight=in_flight,
            replicas=replicas,
            routing=routing,
            keep_steps=True,
        )

    found = served()
    assert sorted(one.request.name for one in found.load.served) == sorted(
        map(str, range(len(load)))
    )
    assert found.load.blocks_at_end == (0,) * replicas
    for one in found.load.served:
        assert len(one.token_s) == one.request.n_output
        assert one.request.arrival_s <= one.scheduled_s < one.token_s[0]
        assert all(first <= second for first, second in pairwise(one.token_s))
    for server in range(replicas):
        steps = [one for one in found.load.steps if one.server == server]
        ends = [one.start_s + one.seconds for one in steps]
        assert all(end <= two.start_s + 1e-12 for end, two in zip(ends, steps[1:], strict=False))
        assert all(one.kv_blocks <= settings.usable_blocks for one in steps)
    again = served()
    assert again.load.served == found.load.served
    assert again.load.steps == found.load.steps
    assert again.rounds == found.rounds


def test_rounds_under_load_are_those_of_each_request_alone(profile: Profile) -> None:
    design = DESIGNS[1]
    requests = [request(str(k), n_prompt=9, n_output=12 + 6 * k) for k in range(8)]
    together = serve_exits(requests, SETTINGS, decoding_of(profile, design, 54))
    alone = [
        serve_exits([one], SETTINGS, decoding_of(profile, design, 54)).rounds for one in requests
    ]
    assert sorted(together.rounds, key=str) == sorted((r for one in alone for r in one), key=str)


def test_little_memory_preempts_and_texts_stay_their_own(profile: Profile) -> None:
    design = DESIGNS[1]
    requests = [request(str(k), n_prompt=9, n_output=40) for k in range(6)]
    tight = ServerSettings(kv_blocks=31, block_size=4, max_batched_tokens=64, max_num_seqs=8)
    found = serve_exits(requests, tight, decoding_of(profile, design, 40))
    assert sum(one.preemptions for one in found.load.served) > 0
    wide = serve_exits(requests, SETTINGS, decoding_of(profile, design, 40))
    assert sorted(found.rounds, key=str) == sorted(wide.rounds, key=str)


def test_a_text_taken_whole_has_room_for_the_drafts_of_its_budget(profile: Profile) -> None:
    """It ended with token 20 of 24. Prompt and budget take 9 + 24 - 1 positions, 8 blocks of 4."""
    decoding = decoding_of(profile, Design.of("fixed", placement=[4], cap=8), 24)
    whole = request(named(decoding.texts, 0), n_prompt=9, n_output=20)
    assert decoding.texts.budget(whole) == 24
    found = serve_exits([whole], replace(SETTINGS, kv_blocks=9), decoding)
    assert found.load.served[0].preemptions == 0
    with pytest.raises(InputError, match="up to 32 positions, 8 blocks"):
        serve_exits([whole], replace(SETTINGS, kv_blocks=8), decoding)


@pytest.mark.parametrize(
    ("design", "n_output", "segments", "went_on"),
    [
        # The prompt passes through, and so does a token that the budget lets nobody draft behind.
        (DESIGNS[1], 2, [0, 1, 2, 3] * 2, [False, True, True, True] * 2),
        # A gate is asked behind the first segment, whatever it says.
        (DESIGNS[2], 3, [0, 1, 2, 0], [False, True, True, False]),
        # Three drafts; nobody asks about the fourth token, but four rows follow it, not one.
        (DESIGNS[3], 12, [0, 1, 0, 0, 0, 0, 1], [False, True] + [False] * 5),
    ],
    ids=["budget", "gates", "deferred"],
)
def test_a_segment_goes_on_where_the_same_rows_asked_nothing_below(
    profile: Profile, design: Design, n_output: int, segments: list[int], went_on: list[bool]
) -> None:
    seen: list[SegmentWork] = []

    def price(work: SegmentWork) -> float:
        seen.append(work)
        return 1.0

    one = request("0", n_prompt=9, n_output=n_output)
    serve_exits([one], SETTINGS, decoding_of(profile, design, 24, price=price))
    assert [work.segment for work in seen[: len(segments)]] == segments
    assert [work.goes_on for work in seen[: len(segments)]] == went_on


class _Always:
    """A rule that always takes the same design."""

    def __init__(self, design: Design) -> None:
        self.design = design

    def schedules(self, load: Callable[[], tuple[int, float, int]], texts: Texts) -> MakeSchedule:
        def make(request: Request) -> Schedule:
            plain = texts.schedule(request, self.design)
            given = {one.name: getattr(plain, one.name) for one in fields(plain) if one.init}
            return AdaptiveSchedule(**given, choose=lambda: self.design)

        return make


@pytest.mark.parametrize("design", DESIGNS, ids=lambda one: one.label)
def test_the_same_decisions_cost_the_same_with_a_rule_and_without(
    profile: Profile, design: Design
) -> None:
    def price(work: SegmentWork) -> float:
        return 1e-4 * work.n_tokens + (0 if work.goes_on else 1e-3)

    requests = [request(str(k), arrival_s=2e-3 * k, n_prompt=9, n_output=12) for k in range(8)]
    plain = decoding_of(profile, design, 12, price=price)
    ruled = replace(plain, rule=_Always(design))
    assert (
        serve_exits(requests, SETTINGS, plain).load.served
        == serve_exits(requests, SETTINGS, ruled).load.served
    )


def test_rounds_without_drafts_are_no_verifications_of_drafts(profile: Profile) -> None:
    """The budget of two tokens leaves none to draft; of three, a head may draft one."""
    design = Design.of("fixed", placement=[4])
    requests = [request(str(k), n_prompt=9, n_output=2 + k % 2) for k in range(8)]
    found = serve_exits(requests, SETTINGS, decoding_of(profile, design, 24))
    use, drafted = found.load.use, [one for one in found.rounds if one.exits]
    assert use.rounds == len(drafted) <= 4 < len(found.rounds)
    assert use.drafts == len(drafted)
    (short,) = serve_exits(requests[:1], SETTINGS, decoding_of(profile, design, 24)).rounds
    assert not short.exits
    alone = serve_exits(requests[:1], SETTINGS, decoding_of(profile, design, 24)).load.use
    assert (alone.rounds, alone.acceptance_length) == (0, None)


def test_requests_of_two_seeds_have_texts_of_their_own(profile: Profile) -> None:
    requests = [request(str(k), n_prompt=9, n_output=20) for k in range(8)]
    by_seed = {
        seed: serve_exits(
            requests, SETTINGS, decoding_of(profile, DESIGNS[1], 24), seed=seed
        ).rounds
        for seed in (None, 0, 1)
    }
    assert len(set(by_seed.values())) == 3


def test_what_arrives_as_a_step_ends_is_in_the_next_one(profile: Profile) -> None:
    """As with vanilla, whichever of both comes first in the queue of events."""
    decoding = decoding_of(profile, DESIGNS[0], 9, price=lambda _: 1.0)
    for early in (0.0, 0.5, 1.5):
        requests = [
            request("a", n_prompt=1, n_output=9),
            request("b", arrival_s=early, n_prompt=1),
            request("c", arrival_s=4.0, n_prompt=1),
        ]
        served = serve_exits(requests, SETTINGS, decoding).load.served
        assert {one.request.name: one.scheduled_s for one in served}["c"] == 4.0


def test_what_cannot_be_served_is_refused(profile: Profile) -> None:
    decoding = decoding_of(profile, DESIGNS[0], 8)
    with pytest.raises(InputError, match="got none"):
        serve_exits([], SETTINGS, decoding)
    large = request("0", n_prompt=4000, n_output=8)
    with pytest.raises(InputError, match="blocks of keys and values"):
        serve_exits([large], SETTINGS, decoding)
    untrained = decoding_of(profile, Design.of("adadecode", placement=[3]), 8)
    with pytest.raises(DesignError, match="no head at depth 3"):
        serve_exits([request("0", n_output=8)], SETTINGS, untrained)
    timeless = decoding_of(profile, DESIGNS[0], 8, price=lambda _: 0.0)
    with pytest.raises(LatencyError, match="steps that take time"):
        serve_exits([request("0", n_output=8)], SETTINGS, timeless)
