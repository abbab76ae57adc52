"""A sweep on disk: its plan and parts while it runs, its table at the end.

A directory holds ``designs.parquet``, a row for each design on each device, and ``sweep.json``,
written last, which holds what was swept and how. While the sweep runs there are ``plan.json`` and
``parts/`` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles.atomic_write import write_bytes, write_json
from adadecode.profiles.digest import SEAL, check_seal, sealed, sha256_hex
from adadecode.profiles.errors import InputError, ProfileError
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.profiles.input_file import read_bytes, read_json
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import make_folder, remove_folder
from adadecode.profiles.part_file import part_of
from adadecode.sim.sweep.description import check_description, space_of
from adadecode.sim.sweep.objective import OBJECTIVES
from adadecode.sim.sweep.parts import PARTS
from adadecode.sim.sweep.plan import RECORDED, SCHEMA_VERSION, SweepPlan, digest_of
from adadecode.sim.sweep.sweep_checks import check_finished
from adadecode.sim.sweep.table import schema_of, table_bytes, table_rows

SCHEMA = "adadecode-sweep"

ABOUT, PLAN, TABLE = "sweep.json", "plan.json", "designs.parquet"

AGAIN = "restore it, or sweep again into another directory"
"""What to do about a sweep that is not as it was written."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """A finished sweep.

    Attributes:
        path: The directory it was written to; None where it was kept in memory.
        about: What ``sweep.json`` holds: what was swept, how, and the best design of each device.
        designs: One row per design and device, with the columns of
            `adadecode.sim.prediction.evaluator.COLUMNS`, ``pareto`` (whether the design is on its
            device's front), and ``form`` where there were several forms of the heads.
    """

    path: Path | None
    about: dict[str, Any]
    designs: pd.DataFrame

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives; the first decides which design is best."""
        return tuple(self.about["objectives"])

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that were swept."""
        return tuple(self.about["best"])

    def best(self, device: str | None = None) -> dict[str, Any]:
        """Return the best design on a device.

        Args:
            device: Name of the device, or "recorded"; by default the first.

        Returns:
            The design's row as a dict, with every figure that is known (so also those of all
            objectives, see `objective_figures`), and what was worked out about it.

        Raises:
            ProfileError: If the sweep does not hold the device.
        """
        return self._of_device(device)[1]

    def front(self, device: str | None = None) -> pd.DataFrame:
        """Return the rows on a device's Pareto front, the best by the first objective first.

        Args:
            device: Name of the device, or "recorded"; by default the first.

        Raises:
            ProfileError: If the sweep does not hold the device.
        """
        name, _ = self._of_device(device)
        first = OBJECTIVES[self.objectives[0]]
        rows = self.designs[(self.designs["device"] == name) & self.designs["pareto"]]
        return rows.sort_values(
            first.column, ascending=not first.more_is_better, kind="stable", ignore_index=True
        )

    def objective_figures(self, device: str | None = None) -> dict[str, float | None]:
        """Return the best design's figure for each objective, by its name; None where unknown.

        Args:
            device: Name of the device, or "recorded"; by default the first.

        Raises:
            ProfileError: If the sweep does not hold the device.
        """
        best = self.best(device)
        return {name: best[OBJECTIVES[name].column] for name in self.objectives}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per design and device; the columns are those of `designs`."""
        return self.designs.copy()

    def _of_device(self, device: str | None) -> tuple[str, dict[str, Any]]:
        bests: dict[str, dict[str, Any]] = self.about["best"]
        name = next(iter(bests)) if device is None else device
        if name == RECORDED:
            known = self.about["devices"]
            name = next((one["device"] for one in known if one["basis"] == "measured"), name)
        if name not in bests:
            raise ProfileError(f"no device {name!r} in the sweep: it holds {', '.join(bests)}")
        return name, bests[name]


def is_finished(plan: SweepPlan, out: Path) -> bool:
    """Return whether a directory holds this sweep, finished; it may also be missing or empty.

    Raises:
        ProfileError: If something else is there.
    """
    if out.exists() and not out.is_dir():
        raise ProfileError(
            f"wanted a directory to write a sweep in, {out} is a file: name another with --out"
        )
    for name, key in ((ABOUT, "plan"), (PLAN, "digest")):
        if (out / name).is_file():
            if _value(out / name, key) == plan.digest:
                return name == ABOUT
            raise ProfileError(
                f"{out} holds a sweep of other settings or another profile: name another directory "
                "with --out"
            )
    left = {LOCK_FILE, part_of(out / PLAN).name}  # by a process that was killed at its begin
    if out.is_dir() and any(path.name not in left for path in out.iterdir()):
        raise ProfileError(f"{out} exists and is not empty: name another directory with --out")
    return False


