"""GPU runs on a CPU: the settings of a dry run, and the command as its users call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.gpu_run.state import PAPER_RATES, GpuRun
from tests.support.paths import ROOT


def gpu_run(work: Path, **changes: Any) -> GpuRun:
    """Return the settings of a dry run that keeps everything in ``work``."""
    settings: dict[str, Any] = {
        "work": work,
        "out": work,
        "source": PAPER_RATES,
        "device": "cpu",
        "dry": True,
        "wheels": None,
        "seconds": 1.0,
    }
    return GpuRun(**{**settings, **changes})


def gpu_run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``python -m scripts.gpu_run`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.gpu_run", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
