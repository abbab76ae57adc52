"""Whole latency tables of devices: what was measured stays exact, what was not is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import LatencyTable, Profile
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, DeviceError, LatencyError, ProfileError
from adadecode.sim.hardware.carried_latency import REACH, carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import DeviceLatencies, measured_latencies
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.roofline import UNMEASURED, Carrier, estimate
from tests.support.recordings import imported, on_a100

A100, H100, V100 = find_device("a100-80gb-sxm"), find_device("h100-sxm"), find_device("v100-sxm")
ASKED = {"max_context": 40, "max_tokens": 8, "depths": (2, 4, 6)}
LLAMA = find_model("llama-2-7b")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("tables") / "p")


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return imported(tmp_path_factory.mktemp("operators"))


@pytest.fixture(scope="module")
def on_h100(profile: Profile) -> DeviceLatencies:
    return carried_latencies(profile, H100, **ASKED)


def table_of(profile: Profile) -> LatencyTable:
    return LatencyTable.from_samples(profile.latency, profile.n_layers)


def noted(latencies: DeviceLatencies, words: str) -> bool:
    return any(words in note for note in latencies.notes)


def test_a_recording_on_its_own_machine_is_its_table(profile: Profile) -> None:
    """Nothing else, and nothing to note."""
    here = measured_latencies(profile)
    assert (here.device, here.basis, here.notes, list(here.tables)) == (
        "a100-80gb-sxm",
        "measured",
        (),
        ["middle"],
    )
    assert here.middle.points.equals(table_of(profile).points)


def test_to_the_same_device_in_the_same_dtype_the_measured_points_stay(profile: Profile) -> None:
    """All that is asked for was measured."""
    here = carried_latencies(profile, A100, **ASKED)
    assert (here.basis, here.device) == ("measured", "a100-80gb-sxm")
    assert here.middle.points.equals(table_of(profile).points)


def test_to_the_same_device_what_was_measured_stays_and_the_rest_is_told(profile: Profile) -> None:
    """A longer context than was recorded: every measured point is exact at every corner, and the
    table is no longer called measured.
    """
    here, before = (
        carried_latencies(profile, A100, **{**ASKED, "max_context": 100}),
        table_of(profile),
    )
    assert here.basis == "carried"
    assert noted(here, "beyond 40 positions of context, up to 100")
    for corner in here.tables.values():
        assert corner.layer(3, 2, 24, 4) == before.layer(3, 2, 24, 4)
        assert (corner.head(4, 8), corner.verify(3), corner.host()) == (
            before.head(4, 8),
            before.verify(3),
            before.host(),
        )
    assert here.middle.layer(3, 2, 100, 4) > here.middle.layer(3, 2, 40, 4)


def test_every_measured_point_is_carried(profile: Profile, on_h100: DeviceLatencies) -> None:
    """The carrier gives each point."""
    carrier = Carrier(source=A100, target=H100, source_dtype="fp16", target_dtype="fp16")
    cost = Provenance.of(profile).require_precision().cost(Provenance.of(profile).require_shape())
    points = table_of(profile).points
    for layer, n, context, reuse, seconds in points.loc[
        points["kind"] == "layer", ["layer", "n_tokens", "context", "reuse", "seconds"]
    ].itertuples(index=False, name=None):
        want = carrier.carry(seconds, cost.layer(n, context), cost.layer(n, context))
        assert on_h100.tables["low"].layer(layer, n, context, reuse) == pytest.approx(
            want.low, rel=1e-12
        )
        assert on_h100.tables["middle"].layer(layer, n, context, reuse) == pytest.approx(
            want.middle, rel=1e-12
        )
        assert on_h100.tables["high"].layer(layer, n, context, reuse) == pytest.approx(
            want.high, rel=1e-12
        )
    assert (on_h100.basis, on_h100.device) == ("carried", "h100-sxm")


def test_between_points_seconds_are_linear(on_h100: DeviceLatencies) -> None:
    """In context and in tokens: what the compiled pricing rests on."""
    low, middle, high = (on_h100.middle.layer(0, 4, context, 8) for context in (8, 16, 24))
    assert middle == pytest.approx((low + high) / 2, rel=1e-12)


def test_the_host_stays_the_same(profile: Profile, on_h100: DeviceLatencies) -> None:
    """Its time is the same at every corner of the interval."""
    assert {corner.host() for corner in on_h100.tables.values()} == {table_of(profile).host()}


def test_corners_take_their_ends(on_h100: DeviceLatencies) -> None:
    """Layers one way and all else the other; one token one way and several the other."""
    tables = on_h100.tables

    def layer(corner: str, n_tokens: int = 1) -> float:
        return tables[corner].layer(0, n_tokens, 24, 8)

    assert layer("low") < layer("middle") < layer("high")
    assert layer("layers_low") == layer("low")
    assert tables["layers_low"].verify(1) == tables["high"].verify(1)
    assert tables["layers_high"].head(2, 8) == tables["low"].head(2, 8)
    assert (layer("batches_low", 1), layer("batches_low", 2)) == (layer("high", 1), layer("low", 2))
    assert (layer("batches_high", 1), layer("batches_high", 2)) == (
        layer("low", 1),
        layer("high", 2),
    )
    assert tables["batches_low"].verify(1) == tables["middle"].verify(1)


def test_attention_that_was_not_measured_is_added(operators: Profile) -> None:
    """To a layer that read its weights alone: bytes of keys and values, linear in the context, and
    told.
    """
    there = carried_latencies(operators, A100, max_context=1001, max_tokens=4, depths=())
    cost = Provenance.of(operators).require_precision().cost(LLAMA)
    bare = table_of(operators).layer(5, 2, 0, 32)
    layers = {context: there.middle.layer(5, 2, context, 32) for context in (1, 501, 1001)}
    assert layers[501] == pytest.approx((layers[1] + layers[1001]) / 2, rel=1e-12)
    assert bare < layers[1] < layers[1001]
    assert layers[1001] - layers[1] == pytest.approx(
        1000 * 2 * 4096 * 2 / 1724.8e9 / 0.9, rel=1e-6
    )  # keys and values of 1000 positions at 0.9 of a triad
    assert (
        cost.layer(2, 1001).bytes > cost.layer(2, 1001).flops / 250e12 * 1724e9
    )  # or it would be the FLOPs
    assert noted(there, "attention: not measured")


def test_a_window_bends_what_attention_takes(tmp_path: Path) -> None:
    """Mistral-7B sees 4096 positions: no layer takes longer beyond."""
    there = carried_latencies(
        imported(tmp_path, "mistral-7b"), H100, max_context=8192, max_tokens=2, depths=()
    ).middle
    assert there.contexts == (1, 4096, 8192)
    assert there.layer(0, 1, 8000, 32) == there.layer(0, 1, 4096, 32) > there.layer(0, 1, 2000, 32)


def test_what_was_not_measured_is_estimated_and_told(operators: Profile) -> None:
    """Heads where they are wanted, verification, prefill; no host."""
    there = carried_latencies(operators, H100, max_context=300, max_tokens=6, depths=(8, 16))
    cost = Provenance.of(operators).require_precision().cost(LLAMA)
    assert (
        there.middle.head(8, 3)
        == there.middle.head(16, 32)
        == estimate(cost.head(), H100, "fp16").middle
    )
    assert there.tables["high"].verify(6) == pytest.approx(
        (1 + UNMEASURED) * there.middle.verify(6)
    )
    assert there.middle.host() == 0
    for words in (
        "heads at depths 8, 16: not measured",
        "verification: not measured",
        "prefill: not measured",
        "no time of the host",
    ):
        assert noted(there, words)


@pytest.mark.parametrize("recorded", [True, False])
def test_prefill_answers_for_any_prompt(
    profile: Profile, operators: Profile, recorded: bool
) -> None:
    """Up to the longest context, measured at 4 to 64 tokens or nowhere; longer ones take longer."""
    there = carried_latencies(
        profile if recorded else operators, H100, max_context=300, max_tokens=2, depths=()
    ).middle
    seconds = [there.prefill(n) for n in range(1, 301)]
    assert seconds == sorted(seconds)


def test_the_nearest_head_stands_for_one_that_was_not_measured(profile: Profile) -> None:
    """Every head reads the same matrices."""
    there = carried_latencies(profile, H100, **{**ASKED, "depths": (2, 7)})
    assert there.middle.head(7, 8) == carried_latencies(profile, H100, **ASKED).middle.head(6, 8)
    assert noted(there, "no head was measured at depth 7")


def test_beyond_what_was_measured_efficiency_is_held_and_told(operators: Profile) -> None:
    """8 tokens were measured: 16 take as long as they read the same weights and little more, and 64
    are still answered for.
    """
    there = carried_latencies(operators, H100, max_context=100, max_tokens=8 * REACH, depths=())
    assert 1 < there.middle.layer(0, 16, 50, 32) / there.middle.layer(0, 8, 50, 32) < 1.05
    assert there.middle.layer(0, 64, 50, 32) > there.middle.layer(0, 16, 50, 32)
    assert noted(there, "beyond 8 tokens at once, up to 64, the efficiency at 8 is held")


def test_far_beyond_what_was_measured_there_is_no_answer(
    profile: Profile, operators: Profile
) -> None:
    """Neither batches nor contexts are extrapolated that far."""
    with pytest.raises(
        LatencyError,
        match="no latency for 65 tokens at once on h100-sxm: "
        "measured up to 8, and held up to 8 times that",
    ):
        carried_latencies(operators, H100, max_context=100, max_tokens=65, depths=())
    with pytest.raises(
        LatencyError,
        match=r"no latency for 321 positions of context on h100-sxm: measured up to 40",
    ):
        carried_latencies(profile, H100, **{**ASKED, "max_context": 321})


def test_narrow_weights_speed_up_layers_alone(operators: Profile) -> None:
    """INT8 on the same device: near half the time of a layer; LM head and heads stay wide. Also on
    a device that multiplies no INT8.
    """
    wide, narrow = (
        carried_latencies(operators, A100, dtype=dtype, max_context=100, max_tokens=4, depths=(8,))
        for dtype in (None, "int8")
    )
    assert 0.5 < narrow.middle.layer(0, 1, 1, 32) / wide.middle.layer(0, 1, 1, 32) < 0.65
    assert (narrow.middle.head(8, 32), narrow.middle.verify(2)) == (
        wide.middle.head(8, 32),
        wide.middle.verify(2),
    )
    assert noted(narrow, "int8 weights, fp16 else")
    assert (
        carried_latencies(
            operators, V100, dtype="int4", max_context=9, max_tokens=1, depths=()
        ).basis
        == "carried"
    )


def test_a_dtype_that_a_device_cannot_multiply_is_refused(operators: Profile) -> None:
    """A V100 has no BF16, and nothing has FP5."""
    options = {"max_context": 9, "max_tokens": 1, "depths": ()}
    with pytest.raises(DeviceError, match="v100-sxm has no bf16 peak"):
        carried_latencies(operators, V100, dtype="bf16", **options)
    with pytest.raises(DeviceError, match=r"no dtype 'fp5': wanted one of fp32"):
        carried_latencies(operators, V100, dtype="fp5", **options)


def test_layers_that_waited_for_their_host_are_told(tmp_path: Path) -> None:
    """An eager recording at a tenth of what an A100 can: they wait as long on an H100."""
    slow = on_a100(tmp_path / "p", graphs="eager")
    slow.latency["seconds"] *= 10
    there = carried_latencies(slow, H100, **ASKED)
    assert there.middle.layer(0, 1, 24, 8) == pytest.approx(table_of(slow).layer(0, 1, 24, 8))
    assert noted(there, "were taken for waiting on the host")


def test_operator_times_alone_price_no_design(operators: Profile) -> None:
    """They are carried first, also to their own device."""
    with pytest.raises(ProfileError, match="times of single operators"):
        measured_latencies(operators)


def test_a_datasheet_answers_for_everything_and_says_so() -> None:
    """Llama-2-7B on an H100: its weights at 0.9 of the bandwidth, and the kernels."""
    there = datasheet_latencies(
        LLAMA, H100, dtype="bf16", max_context=500, max_tokens=20, depths=(8,)
    )
    assert (there.basis, there.device, there.middle.host()) == ("datasheet", "h100-sxm", 0)
    assert noted(there, "nothing was measured")
    vanilla = (
        there.middle.layers(0, 32, 1, 100, 32) + there.middle.embed(1) + there.middle.verify(1)
    )
    assert 13.5e9 / 3.35e12 < vanilla < 1.5 * 13.5e9 / 3.35e12
    assert (
        there.tables["low"].layers(0, 32, 20, 500, 32)
        < there.middle.layers(0, 32, 20, 500, 32)
        < there.tables["high"].layers(0, 32, 20, 500, 32)
    )
    assert there.middle.prefill(500) > there.middle.prefill(1) > 0
    assert there.middle.head(8, 32) > 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"depths": (8, 32)},
            DesignError,
            "no head can be at depth 32 of llama-2-7b: depths run from 1 to 31",
        ),
        ({"depths": (0,)}, DesignError, "no head can be at depth 0"),
        (
            {"max_context": 0},
            LatencyError,
            "wanted a context and a batch of 1 or more, got 0 and 4",
        ),
        ({"dtype": "fp5"}, DeviceError, "no dtype 'fp5'"),
    ],
)
def test_what_cannot_be_asked_of_a_datasheet_is_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    """The messages are those for a recording."""
    with pytest.raises(error, match=message):
        datasheet_latencies(
            LLAMA,
            H100,
            **({"dtype": "bf16", "max_context": 100, "max_tokens": 4, "depths": (8,)} | options),
        )  # type: ignore[arg-type]
