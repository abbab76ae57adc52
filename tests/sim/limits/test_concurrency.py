"""Several users on one device: what the bounds assume, by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles import TABLES, LatencyTable, Trace
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.attention_latency import Attending
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.limits.concurrency import Together, largest_batch, loads
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.handmade import one_text
from tests.support.synthetic_profile import synthetic_profile

TWO_DRAFTS = Design.of(gamma=0.5, placement=(1,), cap=2)
SAID = {(1, 1): (0.9, 11), (2, 1): (0.9, 12)}


def growing(largest: int, n_layers: int = 3) -> LatencyTable:
    """Make latencies by a formula.

    A layer takes 8 seconds for the weights, 1 for a token, and for each position of its context
    half a second for the cache and a quarter for every token. A verification of n rows takes 4 + n,
    a head 3, and all else next to nothing.
    """
    rows = [
        ("layer", k, n, c, n_layers, 0, 8.0 + n + c / 2 + n * c / 4)
        for k in range(n_layers)
        for n in range(1, largest + 1)
        for c in (1, 64)
    ]
    rows += [("verify", -1, n, 0, 0, 0, 4.0 + n) for n in range(1, largest + 1)]
    rows += [("head", depth, 1, 0, n_layers, 0, 3.0) for depth in range(1, n_layers)]
    rows += [(kind, -1, n, 0, 0, 0, 1e-12) for kind in ("embed", "prefill") for n in (1, largest)]
    rows.append(("host", -1, 1, 0, 0, 0, 0.0))
    return LatencyTable.from_samples(pd.DataFrame(rows, columns=TABLES["latency"].names), n_layers)


def together(users: int, largest: int = 8, *, split: bool = True) -> Together:
    latency = growing(largest)
    return Together(
        latency=latency, attending=Attending(latency), users=users, largest=largest, split=split
    )


def test_weights_are_read_once_and_every_cache_by_its_user() -> None:
    """Two tokens each of three users at context 16.

    8 + 6 once, and three times what two tokens attend for, 16 / 2 + 2 * 16 / 4.
    """
    assert together(3).layers(0, 1, 2, 16, 3) == pytest.approx(8 + 6 + 3 * (8 + 8))
    assert together(3).layers(0, 3, 2, 16, 3) == pytest.approx(3 * (8 + 6 + 3 * (8 + 8)))


def test_heads_and_verification_of_several_users_are_one_pass() -> None:
    """A head's LM head takes longer as a verification does: 4 users, 3 seconds more."""
    assert together(4).verify(2) == 4 + 8
    assert together(4).head(1, 3) == 3 + 3
    assert (together(4).host(), together(4).prefill(8)) == (0.0, pytest.approx(4e-12))


def test_one_user_alone_is_the_table() -> None:
    """To the last bit, also beyond what is called largest."""
    latency, one = (
        growing(8),
        Together(latency=growing(8), attending=Attending(growing(8)), users=1, largest=4),
    )
    assert one.layers(0, 2, 6, 33, 3) == latency.layers(0, 2, 6, 33, 3)
    assert (one.verify(6), one.head(2, 1), one.embed(6)) == (
        latency.verify(6),
        latency.head(2, 1),
        latency.embed(6),
    )


def test_beyond_what_is_known_a_pass_is_bounded() -> None:
    """Ten tokens where 8 are known.

    8 and then 2, or 8 as if they were 10; caches are read as ever.
    """
    caches = 5 * (4 + 4)  # of five users, two tokens each at context 8
    assert together(5).layers(0, 1, 2, 8, 3) == pytest.approx((8 + 8) + (8 + 2) + caches)
    assert together(5, split=False).layers(0, 1, 2, 8, 3) == pytest.approx((8 + 8) + caches)
    assert (together(5).verify(2), together(5, split=False).verify(2)) == ((4 + 8) + (4 + 2), 4 + 8)


def test_layers_that_cost_what_they_read_pay_for_any_number_of_users_in_step() -> None:
    """Batches cost nothing more here, so in step nothing changes.

    Alone, vanilla gains as many times as there are users.
    """
    replay = CompiledReplay.of(one_text([10, 11, 12, 13], SAID, depths=(1,)))
    table = uniform_latencies(3, (1,), head=0.5, verify=0.5, max_tokens=24, max_context=64)
    rows = list(loads(replay, (0,), TWO_DRAFTS, table))
    assert [(row.users, row.tokens) for row in rows] == [
        (users, 3 * users) for users in (1, 2, 3, 4, 6, 8, 12, 16, 24)
    ]
    by_hand = (3 * 3.5) / (
        3 + 2 + 2 * 0.5 + 0.5
    )  # three tokens: the first layer of each, the others at once, two checks, one verification
    for row in rows:
        assert row.together[1] == pytest.approx(by_hand)
        assert (
            row.together[0] == pytest.approx(by_hand)
            if row.tokens <= 24
            else row.together[0] < by_hand
        )
        assert row.alone == pytest.approx(by_hand / row.users)


