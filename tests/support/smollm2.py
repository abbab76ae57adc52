"""The real model of the tests: where it is, or why a test that needs it is skipped."""

from __future__ import annotations

import pytest

from adadecode.engine.loading import smollm2

needs_smollm2 = pytest.mark.skipif(
    not smollm2.is_fetched(),
    reason=f"needs the model smollm2, which is not on this machine: run {smollm2.FETCH}",
)
