"""Compare two recordings in all that does not depend on when they were made."""

from __future__ import annotations

import pandas as pd

from adadecode.profiles.schema import TABLES
from adadecode.profiles.store import Profile

OF_ITS_OWN = ("seconds", "prefill_s", "decode_s", "energy_j", "sha256")
"""The columns that differ between two recordings: timings, and digests under a salt of its own."""


def assert_same_but_timings(one: Profile, other: Profile) -> None:
    """Fail unless every table is the same, `OF_ITS_OWN` aside."""
    for name in TABLES:
        left, right = (
            getattr(profile, name).drop(columns=list(OF_ITS_OWN), errors="ignore")
            for profile in (one, other)
        )
        pd.testing.assert_frame_equal(left, right)
