"""What every stage is told, and what is told of every stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "scripts/paper-rates"
"""Heads at the paper's rates, a synthetic profile (`scripts.gpu_run.paper_trace`)."""


@dataclass(frozen=True, kw_only=True)
class GpuRun:
    """What every stage is told. seconds: this call has. source: the profile whose decisions the shapes follow."""

    work: Path
    out: Path
    source: Path
    device: str
    dry: bool
    wheels: Path | None
    seconds: float

    @property
    def profiles(self) -> Path:
        """Where recordings lie."""
        return self.work / "profiles"

    @property
    def graphs(self) -> str:
        """How the engine runs layers: as the stage ``graphs`` found best; compiled and captured where it never ran, captured alone where it did not end.

        On a CPU by the same code without either.
        """
        if self.device != "cuda":
            return "static"
        known = result(self.work, "graphs")
        return str((known.get("result") or {}).get("best", "cuda")) if known else "cuda+compile"

    @property
    def site(self) -> Path:
        """Where wheels are installed."""
        return self.work / "site"

    @property
    def compiled(self) -> Path:
        """Where compilers keep what they made, so that no stage compiles it again."""
        return self.work / "compiled"


class StageFailure(RuntimeError):
    """What a stage found is not as it should be. told: all that it found."""

    def __init__(self, what: str, told: dict[str, Any]) -> None:
        super().__init__(what)
        self.told = told


def result(work: Path, stage: str) -> dict[str, Any]:
    """What is known of a stage: state, seconds, memory, result or error; empty where it never ran."""
    path = work / "results" / f"{stage}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def tell(work: Path, stage: str, told: Mapping[str, Any]) -> None:
    """Keep what is known of a stage."""
    path = work / "results" / f"{stage}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(told, indent=1, default=str) + "\n")
    partial.replace(path)
