"""The salt of a recording, which its digests of prompts get when it is finished."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from adadecode.profiles.prompt_digest import new_salt, with_salt

_DIGESTS = ("sha256", "system_sha256")
"""Digests of what is private about prompts: of all together, and of the system message."""


def salted(manifest: dict[str, Any], prompts: pa.Table) -> pa.Table:
    """Salt the digests of the prompts, in the manifest in place, and return their table.

    It is done at the end, so that a resumed recording needs no salt to find its prompts again.
    """
    salt = new_salt()
    about, settings = manifest["prompts"], dict(manifest["settings"])
    digests = {key: with_salt(about[key], salt) for key in _DIGESTS if key in about}
    manifest["prompts"] = {**about, **digests, "salt": salt}
    if digest := settings.get("prompts_digest"):
        settings["prompts_digest"] = with_salt(digest, salt)[: len(digest)]
    settings.pop("system", None)  # part of the prompts, of which a recording keeps digests alone
    manifest["settings"] = settings
    place = prompts.schema.get_field_index("sha256")
    column = [with_salt(one, salt) for one in prompts["sha256"].to_pylist()]
    return prompts.set_column(place, prompts.schema.field(place), pa.array(column))
