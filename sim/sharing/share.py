"""Write a copy of a recording that can be given away: what `adadecode.sim.share` calls."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from adadecode.profiles.output_path import check_output_directory
from adadecode.profiles.profile_folder import new_profile
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.sharing.manifest import baseline_name, shared_manifest
from adadecode.sim.sharing.stand_ins import without_tokens

NOT_RUN = "left out of the shared copy"
"""Stands for the message of a baseline that could not run."""


def share(profile: Profile, out: str | Path, *, keep_domains: bool = False) -> Profile:
    """Write a copy of a recording without its text, and without what tells of its owner.

    Tokens are replaced by stand-ins that are new at every position, digests of prompts are left
    out, and of names, paths and the machine only what a replay needs is kept; see the guide on
    sharing. `adadecode.sim.sharing.trials` tells what still works with a copy.

    Args:
        profile: The recording.
        out: The directory of the copy: a new one, or an empty one. Its name is the copy's name.
        keep_domains: Whether domains keep their names; by default they are numbered.

    Returns:
        The copy, as read back.

    Raises:
        InputError: If the directory holds something, or cannot be written into.
        ProfileError: If the recording holds no text to leave out.
    """
    place = check_output_directory(out, "out")
    with new_profile(place):
        return _write_copy(profile, place, keep_domains=keep_domains)


def _write_copy(profile: Profile, place: Path, *, keep_domains: bool) -> Profile:
    """Write the copy into a directory that is held for it."""
    names = profile.prompts["domain"].drop_duplicates().tolist()
    domains = {
        str(name): str(name) if keep_domains else f"domain {number}"
        for number, name in enumerate(names, 1)
    }
    tables, eos = without_tokens(profile)
    prompts = tables["prompts"]
    tables["prompts"] = prompts.assign(domain=prompts["domain"].map(domains), sha256="")
    if "baselines" in tables:
        tables["baselines"] = _baselines(tables["baselines"])
    manifest = shared_manifest(profile.manifest, name=place.name, eos=eos, domains=domains)
    return write_profile(place, manifest, tables)


def _baselines(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        name=table["name"].map(baseline_name),
        error=table["error"].where(table["error"] == "", NOT_RUN),
    )
