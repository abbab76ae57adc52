"""What an Optuna search has learned, kept so that an interrupted one goes on.

Optuna's own journal is appended to at every step: a process that is killed may tear its last line,
and a lock that it leaves stops the next one for half a minute. Here a file is written for each
batch of trials, whole or not at all, and the lock of the sweep's folder is enough.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import write_json
from adadecode.profiles.digest import check_seal, sealed
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import read_json

LOGS = "logs"


class TrialJournal:
    """The steps of a study. It is what Optuna calls the backend of a journal.

    Args:
        folder: Where the files are.

    Raises:
        InputError: If a file is not as it was written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: list[str] = []
        self._files = 0
        while self._path(self._files).exists():
            self.append_logs(_read(self._path(self._files)))
            self._files += 1
        self._kept = len(self._lines)

    @property
    def begun(self) -> bool:
        """Whether an earlier process kept anything."""
        return self._files > 0

    def read_logs(self, log_number_from: int) -> Sequence[dict[str, Any]]:
        """Return the steps from a number on."""
        return [json.loads(line) for line in self._lines[log_number_from:]]

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Add steps, which are on the disk after the next `save`."""
        self._lines += [json.dumps(log) for log in logs]

    def save(self) -> None:
        """Write what was added since. Raises InputError where it cannot be written."""
        path = self._path(self._files)
        write_json(path, sealed({LOGS: self.read_logs(self._kept)}, str(path)), indent=None)
        self._files, self._kept = self._files + 1, len(self._lines)

    def _path(self, index: int) -> Path:
        return self.folder / f"trials-{index:06d}.json"


def _read(path: Path) -> list[dict[str, Any]]:
    document = read_json(path)
    todo = f"remove {path.parent} and sweep again"
    logs = document.get(LOGS) if isinstance(document, dict) else None
    if not isinstance(logs, list):
        raise InputError(f"{path} is not as the search wrote it: {todo}")
    check_seal(document, path, todo)
    return logs