def begin(plan: SweepPlan, out: Path) -> None:
    """Make the directory of an unfinished sweep, where it is not there yet.

    Raises:
        InputError: If it cannot be made.
    """
    if not (out / PLAN).is_file():
        write_json(out / PLAN, {"digest": plan.digest, **plan.to_dict()})
    with refusing(out / PARTS):
        make_folder(out / PARTS)


def abandon(out: Path) -> None:
    """Remove the plan of a sweep that was refused before any part of it was kept.

    The directory can then be used for another sweep.
    """
    if not (out / PARTS).is_dir() or not any((out / PARTS).iterdir()):
        remove_parts(out)


def has_parts(out: Path) -> bool:
    """Return whether what an unfinished sweep holds is in a directory."""
    return (out / PLAN).exists()


def remove_parts(out: Path) -> None:
    """Remove what an unfinished sweep holds; what cannot be removed stays."""
    with suppress(OSError):
        remove_folder(out / PARTS)
        (out / PLAN).unlink(missing_ok=True)


def finish(out: Path, about: Mapping[str, Any], rows: pd.DataFrame, *, gated: bool = False) -> None:
    """Write the table and then ``sweep.json``, and remove what an unfinished sweep holds.

    Args:
        out: The directory.
        about: What ``sweep.json`` is to hold, besides the table's SHA-256 and its own seal.
        rows: The table.
        gated: Whether some designs of its space ask gates.
    """
    data = table_bytes(rows, gated=gated)
    document = sealed({**about, "sha256": sha256_hex(data)}, "a sweep", error=ProfileError)
    write_bytes(out / TABLE, data)
    write_json(out / ABOUT, document)
    remove_parts(out)


def read_sweep(path: str | Path) -> Sweep:
    """Read a finished sweep.

    Everything in it that can be worked out again is held against the rest, so that what is read
    is what a sweep writes.

    Raises:
        ProfileError: If it is unfinished, damaged, edited, contradicts itself, or is of another
            version of the program.
    """
    folder = Path(path)
    about = _read_about(folder)
    space = space_of(about, folder / ABOUT, AGAIN)
    data = read_bytes(folder / TABLE, error=ProfileError)
    if sha256_hex(data) != about["sha256"]:
        raise ProfileError(f"{folder / TABLE} is truncated or was changed: {AGAIN}")
    n_devices = len({one["device"] for one in about["devices"]})
    schema = schema_of(formed=bool(space.forms), gated=space.has_gates, finished=True)
    rows = table_rows(data, schema, folder / TABLE, AGAIN, about["designs"] * n_devices)
    check_finished(about, space, rows, folder, AGAIN)
    return Sweep(path=folder, about=about, designs=rows)


def _read_about(folder: Path) -> dict[str, Any]:
    place = folder / ABOUT
    if not place.exists():
        found, todo = f"no {ABOUT}", "give a directory that `adadecode-sim sweep` wrote"
        if (folder / PLAN).is_file():
            found = "an unfinished one"
            todo = "finish it by calling `adadecode-sim sweep` again as before"
        raise ProfileError(f"wanted a sweep in {folder}, got {found}: {todo}")
    about = read_json(place, error=ProfileError)
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise ProfileError(
            f"{place} is not about a sweep: give a directory that `adadecode-sim sweep` wrote"
        )
    if about.get("schema_version") != SCHEMA_VERSION:
        raise ProfileError(
            f"{folder} is of schema version {about.get('schema_version')}, this program reads "
            f"{SCHEMA_VERSION}: sweep again"
        )
    if SEAL not in about:
        raise ProfileError(
            f"{place} carries no seal, so that nothing shows whether it was edited (the first "
            "versions of this program wrote none): sweep again"
        )
    check_seal(about, place, AGAIN, error=ProfileError)
    check_description(about, place, AGAIN)
    if about["plan"] != digest_of(about):
        raise ProfileError(f"{place} is not of the plan that it names: {AGAIN}")
    if (about["method"] == "optuna", not about["optimal"]) != (about["trials"] > 0,) * 2:
        raise ProfileError(f"{place} contradicts itself on whether all designs were tried: {AGAIN}")
    return about


def _value(path: Path, key: str) -> object:
    """Return a value of a JSON file; None where it is damaged."""
    try:
        found = read_json(path)
    except InputError:
        return None
    return found.get(key) if isinstance(found, dict) else None
