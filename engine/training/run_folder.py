"""The folder of a training run: whose it is, and whether the run is finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import PART_SUFFIX, write_json
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.profiles.output_path import check_output_directory

STATE = "train.json"
FORMAT = 1
"""The version of the state."""


def claim_folder(folder: Path, settings: dict[str, Any]) -> bool:
    """Make a folder this run's, or find that it is.

    Args:
        folder: Where the heads will be.
        settings: What a run that goes on must have again.

    Returns:
        Whether the heads are already trained.

    Raises:
        InputError: The folder cannot be written into, or holds something else.
    """
    check_output_directory(folder)
    path = folder / STATE
    if not path.exists():
        ours = {f"{STATE}{PART_SUFFIX}", LOCK_FILE}
        if folder.exists() and any(entry.name not in ours for entry in folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no training run: name another --out")
        write_state(folder, settings, finished=False)
        return False
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        before, finished = dict(state["settings"]), bool(state["finished"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}): name another --out"
        ) from error
    changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    if changed or state.get("format") != FORMAT:
        difference = "; ".join(
            f"{name} was {before.get(name)}, is now {settings.get(name)}" for name in changed
        )
        raise InputError(
            f"{folder} holds a training run with other settings "
            f"({difference or 'another version of this program'}): "
            "use the same, or name another --out"
        )
    return finished


def write_state(folder: Path, settings: dict[str, Any], *, finished: bool) -> None:
    """Write down whose folder it is.

    Args:
        folder: Where the heads are.
        settings: What a run that goes on must have again.
        finished: Whether the heads are trained.

    Raises:
        InputError: The folder cannot be written into.
    """
    state = {"format": FORMAT, "settings": settings, "finished": finished}
    write_json(folder / STATE, state)
