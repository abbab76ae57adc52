"""Times that no machine can have, named with the bound that they break; and those that one can."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles import Profile, ProfileError, read_profile
from adadecode.profiles.catalog.devices import Device, catalogue
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model, shapes
from adadecode.profiles.machine_limits import machine_limits
from adadecode.profiles.plausibility import check_plausible
from adadecode.profiles.schema import ALL_TABLES
from adadecode.sim.hardware.precision import Precision
from tests.support.handmade import recorded_profile
from tests.support.recordings import on_a100
from tests.support.synthetic_profile import synthetic_profile, tables_of

A100 = "NVIDIA A100 80GB SXM4 with llama model"
CPU = {"before": {"device": "cpu", "threads": 1, "host": {"cpu": "a", "threads": 8}}}


@pytest.fixture(scope="module")
def a100(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("plausible") / "p", runs=True)


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A recording of a model and a machine that nobody knows."""
    return recorded_profile(tmp_path_factory.mktemp("somewhere") / "p")


def check(profile: Profile, **tables: pd.DataFrame) -> None:
    check_plausible(profile.manifest, tables_of(profile) | tables, "it", "record it again")


def scaled(profile: Profile, kind: str, factor: float) -> pd.DataFrame:
    """The latencies with those of one kind multiplied."""
    latency = profile.latency.copy()
    latency.loc[latency["kind"] == kind, "seconds"] *= factor
    return latency


@pytest.mark.parametrize("seconds", [1e-300, 1e-10, 1e7, 1e300])
@pytest.mark.parametrize("kind", ["layer", "head", "embed", "verify", "prefill", "host"])
def test_a_sample_that_no_machine_has_is_refused(
    somewhere: Profile, kind: str, seconds: float
) -> None:
    """One sample is enough, and the message says which."""
    latency = somewhere.latency.copy()
    row = int((latency["kind"] == kind).to_numpy().argmax())
    latency.loc[row, "seconds"] = seconds
    with pytest.raises(
        ProfileError,
        match=rf"wanted 1e-09\.\.3.6e\+03 s, the bounds of any machine, for {kind} of \d+ tokens? "
        rf"in row {row} of the latencies of it, got .*: check the unit, or record it again",
    ):
        check(somewhere, latency=latency)


@pytest.mark.parametrize("kind", ["layer", "verify", "prefill"])
def test_work_faster_than_bytes_and_flops_allow_is_refused(a100: Profile, kind: str) -> None:
    """A thousandth of what was measured: milliseconds in the place of seconds, and back."""
    with pytest.raises(ProfileError, match=rf"the bounds of {A100}, for {kind} of 1 token|{kind}"):
        check(a100, latency=scaled(a100, kind, 1e-3))


@pytest.mark.parametrize("kind", ["layer", "head", "embed", "verify", "prefill", "host"])
def test_work_far_slower_than_the_device_is_refused(a100: Profile, kind: str) -> None:
    """However few bytes it moves: seconds in the place of microseconds."""
    with pytest.raises(ProfileError, match=rf"(the bounds of {A100}|any machine), for {kind} of"):
        check(a100, latency=scaled(a100, kind, 1e6))


def test_milliseconds_taken_for_seconds_are_refused(a100: Profile) -> None:
    with pytest.raises(ProfileError, match=rf"the bounds of {A100}, for layer of"):
        check(a100, latency=scaled(a100, "layer", 1e3))


@pytest.mark.parametrize("kind", ["layer", "head", "embed", "verify", "prefill", "host"])
def test_a_sample_during_which_the_machine_slept_is_accepted(somewhere: Profile, kind: str) -> None:
    """A night is no fault of a recording that took hours, unless most of its samples have one."""
    latency = somewhere.latency.copy()
    rows = np.flatnonzero((latency["kind"] == kind).to_numpy())
    latency.loc[rows[0], "seconds"] = 4e4
    check(somewhere, latency=latency)
    latency.loc[rows, "seconds"] = 4e4
    with pytest.raises(ProfileError, match="any machine, for"):
        check(somewhere, latency=latency)


