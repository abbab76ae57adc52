"""Servers with early exits: what holds for every load, and what one user alone gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.errors import DesignError, InputError, LatencyError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.replay.simulation import replay
from adadecode.sim.serving.exits.exit_server import ServedExits, serve_exits
from adadecode.sim.serving.exits.texts import Texts
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
        assert found.load.use.rounds == len(run.rounds)
        drafts = sum(len(one.exits) for one in run.rounds)
        assert found.load.use.drafts == drafts
        if drafts:
            accepted = sum(one.accepted for one in run.rounds)
            assert found.load.use.acceptance_rate == accepted / drafts
            assert found.load.use.acceptance_length == 1 + accepted / len(run.rounds)


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
