"""Run by Python at its start where `tests.support.failing_disk.environment_with` is in use."""

from __future__ import annotations

import os

if "ADADECODE_TEST_FAULT" in os.environ:
    from tests.support.failing_disk import install_from_environment

    install_from_environment()