def test_one_disturbed_sample_is_accepted(a100: Profile) -> None:
    """A shared machine may hold a piece of work up for seconds."""
    latency = a100.latency.copy()
    latency.loc[0, "seconds"] = 30.0
    check(a100, latency=latency)


def test_embedding_and_verification_swapped_are_refused(somewhere: Profile) -> None:
    """Bytes tell nothing of a model that nobody knows; the two kinds tell of each other."""
    swap = {"embed": "verify", "verify": "embed"}
    latency = somewhere.latency.assign(
        kind=[swap.get(kind, kind) for kind in somewhere.latency["kind"]]
    )
    with pytest.raises(ProfileError, match="the two may be swapped"):
        check(somewhere, latency=latency)


def test_few_samples_of_a_busy_machine_are_accepted(somewhere: Profile) -> None:
    """Three samples a batch, embeddings held up to five times a verification."""
    latency = somewhere.latency.copy()
    usual = latency["seconds"][latency["kind"] == "verify"].mean()
    latency.loc[latency["kind"] == "embed", "seconds"] = 5 * usual
    check(somewhere, latency=latency)
    many = pd.concat([latency] * 6, ignore_index=True)
    with pytest.raises(ProfileError, match=r"at most 2 times .* got (5|4\.9)"):
        check(somewhere, latency=many)


def test_embedding_and_verification_of_the_recorded_profile_swapped_are_refused() -> None:
    """The demo model on a CPU, whose verification takes but twice its embedding."""
    from tests.support.paths import ROOT

    recorded = read_profile(ROOT / "profiles" / "recorded" / "demo-cpu")
    swap = {"embed": "verify", "verify": "embed"}
    kinds = [swap.get(kind, kind) for kind in recorded.latency["kind"]]
    with pytest.raises(ProfileError, match=r"got 2\.\d+: the two may be swapped"):
        check(recorded, latency=recorded.latency.assign(kind=kinds))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("runs", "decode_s", 1e-12),
        ("runs", "decode_s", 1e9),
        ("runs", "prefill_s", 1e-300),
        ("runs", "prefill_s", 1e300),
        ("works", "seconds", 1e300),
        ("works", "seconds", 1e-12),
    ],
)
def test_a_run_that_no_machine_has_is_refused(
    somewhere: Profile, table: str, column: str, value: float
) -> None:
    frame = getattr(somewhere, table).copy()
    frame.loc[3, column] = value
    with pytest.raises(ProfileError, match=rf"any machine, for {column} in row 3 of the table"):
        check(somewhere, **{table: frame})


@pytest.mark.parametrize("column", ["prefill_s", "decode_s", "compile_s"])
def test_a_baseline_that_no_machine_has_is_refused(somewhere: Profile, column: str) -> None:
    row: dict[str, Any] = {one.name: 1 for one in ALL_TABLES["baselines"]}
    row |= {"name": "generate", "error": "", "exact": True, "energy_j": math.nan, column: 1e200}
    with pytest.raises(ProfileError, match=rf"for {column} in row 0 of the table baselines"):
        check(somewhere, baselines=pd.DataFrame([row]))


def test_the_power_of_a_town_is_refused(somewhere: Profile) -> None:
    runs = somewhere.runs.copy()
    runs.loc[2, "energy_j"] = 3e8
    with pytest.raises(ProfileError, match="100000 watts, as energy_j in row 2 of the table runs"):
        check(somewhere, runs=runs)


def test_it_is_refused_when_it_is_read_and_written(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"the profile to write, got .*: check the unit"):
        synthetic_profile(tmp_path / "p", manifest={"max_new_tokens": 24}, noise=1e300)


# -- what is honest ------------------------------------------------------------------------------