def test_one_user_is_the_ordinary_prediction(tmp_path: Path) -> None:
    """And no more users are told of than vanilla's passes were measured for."""
    predictor = Predictor.of(synthetic_profile(tmp_path / "p", prompts=4))
    design = Design.of(gamma=0.6, placement=(2, 6))
    rows = list(
        loads(
            CompiledReplay.of(predictor.trace), predictor.trace.prompts, design, predictor.latency
        )
    )
    wanted = predictor.predict(design).speedup
    assert rows[0].together == pytest.approx((wanted, wanted), rel=1e-12)
    assert rows[0].alone == pytest.approx(wanted, rel=1e-12)
    assert [row.users for row in rows] == [1, 2, 3, 4, 6, 8]


def test_bounds_hold_what_is_known_with_larger_batches(tmp_path: Path) -> None:
    """Twice measured, to 8 tokens and to 64.

    What the second knows lies between the bounds of the first.
    """
    profile = synthetic_profile(
        tmp_path / "p", depths=(2, 6), prompts=3, max_tokens=64, noise=0.0, contexts=(8, 70, 80)
    )
    rows = profile.latency[
        profile.latency["n_tokens"].isin([*range(1, 9), 16, 32, 48, 64])
        | (profile.latency["kind"] == "prefill")
    ]
    few, many = (
        LatencyTable.from_samples(rows[(rows["n_tokens"] <= n) | (rows["kind"] == "prefill")], 8)
        for n in (8, 64)
    )
    design = Design.of(gamma=0.6, placement=(2, 6))
    replay = CompiledReplay.of(Trace.from_profile(profile))
    known = {row.users: row.together for row in loads(replay, replay.prompts, design, many)}
    for row in loads(replay, replay.prompts, design, few):
        low, high = row.together
        exactly, again = known[row.users]
        assert exactly == again
        assert low * (1 - 1e-9) <= exactly <= high * (1 + 1e-9)
    assert row.tokens > 8
    assert low < high


def test_several_users_are_priced_with_the_wider_table() -> None:
    """A single user is priced with the narrow one."""
    replay = CompiledReplay.of(one_text([10, 11, 12, 13], SAID, depths=(1,)))
    narrow, wide = (
        uniform_latencies(3, (1,), head=head, verify=0.5, max_tokens=n, max_context=64)
        for head, n in ((0.5, 3), (3.0, 6))
    )
    rows = list(loads(replay, (0,), TWO_DRAFTS, narrow, wide))
    assert [row.users for row in rows] == [1, 2, 3, 4, 6]
    assert rows[0].together[0] > 1 > rows[1].together[0]


def test_a_datasheet_prices_users_as_their_bytes_and_flops() -> None:
    """Four users of an H100 that reads: the weights once, and four caches."""
    shape, device = find_model("llama-2-7b"), find_device("h100-sxm")
    table = datasheet_latencies(
        shape, device, dtype="bf16", max_context=4096, max_tokens=16, depths=(8,)
    ).middle
    four = Together(latency=table, attending=Attending(table), users=4, largest=16)
    cost = ModelCost(shape=shape)
    one_cache = cost.layer(1, 4001).cache - cost.layer(1, 1).cache
    extra = four.layers(0, 1, 1, 4001, 32) - four.layers(0, 1, 1, 1, 32)
    alone = table.layers(0, 1, 1, 4001, 32) - table.layers(0, 1, 1, 1, 32)
    assert extra == pytest.approx(4 * alone, rel=1e-6)
    assert alone == pytest.approx(one_cache / device.sustained_bandwidth.value / 0.9, rel=0.01)  # type: ignore[union-attr]


def test_the_largest_batch_is_that_of_every_part(tmp_path: Path) -> None:
    """A recording whose verification was measured less far than its layers."""
    profile = synthetic_profile(tmp_path / "p", max_tokens=8)
    rows = profile.latency
    assert largest_batch(LatencyTable.from_samples(rows, 8)) == 8
    less = rows[(rows["kind"] != "verify") | (rows["n_tokens"] <= 5)]
    assert largest_batch(LatencyTable.from_samples(less, 8)) == 5
    less = rows[(rows["layer"] != 7) | (rows["n_tokens"] <= 3)]
    assert largest_batch(LatencyTable.from_samples(less, 8)) == 3
