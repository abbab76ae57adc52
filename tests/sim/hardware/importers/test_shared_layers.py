"""Kernel tables of several devices that share every layer, and keys and values in FP8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, LatencyError, ShapeError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.hardware.importers.aiconfigurator import import_kernels, system_device
from adadecode.sim.hardware.kernel_tables.collectives import Collectives
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.kernel_tables.model import share_of
from adadecode.sim.hardware.kernel_tables.tables import KernelTables
from adadecode.sim.hardware.layer_transfer import layer_rows
from adadecode.sim.hardware.provenance import Provenance
from tests.support.kernel_tables import (
    MESSAGES,
    attention_seconds,
    exchange_seconds,
    product_seconds,
    write_exchanges,
    write_kernel_tables,
)

SHAPE = replace(find_model("llama-3.1-8b"), name="small", n_layers=4)
DEVICE = system_device("a100_sxm")


def tables(folder: Path, *, exchanges: bool = True) -> KernelTables:
    place = write_kernel_tables(folder / "t", caches={"bfloat16": 1.0, "fp8": 0.5})
    if exchanges:
        write_exchanges(place)
    return KernelLibrary.of(place).tables("a100_sxm", "vllm")


def imported(folder: Path, n_devices: int = 2, cache: str = "bf16") -> Profile:
    return import_kernels(
        tables(folder), SHAPE, DEVICE, folder / "p", cache=cache, n_devices=n_devices
    )


def parts(profile: Profile, kind: str, n_tokens: int = 1, context: int = 0) -> dict[str, float]:
    (piece,) = (
        one
        for one in profile.manifest["settings"]["rests_on"]
        if (one["kind"], one["n_tokens"], one["context"]) == (kind, n_tokens, context)
    )
    return {one["part"]: one["seconds"] for one in piece["parts"]}


def test_two_devices_have_half_the_widths_and_two_sums_a_layer(tmp_path: Path) -> None:
    """Of 32 heads with 8 of keys, and 14,336 columns: qkv 3,072, MLP 14,336 and 7,168 wide."""
    profile = imported(tmp_path)
    layer = parts(profile, "layer", 8, 1024)
    for name, n, k in (
        ("qkv", 3072, 4096),
        ("attention_out", 4096, 2048),
        ("mlp_up", 14336, 4096),
        ("mlp_down", 4096, 7168),
    ):
        assert layer[name] == pytest.approx(product_seconds(8, n, k), rel=1e-6)
    assert layer["attention"] == pytest.approx(attention_seconds(1, 1024, 4))
    for name in ("attention_sum", "mlp_sum"):
        assert layer[name] == pytest.approx(exchange_seconds(8 * 4096, 2))
    assert parts(profile, "embed", 8)["embed_sum"] == pytest.approx(exchange_seconds(8 * 4096, 2))


def test_the_lm_head_is_split_and_its_logits_are_gathered(tmp_path: Path) -> None:
    """NCCL gathers; the matrix of an exit head is whole."""
    profile = imported(tmp_path)
    verify, head = parts(profile, "verify", 4), parts(profile, "head")
    assert verify["lm_head"] == pytest.approx(product_seconds(4, 64128, 4096), rel=1e-6)
    assert verify["logits"] == pytest.approx(2 * exchange_seconds(4 * 128256, 2))
    assert head["head_matrix"] == pytest.approx(product_seconds(1, 4096, 4096))


def test_the_profile_says_how_many_devices_it_is_of(tmp_path: Path) -> None:
    imported(tmp_path)
    profile = read_profile(tmp_path / "p")
    origin = Provenance.of(profile)
    assert (origin.machine, origin.n_devices) == ("2 x a100-80gb-sxm", 2)
    assert origin.require_shape() == SHAPE
    assert profile.manifest["name"].startswith("small on 2 x a100-80gb-sxm")
    assert any("16 of 32 heads" in line for line in profile.manifest["limitations"])


def test_sums_beyond_the_engines_table_are_nccls(tmp_path: Path) -> None:
    exchanges = Collectives.of(tables(tmp_path), 2)
    short, long = (exchanges.all_reduce("sum", MESSAGES[at]) for at in (-4, -1))
    assert short.seconds == pytest.approx(exchange_seconds(MESSAGES[-4], 2))
    assert long.seconds == pytest.approx(2 * exchange_seconds(MESSAGES[-1], 2))
    assert "nccl" in long.note
    with pytest.raises(LatencyError, match="nothing is carried beyond it"):
        exchanges.all_reduce("sum", 2 * MESSAGES[-1])
    with pytest.raises(LatencyError, match=f"there are {MESSAGES[0]} to"):
        exchanges.all_gather("logits", 7)


def test_what_several_devices_lack_is_told(tmp_path: Path) -> None:
    here = tables(tmp_path, exchanges=False)
    with pytest.raises(LatencyError, match=r"several devices need .*custom_allreduce_perf"):
        import_kernels(here, SHAPE, DEVICE, tmp_path / "p", n_devices=2)
    write_exchanges(tmp_path / "t")
    here = KernelLibrary.of(tmp_path / "t").tables("a100_sxm", "vllm")
    with pytest.raises(LatencyError, match=r"over 8 devices .* it has 2, 4, choose one .* --tp"):
        import_kernels(here, SHAPE, DEVICE, tmp_path / "p", n_devices=8)
    with pytest.raises(ShapeError, match=r"32 heads, .* which 3 devices cannot share evenly"):
        import_kernels(here, SHAPE, DEVICE, tmp_path / "p", n_devices=3)
    assert not (tmp_path / "p").exists()


def test_heads_of_keys_are_held_twice_where_there_are_fewer_than_devices() -> None:
    shape = share_of(replace(SHAPE, n_kv_heads=2), 8)
    assert (shape.n_heads, shape.n_kv_heads, shape.vocab_size) == (4, 1, 16032)


def test_nothing_is_carried_from_several_devices(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"2 x a100-80gb-sxm, which share every layer"):
        layer_rows(imported(tmp_path), DEVICE, None, [1])


def test_keys_and_values_in_fp8_take_half_the_bytes(tmp_path: Path) -> None:
    wide = imported(tmp_path / "a", 1)
    narrow = imported(tmp_path / "b", 1, "fp8")
    assert parts(narrow, "layer", 1, 8192)["attention"] == pytest.approx(
        attention_seconds(1, 8192, 4)
    )
    assert parts(wide, "layer", 1, 8192)["attention"] == pytest.approx(
        attention_seconds(1, 8192, 8)
    )
    precision = Provenance.of(narrow).require_precision()
    assert (precision.weights, precision.cache) == ("bf16", "fp8")
    assert precision.cost(SHAPE).cache_bytes == 1.0


def test_a_format_of_keys_and_values_that_the_table_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"in int8 .* it has bfloat16, fp8, choose .* --kv-dty"):
        imported(tmp_path, 1, "int8")
