"""A device that is faster than one with faster memory is explained."""

from __future__ import annotations

import pandas as pd

from adadecode.sim.report.sweep.devices_section import clock_notes


def table(bytes_per_token: float, **seconds: float) -> pd.DataFrame:
    rows = [
        {"device": name.replace("_", "-"), "tpot_s": value, "bytes_per_token": bytes_per_token}
        for name, value in seconds.items()
    ]
    return pd.DataFrame(rows)


def test_a_small_model_goes_with_the_clock() -> None:
    """28 MB take 28 us of 265 us on an RTX 4090, and less on an H100."""
    (note,) = clock_notes(table(28e6, h100_sxm=329e-6, rtx_4090=265e-6))
    assert note.startswith("rtx-4090 is predicted to be faster than h100-sxm although its memory")
    assert "1.0 against 3.4 TB/s" in note
    assert "2.52 against 1.83 GHz" in note


def test_a_large_model_needs_no_note() -> None:
    """It goes with the memory, as one expects."""
    assert clock_notes(table(16e9, h100_sxm=5e-3, rtx_4090=17e-3)) == []


def test_devices_that_the_catalogue_does_not_know_have_no_note() -> None:
    assert clock_notes(table(28e6, somewhere=329e-6, rtx_4090=265e-6)) == []


def test_time_for_reading_is_no_matter_of_the_clock() -> None:
    """A prediction that is fast for another reason is not explained by the clock."""
    assert clock_notes(table(1e9, h100_sxm=2e-3, rtx_4090=1e-3)) == []
