"""What every stage is given, and the files that hold what each stage found.

Only the standard library, and modules that need no more, are imported here: the stage ``setup``
must start where nothing is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import write_text

ROOT = Path(__file__).resolve().parents[2]
PAPER_RATES = ROOT / "scripts/paper-rates"
"""A synthetic profile of heads at the paper's rates (`scripts.gpu_run.paper_trace`)."""


@dataclass(frozen=True, kw_only=True)
class GpuRun:
    """The settings of one call, which every stage is given.

    Attributes:
        work: Folder in which everything is kept between calls.
        out: Folder that ``pack`` writes its zip files into.
        source: Profile whose decisions the large shapes follow.
        device: ``cuda`` or ``cpu``.
        dry: Whether to use tiny shapes and short texts.
        wheels: Folder of wheels to install from, or None.
        seconds: How long this call may take.
    """

    work: Path
    out: Path
    source: Path
    device: str
    dry: bool
    wheels: Path | None
    seconds: float

    @property
    def profiles(self) -> Path:
        """The folder that holds the recordings."""
        return self.work / "profiles"

    @property
    def graphs(self) -> str:
        """How the engine runs layers (``--graphs``).

        The mode that the stage ``graphs`` found fastest. Before that stage ran, compiled and
        captured; if it did not finish, only captured. On a CPU, the same code without either.
        """
        if self.device != "cuda":
            return "static"
        known = read_result(self.work, "graphs")
        return str((known.get("result") or {}).get("best", "cuda")) if known else "cuda+compile"

    @property
    def site(self) -> Path:
        """Folder that wheels are installed into."""
        return self.work / "site"

    @property
    def compiled(self) -> Path:
        """Folder in which compilers keep their outputs, so that no stage compiles them again."""
        return self.work / "compiled"


class StageFailure(RuntimeError):
    """Raised when a stage ran to its end and found something that is not as it should be.

    Args:
        message: What is wrong.
        result: Everything that the stage found.
    """

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def read_result(work: Path, stage: str) -> dict[str, Any]:
    """Return what is known of a stage: state, seconds, memory, result or error.

    Empty where the stage never ran, or its file cannot be read.
    """
    try:
        known: dict[str, Any] = json.loads(_result_path(work, stage).read_text())
    except (OSError, ValueError):
        return {}
    return known


def write_result(work: Path, stage: str, known: Mapping[str, Any]) -> None:
    """Keep what is known of a stage. Raises InputError where it cannot be written."""
    write_text(_result_path(work, stage), json.dumps(known, indent=1, default=str) + "\n")


def _result_path(work: Path, stage: str) -> Path:
    return work / "results" / f"{stage}.json"
