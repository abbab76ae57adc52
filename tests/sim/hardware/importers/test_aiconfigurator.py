"""Kernel tables of AIConfigurator, put together as the latencies of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, LatencyError, ProfileError, ShapeError
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.importers.aiconfigurator import import_kernels, system_device
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.layer_transfer import layer_rows
from adadecode.sim.hardware.provenance import Provenance
from tests.support.kernel_tables import (
    attention_seconds,
    product_seconds,
    product_table,
    write_kernel_tables,
)

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data" / "aiconfigurator"
SHAPE = replace(find_model("llama-3.1-8b"), name="small", n_layers=4)


def imported(
    folder: Path, products: pd.DataFrame | None = None, quant: str = "bf16", shape=SHAPE
) -> Profile:
    tables = KernelLibrary.of(write_kernel_tables(folder / "t", products)).tables(
        "a100_sxm", "vllm"
    )
    return import_kernels(tables, shape, system_device("a100_sxm"), folder / "p", quant)


def piece(profile: Profile, kind: str, n_tokens: int, context: int = 0) -> dict:
    return next(
        one
        for one in profile.manifest["settings"]["rests_on"]
        if (one["kind"], one["n_tokens"], one["context"]) == (kind, n_tokens, context)
    )


def test_a_layer_is_the_sum_of_its_kernels_and_each_says_what_it_rests_on(tmp_path: Path) -> None:
    profile = imported(tmp_path)
    assert profile.manifest["hardware"]["device"] == "a100-80gb-sxm"
    layer = piece(profile, "layer", 8, 1024)
    parts = {one["part"]: one for one in layer["parts"]}
    for name, n, k, basis in (
        ("qkv", 6144, 4096, "interpolated"),
        ("attention_out", 4096, 4096, "measured"),
        ("mlp_up", 28672, 4096, "interpolated"),
        ("mlp_down", 4096, 14336, "interpolated"),
    ):
        assert parts[name]["seconds"] == pytest.approx(product_seconds(8, n, k), rel=1e-6)
        assert parts[name]["basis"] == basis
    assert parts["attention"]["seconds"] == pytest.approx(attention_seconds(1, 1024, 8))
    assert parts["attention"]["basis"] == "estimated"
    assert parts["elementwise"]["basis"] == "estimated"
    total = sum(one["seconds"] for one in layer["parts"])
    assert profile.latency_table.layer(3, 8, 1024, 4) == pytest.approx(total)
    alone = {one["part"]: one["basis"] for one in piece(profile, "layer", 1, 1024)["parts"]}
    assert alone["attention"] == "measured"


def test_a_profile_prices_a_whole_design(tmp_path: Path) -> None:
    """Heads at every depth, verification, embedding, prefill, and no time of the host."""
    profile = imported(tmp_path)
    table, origin = profile.latency_table, Provenance.of(profile)
    assert origin.attends
    assert not origin.is_eager
    assert origin.require_shape() == SHAPE
    for depth in (1, 2, 3):
        assert table.head(depth, 4) > table.verify(1) > table.embed(1)
    assert table.prefill(128) > 4 * table.layer(0, 64, 128, 4)
    assert table.host() <= 1e-9


def test_layers_can_be_carried_to_another_device(tmp_path: Path) -> None:
    """Every batch has the least context of all, where layers are compared."""
    rows = layer_rows(imported(tmp_path), find_device("h100-sxm"), None, [1, 8, 64])
    assert [row["n_tokens"] for row in rows] == [1, 8, 64]
    assert all(row["predicted_s"] < row["source_s"] for row in rows)


def test_heads_that_the_table_lacks_count_as_sequences(tmp_path: Path) -> None:
    """32 heads with keys of their own attend as 8 of them do in 4 sequences."""
    profile = imported(tmp_path, shape=replace(SHAPE, n_heads=16, n_kv_heads=16, head_dim=128))
    (attention,) = (
        one for one in piece(profile, "layer", 1, 1024)["parts"] if one["part"] == "attention"
    )
    assert attention["basis"] == "composed"
    assert attention["seconds"] == pytest.approx(attention_seconds(1, 1024, 16))


def test_layers_in_fp8_keep_the_lm_head_wide(tmp_path: Path) -> None:
    products = product_table({"bfloat16": 2.0, "fp8": 1.0})
    narrow = imported(tmp_path / "a", products, "fp8")
    wide = imported(tmp_path / "b", products)
    assert Provenance.of(narrow).require_precision().weights == "fp8"
    assert narrow.latency_table.verify(1) == wide.latency_table.verify(1)
    assert narrow.latency_table.layer(0, 1, 1024, 4) < wide.latency_table.layer(0, 1, 1024, 4)


def test_what_the_tables_cannot_give_is_refused(tmp_path: Path) -> None:
    for number, (error, message, changes) in enumerate(
        (
            (LatencyError, "no products in fp8 .* it has bfloat16", {"quant": "fp8"}),
            (LatencyError, "no layers in int3 can be priced", {"quant": "int3"}),
            (
                LatencyError,
                "mlp_up .* n goes from 64 to 65536 there",
                {"shape": replace(SHAPE, intermediate_size=70000)},
            ),
            (ShapeError, r"8 experts: .*moe_perf", {"shape": find_model("mixtral-8x7b")}),
            (ProfileError, "check the unit", {"products": product_table().assign(latency=1e9)}),
        )
    ):
        folder = tmp_path / str(number)
        with pytest.raises(error, match=message):
            imported(folder, **changes)
        assert not (folder / "p").exists()
    with pytest.raises(DeviceError, match=r"no device of the catalogue is known .* --device"):
        system_device("x99_sxm")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the published tables in ../shared/data")
@pytest.mark.parametrize(
    ("system", "least", "most"), [("a100_sxm", 9e-3, 13e-3), ("h100_sxm", 5e-3, 7.5e-3)]
)
def test_published_tables_give_a_step_between_its_bytes_and_what_engines_take(
    tmp_path: Path, system: str, least: float, most: float
) -> None:
    """Llama-3.1-8B reads 15 GB: 7.4 ms on an A100, 4.5 ms on an H100, by the datasheets."""
    profile = import_kernels(
        KernelLibrary.of(SHARED).tables(system, "vllm"),
        find_model("llama-3.1-8b"),
        system_device(system),
        tmp_path / "p",
    )
    table = profile.latency_table
    step = table.layers(0, 32, 1, 1024, 32) + table.verify(1) + table.embed(1)
    assert least < step < most
