"""Latencies made again, from what a scenario was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles import Profile
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.errors import DeviceError, LatencyError
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.gate_latency import EMBEDDINGS
from adadecode.sim.limits.bandwidth import with_bandwidth
from adadecode.sim.limits.latency_rebuild import LatencyRebuilder
from adadecode.sim.prediction.scenario import Scenario, ScenarioOptions, find_scenario
from tests.support.recordings import on_a100
from tests.support.synthetic_profile import synthetic_profile

MAP = {2: 8, 6: 24}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("rebuilder") / "p")


def made(
    profile: Profile | None,
    trace: Profile | None = None,
    heads_at: dict[int, int] | None = None,
    **given: str | None,
) -> tuple[LatencyRebuilder, Scenario]:
    scenario = find_scenario(profile, ScenarioOptions(**given), trace=trace, heads_at=heads_at)
    return LatencyRebuilder.of(scenario), scenario


def seconds(latencies: DeviceLatencies) -> pd.DataFrame:
    """Every point, however many samples it had."""
    return latencies.middle.points.drop(columns="samples")


@pytest.mark.parametrize(
    "given",
    [
        {"device": "h100-sxm"},
        {"device": "l4", "dtype": "int8"},
        {"dtype": "int4"},
        {"device": "a100-80gb-sxm"},
    ],
)
def test_the_same_device_has_the_same_latencies(profile: Profile, given: dict[str, str]) -> None:
    """Carried, with other weights, or measured there."""
    rebuilder, scenario = made(profile, **given)
    assert seconds(rebuilder.latencies(rebuilder.device, 6)).equals(seconds(scenario.latencies))


@pytest.mark.parametrize("timed", [(), (4,), (2, 4)])
@pytest.mark.parametrize("given", [{}, {"device": "a100-80gb-sxm"}, {"device": "h100-sxm"}])
def test_a_gate_that_was_not_timed_has_one_price(
    timed: tuple[int, ...], given: dict[str, str], tmp_path: Path
) -> None:
    """The nearest that was timed, or else some embeddings; predicted and made again alike."""
    text = on_a100(tmp_path / "text", gates=True)
    rows = text.latency
    kept = rows[(rows["kind"] != "gate") | rows["layer"].isin(timed)]
    rebuilder, scenario = made(replace(text, latency=kept), **given)
    here, again = scenario.latencies, rebuilder.latencies(rebuilder.device, 6)
    for depth in text.depths:
        assert again.middle.gate(depth) == here.middle.gate(depth)
    measured = text.latency_table
    nearest = EMBEDDINGS * measured.embed(1) if not timed else measured.gate(timed[-1])
    if given.get("device") != "h100-sxm":
        assert here.middle.gate(6) == pytest.approx(nearest)
    (note,) = (one for one in here.notes if one.startswith("gates: not measured"))
    assert note in again.notes


@pytest.mark.parametrize(("model", "depths"), [(None, None), ("llama-3.1-8b", MAP)])
def test_a_datasheet_is_read_again(
    profile: Profile, model: str | None, depths: dict[int, int] | None
) -> None:
    """Of the trace's own model in the format it was recorded in, or of another one."""
    rebuilder, scenario = made(None, profile, depths, device="h200-sxm", model=model)
    assert seconds(rebuilder.latencies(rebuilder.device, 6)).equals(seconds(scenario.latencies))
    assert rebuilder.reach is None


def test_a_recording_of_a_known_machine_can_be_carried_to_one_like_it(profile: Profile) -> None:
    """Half the bandwidth.

    Layers that mostly read take longer, not twice as long; and the same at the same bandwidth.
    """
    rebuilder, scenario = made(profile)
    here, same, slow = (
        scenario.latencies.middle,
        *(
            rebuilder.latencies(with_bandwidth(rebuilder.device, factor), 6).middle
            for factor in (1.0, 0.5)
        ),
    )
    assert same.layers(0, 8, 1, 24, 8) == pytest.approx(here.layers(0, 8, 1, 24, 8), rel=1e-9)
    assert 1.5 < slow.layers(0, 8, 1, 24, 8) / here.layers(0, 8, 1, 24, 8) < 2
    assert slow.host() == here.host()


def test_batches_reach_as_far_as_an_efficiency_is_held(profile: Profile) -> None:
    """Eight times the 8 tokens measured."""
    rebuilder, _ = made(profile, device="h100-sxm")
    assert rebuilder.reach == 64
    assert rebuilder.latencies(rebuilder.device, 64).middle.layers(0, 8, 64, 39, 8) > 0
    with pytest.raises(LatencyError, match="no latency for 65 tokens at once on h100-sxm"):
        rebuilder.latencies(find_device("h100-sxm"), 65)


def test_a_machine_that_nobody_knows_is_told(tmp_path: Path) -> None:
    """Nothing of it can be carried."""
    scenario = find_scenario(synthetic_profile(tmp_path / "p"))
    with pytest.raises(DeviceError, match="say which device it was with --from"):
        LatencyRebuilder.of(scenario)
