"""Launch regimes: what the host takes, which kernels are more, and what can be asked of what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adadecode.profiles import Profile
from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import DeviceLatencies, measured_latencies
from adadecode.sim.hardware.host_time import COUNT_DOUBT, HOST_SECONDS, HostTime
from adadecode.sim.hardware.launch_regime import (
    LIGHT,
    Regime,
    host_kernels,
    small_kernels,
    told_limits,
)
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.roofline import KERNEL_CYCLES, Interval
from tests.support.recordings import on_a100
from tests.support.synthetic_profile import synthetic_profile

A100, H100 = find_device("a100-80gb-sxm"), find_device("h100-sxm")
LLAMA = find_model("llama-3.1-8b")
ASKED = {"max_context": 40, "max_tokens": 6, "depths": (2, 4, 6)}
HOSTED = 41 * HOST_SECONDS.middle
"""What the host takes for a layer of Hugging Face."""


def by_datasheet(regime: Regime | None, device: Device = A100) -> DeviceLatencies:
    return datasheet_latencies(
        LLAMA,
        device,
        dtype="bf16",
        max_context=1024,
        max_tokens=6,
        depths=(8, 16, 24),
        regime=regime,
    )


def layer(latencies: DeviceLatencies, corner: str = "middle", n_tokens: int = 1) -> float:
    return latencies.tables[corner].layer(0, n_tokens, 40, latencies.middle.n_layers)


def recorded(folder: Path, graphs: str) -> Profile:
    return on_a100(folder / graphs, graphs=graphs, noise=0.0)


def test_kernels_are_counted_by_regime() -> None:
    """A layer of Hugging Face has 41, an engine's 10; the 31 others are small."""
    assert host_kernels("layer") == 41
    assert small_kernels("layer", Regime.ENGINE, attends=True) == 0
    assert small_kernels("layer", Regime.EAGER, attends=True) == 31
    for regime, small in ((Regime.ENGINE, 0), (Regime.GRAPHS, 31), (Regime.EAGER, 31)):
        layer = ModelCost(shape=LLAMA, regime=regime).layer(1, 9)
        assert (layer.kernels, layer.small_kernels) == (10, small)


def test_eager_work_takes_the_larger_of_host_and_device() -> None:
    """A head of 15 kernels reads for longer than its host takes; a layer does not."""
    host = HostTime(n_layers=2, target=A100)
    seconds, apart = host.over("layer", Interval.exactly(3e-4), 1)
    assert seconds.middle == pytest.approx(HOSTED)
    assert (seconds.low, seconds.high) == pytest.approx((41 * 16e-6, 41 * 30e-6))
    assert apart.high == pytest.approx(HOSTED * (1 + COUNT_DOUBT))
    assert host.over("head", Interval.exactly(6e-4), 1)[0] == Interval.exactly(6e-4)
    assert host.limits == {"layer": "host", "head": "device"}


def test_a_host_starts_all_layers_of_a_prompt_and_nothing_outside_the_model() -> None:
    host = HostTime(n_layers=2, target=A100)
    assert host.kernels("prefill") == 2 * 41 + host_kernels("embed") + host_kernels("verify")
    assert host.over("host", Interval.exactly(1e-5), 1)[0] == Interval.exactly(1e-5)
    assert host.limits == {}


@pytest.mark.parametrize(("device", "assumed"), [("a100-80gb-sxm", False), ("tpu-v5e", True)])
def test_hosts_of_other_vendors_are_said_to_be_assumed(device: str, assumed: bool) -> None:
    found = HostTime(n_layers=1, target=find_device(device))
    assert (f"{device} is assumed to have one like them" in found.note) is assumed


def test_the_limit_is_told_of_one_token_and_of_the_longest_prompt() -> None:
    """A batch of 64 that the device is slower on does not count."""
    host = HostTime(n_layers=1, target=A100)
    for n_tokens, seconds in ((1, 1e-4), (64, 9e-3)):
        host.over("layer", Interval.exactly(seconds), n_tokens)
        host.over("prefill", Interval.exactly(seconds), n_tokens)
    assert host.limits == {"layer": "host", "prefill": "device"}
    assert told_limits(host.limits) == (
        "the host decides how long layers take; the device decides how long prompts take"
    )


def test_a_datasheet_may_be_asked_for_all_three() -> None:
    """Eager layers wait for the host; those of graphs have small kernels that an engine fuses."""
    eager, graphs, engine = (by_datasheet(regime) for regime in Regime)
    assert layer(eager) == pytest.approx(HOSTED)
    small = LIGHT * 31 * KERNEL_CYCLES / A100.clock_hz
    assert layer(graphs) - layer(engine) == pytest.approx(small)
    assert eager.limits["layer"] == "host"
    assert set(graphs.limits.values()) == set(engine.limits.values()) == {"device"}
    assert [one.regime for one in (eager, graphs, engine)] == list(Regime)
    assert any("24 us (16 .. 30)" in note for note in eager.notes)