def roofline(shape: ModelShape, device: Device, dtype: str, efficiency: float) -> pd.DataFrame:
    """The latencies of a device at this share of its datasheet's figures, and nothing else."""
    cost = Precision.of(dtype, dtype).cost(shape)
    peak = device.peak_flops.get(dtype, min(device.peak_flops.values()))
    works: list[tuple[str, int, int, Callable[[int, int], Any]]] = [
        ("layer", 1, 512, cost.layer),
        ("layer", 64, 4096, cost.layer),
        ("verify", 1, 0, lambda n, _: cost.verify(n)),
        ("verify", 64, 0, lambda n, _: cost.verify(n)),
        ("prefill", 64, 0, lambda n, _: cost.prefill(n)),
        ("prefill", 2048, 0, lambda n, _: cost.prefill(n)),
        ("head", 1, 0, lambda _, __: cost.head()),
    ]
    rows = []
    for kind, n, context, work in works:
        done = work(n, context)
        moved = (done.weights + done.cache + done.activations) / device.bandwidth
        seconds = max(moved, done.flops / peak) / efficiency
        rows.append((kind, 0, n, context, 0, 0, max(seconds, 2e-6)))
    return pd.DataFrame(rows, columns=ALL_TABLES["latency"].names)


@pytest.mark.parametrize("efficiency", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("name", catalogue())
def test_every_device_of_the_catalogue_may_be_as_good_as_its_datasheet_or_far_worse(
    name: str, efficiency: float
) -> None:
    """With every model of the catalogue, and the smallest one there is."""
    device = catalogue()[name]
    tiny = ModelShape(
        name="tiny", n_layers=1, hidden_size=8, intermediate_size=8, n_heads=1, n_kv_heads=1,
        head_dim=8, vocab_size=16,
    )  # fmt: skip
    dtype = next(one for one in ("bf16", "fp16", "fp32") if one in device.peak_flops)
    long = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[dtype]
    for shape in (tiny, *shapes().values()):
        model = {"name": shape.name, "n_layers": shape.n_layers, "shape": asdict(shape)}
        check_plausible(
            {"model": model, "hardware": {"device": name}, "dtype": long},
            {"latency": roofline(shape, device, dtype, efficiency)},
            "it",
            "record it again",
        )


def test_kernels_that_the_host_starts_one_by_one_are_accepted(a100: Profile) -> None:
    """A layer that is all waiting: 20 ms of it."""
    latency = a100.latency.copy()
    latency["seconds"] += 0.02
    check(a100, latency=latency)


@pytest.mark.parametrize("rate", [1e8, 1e10, 1e13])
def test_a_processor_may_be_slow_and_may_be_fast(rate: float) -> None:
    """From a single board to a large server, by the FLOPs of a large and a small model."""
    for name in ("llama-2-7b", "phi-2"):
        shape = find_model(name)
        n_tokens = np.array([1, 16], dtype=np.float64)
        seconds = 2 * shape.layer_parameters * n_tokens / rate
        latency = pd.DataFrame(
            {"kind": "layer", "layer": 0, "n_tokens": n_tokens, "context": 64, "reuse": 0,
             "repeat": 0, "seconds": seconds}
        )  # fmt: skip
        model = {"name": name, "n_layers": shape.n_layers, "shape": asdict(shape)}
        manifest = {"model": model, "hardware": CPU, "dtype": "float32"}
        check_plausible(manifest, {"latency": latency}, "it", "record it again")


def test_a_processor_is_told_from_a_device_and_from_nothing() -> None:
    assert machine_limits({"hardware": CPU}).words == "a processor of 8 threads"
    assert machine_limits({"hardware": {"device": "none"}}).words == "any device"
    gpu = {"before": {"device": "cuda", "gpu": {"name": "NVIDIA A40"}}}
    assert machine_limits({"hardware": gpu}).words == catalogue()["a40"].title


def test_several_devices_may_be_as_many_times_as_fast() -> None:
    one = machine_limits({"hardware": {"device": "a40"}})
    four = machine_limits({"hardware": {"device": "a40", "placing": {"processes": 4}}})
    assert four.words == f"4 x {one.words}"
    assert (four.flops, four.bandwidth) == (4 * one.flops, 4 * one.bandwidth)
