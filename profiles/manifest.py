"""The manifest of a profile: its description of the recording, and the digest that seals it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adadecode.profiles.checks import AGAIN
from adadecode.profiles.digest import check_seal, seal_of
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.input_file import is_folder, is_there, read_json
from adadecode.profiles.manifest_fields import check_fields
from adadecode.profiles.schema import (
    MANIFEST,
    REQUIRED_MANIFEST,
    SAMPLED_TABLES,
    SCHEMA,
    SCHEMA_VERSION,
    TABLES,
)

DEMO_MODEL, DEMO_HEADS = "adadecode demo model", "adadecode demo heads"
"""The names of model and heads in a recording of the demo."""

HEADS = "heads.json"
"""The description in a folder of exit heads, which is taken for a profile at times."""

SHARED = "shared"
"""The key that marks the manifest of a copy without text (`adadecode.sim.sharing`)."""


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a manifest, its own digest left out.

    Raises:
        ProfileError: If the manifest holds something that JSON cannot carry.
    """
    return seal_of(manifest, "a manifest", error=ProfileError)


def section(manifest: object, *keys: str) -> Mapping[str, Any]:
    """Return a nested mapping of a manifest; an empty one where it is absent or something else.

    Args:
        manifest: The manifest or a part of it.
        keys: The way to the mapping, a key for each level.
    """
    found = manifest
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def has_gates(manifest: Mapping[str, Any]) -> bool:
    """Whether the recorded heads have gates."""
    return bool(section(manifest, "heads").get("gates"))


def schema_version(manifest: Mapping[str, Any]) -> int:
    """Return the version that a profile with this manifest is written as: the oldest that can."""
    if has_gates(manifest):
        return 3
    return 1 if manifest.get("sampling") is None else 2


def tables_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tables that a profile with this manifest must have, optional ones left out."""
    return (*TABLES, *(SAMPLED_TABLES if manifest.get("sampling") is not None else ()))


def check_no_heads(folder: Path) -> None:
    """Raise ProfileError where a folder that is to be a profile holds exit heads."""
    if is_there(folder / HEADS):
        raise ProfileError(
            f"wanted a profile, {folder} is a folder of exit heads: record with `adadecode-profile "
            f"--heads {folder} --out PROFILE`, and name PROFILE"
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a profile.

    Args:
        folder: The directory of the profile.

    Raises:
        ProfileError: If it is missing or unreadable, has another schema or a newer version, or does
            not have the digest that it claims.
    """
    path = folder / MANIFEST
    if not is_folder(folder):
        what = "is a file" if is_there(folder) else "does not exist"
        raise ProfileError(
            f"a profile is a directory, {folder} {what}: name the directory recorded into"
        )
    if not is_there(path):
        check_no_heads(folder)
        raise ProfileError(
            f"{folder} has no {MANIFEST}: an unfinished recording, which "
            f"`adadecode-profile --out {folder} --resume` finishes, or no profile"
        )
    manifest = read_json(path, error=ProfileError)
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        got = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise ProfileError(
            f"wanted a manifest with schema {SCHEMA!r} in {path}, got {got!r}: "
            "name a directory that `adadecode-profile` wrote"
        )
    version = manifest.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ProfileError(
            f"{folder} has schema version {version}, this program reads up to {SCHEMA_VERSION}: "
            "upgrade adadecode"
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ProfileError(
            f"wanted schema version {SCHEMA_VERSION} or an earlier one in {path}, "
            f"got {version!r}: {AGAIN}"
        )
    check_seal(manifest, path, f"restore the original, or {AGAIN}", error=ProfileError)
    return manifest


def check_manifest(manifest: Mapping[str, Any], where: str) -> int:
    """Return L, once the manifest has its required keys, layers and head depths.

    Args:
        manifest: The manifest.
        where: What it is, for the message.

    Raises:
        ProfileError: If something is missing or makes no sense.
    """
    if missing := [key for key in REQUIRED_MANIFEST if key not in manifest]:
        raise ProfileError(f"{where} lacks {', '.join(missing)}: {AGAIN}")
    check_fields(manifest, where, AGAIN)
    n_layers, depths = int(manifest["model"]["n_layers"]), manifest["heads"].get("depths")
    if (
        not isinstance(depths, list)
        or not all(type(d) is int and 0 < d < n_layers for d in depths)
        or depths != sorted(set(depths))
    ):
        raise ProfileError(
            f"wanted heads.depths rising within 1..{n_layers - 1} in {where}, got {depths!r}: "
            f"{AGAIN}"
        )
    return n_layers
