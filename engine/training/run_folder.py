"""The folder of a training run: whose it is, and whether the run is finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import write_json
from adadecode.profiles.digest import SEAL, canonical_json, check_seal, sealed, sha256_hex
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.profiles.input_file import read_json
from adadecode.profiles.output_path import check_output_directory
from adadecode.profiles.part_file import PART_SUFFIX

STATE = "train.json"
CONTINUATIONS = "continuations.jsonl"
"""The continuations of a run. They stay when its heads are done, for other heads of the model."""
FORMAT = 2
"""The version of the state, and of what is cached. Format 1 carried no digests."""


def run_id(settings: dict[str, Any]) -> str:
    """Return what tells a run from others: the digest of its settings."""
    return sha256_hex(canonical_json([FORMAT, settings], "the settings of a training run"))


def check_folder(folder: Path) -> None:
    """Check that a run can begin or go on in a folder, as far as its settings do not matter.

    Raises:
        InputError: The folder cannot be written into, or holds something else.
    """
    check_output_directory(folder)
    if (folder / STATE).exists():
        _read_state(folder / STATE)
    else:
        _check_empty(folder)


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
    check_folder(folder)
    path = folder / STATE
    if not path.exists():
        write_state(folder, settings, finished=False)
        return False
    state = _read_state(path)
    before, finished = state["settings"], state["finished"]
    changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    if changed or (state["format"] != FORMAT and not finished):
        difference = "; ".join(
            f"{name} was {before.get(name)}, is now {settings.get(name)}" for name in changed
        )
        raise InputError(
            f"{folder} holds a training run with other settings "
            f"({difference or 'another version of this program'}): "
            f"use the same, or name another --out, with --reuse {folder} for its continuations"
        )
    return bool(finished)


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
    write_json(folder / STATE, sealed(state, "the state of a training run"))


def _check_empty(folder: Path) -> None:
    ours = {f"{STATE}{PART_SUFFIX}", LOCK_FILE}
    if folder.exists() and any(entry.name not in ours for entry in folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no training run: name another --out")


def _read_state(path: Path) -> dict[str, Any]:
    """Return the state of a run with its format, settings and whether it is finished.

    Raises:
        InputError: It is damaged or was edited.
    """
    todo = "name another --out"
    state = read_json(path)
    if (
        not isinstance(state, dict)
        or state.get("format") not in range(1, FORMAT + 1)
        or not isinstance(state.get("settings"), dict)
        or not isinstance(state.get("finished"), bool)
    ):
        raise InputError(f"{path} is damaged, it does not describe a training run: {todo}")
    if state["format"] > 1 or SEAL in state:
        check_seal(state, path, todo)
    return state
