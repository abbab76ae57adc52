"""Kernel tables that others publish: found by system, engine and version, and read as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles.errors import DeviceError, InputError, LatencyError, ProfileError
from adadecode.sim.hardware.kernel_tables import library as module
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.kernel_tables.tables import KernelTables
from tests.support.kernel_tables import (
    DEVICE,
    attention_seconds,
    product_seconds,
    product_table,
    write_kernel_tables,
)

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data" / "aiconfigurator"


def tables(folder: Path, products: pd.DataFrame | None = None) -> KernelTables:
    return KernelLibrary.of(write_kernel_tables(folder, products)).tables("a100_sxm", "vllm")


def test_tables_are_found_in_a_folder_and_the_newest_version_counts(tmp_path: Path) -> None:
    versions = ["0.9.0", "0.14.0", "1.0.0rc3", "1.0.0", "1.0.0.post1"]
    for version in reversed(versions):
        write_kernel_tables(tmp_path, version=version)
    write_kernel_tables(tmp_path, system="h100_sxm")
    (tmp_path / ".git").mkdir()
    library = KernelLibrary.of(tmp_path)
    assert library.systems == ("a100_sxm", "h100_sxm")
    assert library.backends("a100_sxm") == ("vllm",)
    assert library.versions("a100_sxm", "vllm") == tuple(versions)
    assert library.tables("a100_sxm", "vllm").version == "1.0.0.post1"
    assert library.tables("a100_sxm", "vllm", "0.9.0").name == "a100_sxm, vllm 0.9.0"


def test_the_installed_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_kernels"
    write_kernel_tables(package / "systems" / "data")
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "PACKAGE", "some_kernels")
    assert KernelLibrary.installed().systems == ("a100_sxm",)
    monkeypatch.setattr(module, "PACKAGE", "no_such_kernels")
    with pytest.raises(InputError, match=r"no-such-kernels.* pip install 'adadecode\[kernels\]'"):
        KernelLibrary.installed()


def test_rows_are_in_seconds_and_watts(tmp_path: Path) -> None:
    products = product_table({"bfloat16": 2.0, "fp8": 1.0})
    products["power"] = np.where(products["m"] == 1, 0.0, 250.0)
    found = tables(tmp_path, products)
    assert found.device_name == DEVICE
    assert found.formats == ("bfloat16", "fp8")
    for dtype, width in (("bf16", 2.0), ("fp8", 1.0)):
        rows = found.products(dtype).rows.set_index(["m", "n", "k"])
        one = rows.loc[(8, 4096, 1024)]
        assert one["seconds"] == pytest.approx(product_seconds(8, 4096, 1024, width))
        assert one["watts"] == 250
        assert np.isnan(rows.loc[(1, 64, 64)]["watts"])
    decode = found.decode_attention(n_heads=32, n_kv_heads=8, head_dim=128).rows
    assert decode.set_index(["batch", "context"]).loc[(2, 1024)]["seconds"] == pytest.approx(
        attention_seconds(2, 1024, 8)
    )
    prompt = found.prompt_attention(n_heads=32, n_kv_heads=8, head_dim=128).rows
    assert list(prompt) == ["batch", "prompt", "seconds", "watts"]
    assert prompt["watts"].isna().all()
    assert set(found.digests) == {
        *("gemm_perf.parquet", "generation_attention_perf.parquet"),
        "context_attention_perf.parquet",
    }


def test_numbers_may_be_of_any_width_and_repeated_rows_count_by_their_median(
    tmp_path: Path,
) -> None:
    table = product_table()
    slow = table.assign(latency=table["latency"] * 3)
    again = pd.concat([table, table, slow]).astype(
        {"m": "int32", "n": "float64", "latency": "float32"}
    )
    rows = tables(tmp_path, again).products("bf16").rows.set_index(["m", "n", "k"])
    assert rows.loc[(1, 64, 64)]["seconds"] == pytest.approx(product_seconds(1, 64, 64), rel=1e-6)


def test_measurements_that_failed_are_left_out_and_told(tmp_path: Path) -> None:
    table = product_table()
    table.loc[[0, 7], "latency"] = [0.0, np.nan]
    found = tables(tmp_path, table)
    assert len(found.products("bf16").rows) == len(table) - 2
    (note,) = found.notes
    assert note.startswith(f"2 of {len(table)} rows of gemm_perf.parquet hold no time")
    table["latency"] = -1.0
    with pytest.raises(ProfileError, match="hold no latency above 0 ms"):
        tables(tmp_path / "other", table).products("bf16")


def test_what_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    library = KernelLibrary.of(write_kernel_tables(tmp_path))
    found = library.tables("a100_sxm", "vllm")
    with pytest.raises(DeviceError, match=r"no system 'a10_sxm' .* nearest are a100_sxm"):
        library.tables("a10_sxm", "vllm")
    with pytest.raises(DeviceError, match=r"no engine 'vlm' .* nearest are vllm"):
        library.tables("a100_sxm", "vlm")
    with pytest.raises(DeviceError, match=r"no version '0\.15\.0' .* nearest are 0\.14\.0"):
        library.tables("a100_sxm", "vllm", "0.15.0")
    with pytest.raises(LatencyError, match=r"no products in fp8 .* it has bfloat16"):
        found.products("fp8")
    heads = {"n_heads": 32, "n_kv_heads": 8, "head_dim": 128}
    for change, message in (
        ({"n_heads": 33}, "with heads 33 .* it has 1, 2, 4, 8, 16, 32"),
        ({"n_kv_heads": 16}, "heads of keys and values 16 .* it has 8"),
        ({"head_dim": 64}, "heads of width 64 .* it has 128"),
        ({"cache": "fp8"}, "keys and values in fp8 .* it has bfloat16"),
        ({"window": 128}, "a window of 128 .* it has none with a window"),
    ):
        with pytest.raises(LatencyError, match=message):
            found.decode_attention(**(heads | change))


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"SYSTEM/gemm/ENGINE/VERSION/gemm_perf.parquet"):
            KernelLibrary.of(place)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "got something unreadable"),
        (lambda data: b"", "got something unreadable"),
        (lambda data: data[:4] + bytes(200) + data[204:], "got something unreadable|none"),
    ],
)
def test_a_torn_file_is_refused(tmp_path: Path, damage, message: str) -> None:
    write_kernel_tables(tmp_path)
    (path,) = tmp_path.rglob("gemm_perf.parquet")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ProfileError, match=message):
        KernelLibrary.of(tmp_path).tables("a100_sxm", "vllm").products("bf16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": 0}, "whole numbers as m .* got 0 in row 0"),
        ({"k": 1.5}, "whole numbers as k .* got 1.5"),
        ({"n": np.nan}, "whole numbers as n .* got nan"),
        ({"n": "many"}, "a column n of type int64"),
        ({"gemm_dtype": None}, "a column gemm_dtype of type string .* got none"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, change, message: str) -> None:
    gone = [name for name, value in change.items() if value is None]
    table = product_table().drop(columns=gone)
    table = table.assign(**{name: value for name, value in change.items() if value is not None})
    with pytest.raises(ProfileError, match=message):
        tables(tmp_path, table).products("bf16")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_kernel_tables(tmp_path)
    (path,) = tmp_path.rglob("context_attention_perf.parquet")
    path.unlink()
    found = KernelLibrary.of(tmp_path).tables("a100_sxm", "vllm")
    with pytest.raises(ProfileError, match=r"no file .*context_attention_perf.parquet"):
        found.prompt_attention(n_heads=32, n_kv_heads=8, head_dim=128)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the published tables in ../shared/data")
def test_published_tables_are_read() -> None:
    library = KernelLibrary.of(SHARED)
    assert library.versions("h200_sxm", "vllm")[-1] == "0.24.0"
    found = library.tables("a100_sxm", "vllm")
    assert len(found.products("bf16").rows) == 9240
    assert not found.notes
