"""The time of a product: as measured, on a straight line between shapes, and never beyond them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adadecode.profiles.errors import LatencyError
from adadecode.sim.hardware.kernel_tables.products import ProductTimes
from adadecode.sim.hardware.kernel_tables.table_file import KernelRows
from tests.support.kernel_tables import product_seconds, product_table


def times(**changes) -> ProductTimes:
    table = product_table(**changes)
    rows = table.assign(seconds=1e-3 * table["latency"], watts=np.nan)
    return ProductTimes(table=KernelRows(rows=rows, source=Path("gemm.parquet")))


def test_a_measured_product_is_returned_exactly() -> None:
    one = times().time("qkv", 8, 4096, 1024)
    assert one.seconds == pytest.approx(product_seconds(8, 4096, 1024))
    assert one.basis == "measured"


@pytest.mark.parametrize(("n", "k"), [(28672, 4096), (4096, 14336), (6144, 3000)])
@pytest.mark.parametrize("m", [1, 512])
def test_between_widths_a_fixed_time_and_a_rate_are_found_exactly(m: int, n: int, k: int) -> None:
    """Bytes and FLOPs are even in each width, so that a kernel of one rate is hit exactly."""
    one = times().time("mlp", m, n, k)
    assert one.seconds == pytest.approx(product_seconds(m, n, k), rel=1e-6)
    assert one.basis == "interpolated"
    assert ".." in one.note


def test_nothing_is_carried_beyond_the_table() -> None:
    found = times()
    with pytest.raises(LatencyError, match="n goes from 64 to 65536 there"):
        found.time("mlp", 1, 70000, 4096)
    with pytest.raises(LatencyError, match="k goes from 64 to 65536 there"):
        found.time("mlp", 1, 4096, 32)
    with pytest.raises(LatencyError, match=r"no product of 3 rows .* it has 1, 2, 4"):
        found.time("mlp", 3, 4096, 4096)


def test_a_wider_product_is_put_together_from_equal_parts() -> None:
    one = times().time_in_parts("lm_head", 1, 128256, 4096)
    assert one.seconds == pytest.approx(2 * product_seconds(1, 64128, 4096), rel=1e-6)
    assert one.basis == "composed"
    assert one.note.startswith("2 times n 64128")


def test_shapes_that_were_left_out_are_no_neighbours() -> None:
    found = times()
    rows = found.table.rows
    gone = rows[~((rows["n"] == 65536) & (rows["k"] == 65536))]
    left = ProductTimes(table=KernelRows(rows=gone, source=Path("gemm.parquet")))
    with pytest.raises(LatencyError, match="its shapes there were not measured"):
        left.time("mlp", 1, 28672, 20000)
    assert left.time("mlp", 1, 28672, 16384).basis == "interpolated"