def test_without_a_regime_a_datasheet_is_an_engines_as_before() -> None:
    """Point by point, at every corner."""
    plain, engine = by_datasheet(None), by_datasheet(Regime.ENGINE)
    assert plain.regime is Regime.ENGINE
    assert plain.notes == engine.notes
    for corner, table in plain.tables.items():
        assert table.points.equals(engine.tables[corner].points)


def test_how_fast_the_host_is_counts_for_layers_and_heads_alike() -> None:
    """Where a corner takes layers one way and heads the other, only the counts are wrong apart."""
    eager = by_datasheet(Regime.EAGER)
    assert layer(eager, "low") == pytest.approx(41 * HOST_SECONDS.low)
    assert layer(eager, "layers_low") == pytest.approx(HOSTED * (1 - COUNT_DOUBT))
    assert layer(eager, "layers_high") == pytest.approx(HOSTED * (1 + COUNT_DOUBT))


@pytest.mark.parametrize(
    ("graphs", "regime"),
    [
        ("eager", "eager"),
        ("static", "eager"),
        ("compile", "eager"),
        ("cuda", "graphs"),
        ("cuda+compile", "graphs"),
        ("kernels alone", "engine"),
        ("none", None),
    ],
)
def test_a_recording_is_in_the_regime_it_was_made_in(
    tmp_path: Path, graphs: str, regime: str | None
) -> None:
    profile = on_a100(tmp_path / "p", graphs=graphs)
    assert Provenance.of(profile).regime == regime
    assert measured_latencies(profile).regime == regime


def test_its_own_regime_changes_nothing(tmp_path: Path) -> None:
    """Neither at home nor on another device, where eager layers wait as long as they did."""
    for graphs, regime in (("eager", Regime.EAGER), ("cuda", Regime.GRAPHS)):
        profile = recorded(tmp_path, graphs)
        for device in (A100, H100):
            plain = carried_latencies(profile, device, **ASKED)
            same = carried_latencies(profile, device, regime=regime, **ASKED)
            assert (same.basis, same.regime) == (plain.basis, regime)
            for corner, table in plain.tables.items():
                assert table.points.equals(same.tables[corner].points)


def test_graphs_to_eager_wait_for_a_host(tmp_path: Path) -> None:
    """The device's time is the measured one, and a host's 41 kernels take longer."""
    profile = recorded(tmp_path, "cuda")
    eager = carried_latencies(profile, A100, regime=Regime.EAGER, **ASKED)
    assert (eager.basis, eager.regime) == ("carried", Regime.EAGER)
    assert layer(eager) == pytest.approx(HOSTED)
    assert eager.limits["layer"] == "host"


def test_graphs_to_an_engine_lose_their_small_kernels(tmp_path: Path) -> None:
    """31 of them, of which half the time is uncertain."""
    profile = recorded(tmp_path, "cuda")
    at_home = carried_latencies(profile, A100, **ASKED)
    engine = carried_latencies(profile, A100, regime=Regime.ENGINE, **ASKED)
    small = LIGHT * 31 * KERNEL_CYCLES / A100.clock_hz
    assert layer(at_home) - layer(engine) == pytest.approx(small)
    assert layer(engine, "low") < layer(engine) - small / 4
    assert layer(engine, "high") > layer(engine) + small / 4
    assert any("as graphs of a framework's kernels" in note for note in engine.notes)


def test_what_waited_for_its_host_tells_an_engine_only_its_upper_end(tmp_path: Path) -> None:
    """Layers of ten times what an A100 needs: the device took no longer, and maybe far less."""
    profile = recorded(tmp_path, "eager")
    rows = profile.latency.copy()
    rows.loc[rows["kind"] == "layer", "seconds"] *= 10
    slow = replace(profile, latency=rows)
    before = carried_latencies(slow, A100, **ASKED)
    after = carried_latencies(slow, A100, regime=Regime.ENGINE, **ASKED)
    assert before.limits["layer"] == "host"
    assert after.limits["layer"] == "device"
    assert layer(after) < layer(before) / 5
    assert layer(after, "low") < layer(after) < layer(after, "high") <= 1.1 * layer(before)
    assert layer(after, "high") > layer(before) / 2
    assert any("was all of that time at most" in note for note in after.notes)


def test_a_cpu_has_no_other_regime_than_its_own() -> None:
    cpu = replace(
        A100,
        name="my-cpu",
        architecture="cpu",
        peak_flops={"bf16": 1e12},
        sustained_flops={},
    )
    eager = by_datasheet(Regime.EAGER, cpu)
    assert eager.tables["high"].points.equals(by_datasheet(None, cpu).tables["high"].points)
    assert eager.limits == {}
    with pytest.raises(DeviceError, match="my-cpu is a CPU, which starts its work itself"):
        by_datasheet(Regime.GRAPHS, cpu)


def test_assumed_latencies_are_of_no_regime(tmp_path: Path) -> None:
    origin = Provenance.of(synthetic_profile(tmp_path / "p"))
    assert origin.regime is None
    origin.check_regime(None)
    with pytest.raises(DeviceError, match="are of no launch regime"):
        origin.check_regime(Regime.EAGER)


def test_an_unknown_regime_is_refused() -> None:
    with pytest.raises(DeviceError, match="no launch regime 'fast': wanted one of eager, graphs"):
        Regime.named("fast")
