"""The comparison with a real server: how far the default run is off, and what it keeps."""

from __future__ import annotations

import pytest

from benchmarks.serving_real_server import STATISTICS, TIMES, compare
from tests.support.paths import SHARED_DATA

FOLDER = SHARED_DATA / "llmservingsim/RTX4090/Llama-3.1-8B"


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.exists(), reason="no data of a real server beside this checkout")
def test_the_default_run_stays_within_a_hundredth_of_the_server() -> None:
    """With the server's blocks; with those of memory, a tenth fewer, requests wait longer."""
    found = compare(FOLDER)
    errors = found["rows"][found["as_imported"]]["errors"]
    for time in TIMES:
        for statistic in STATISTICS:
            assert abs(errors[time][statistic]) < 0.01, (time, statistic)
    assert found["kv_blocks_of_memory"] == pytest.approx(found["kv_blocks"], rel=0.1)
    assert found["rows"]["memory"]["errors"]["ttft_s"]["mean"] > 0.01
