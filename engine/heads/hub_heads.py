"""Exit heads in a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from adadecode.engine.heads.heads_description import CONFIG
from adadecode.engine.heads.heads_file import WEIGHTS
from adadecode.engine.loading.hub import from_here, hub_reason, quiet_hub
from adadecode.profiles.errors import HeadsError, InputError

_OPTIONS = ("revision", "force_download", "token")


def hub_folder(
    name: str, /, *, cache_dir: str | Path | None, local_files_only: bool, **options: Any
) -> str:
    """Return the folder of the cached copy of a repository's heads, fetched where it is missing.

    Args:
        name: The repository.
        cache_dir: The folder of cached copies; the library's own where None.
        local_files_only: Whether to take a cached copy without asking the hub.
        options: ``revision``, ``force_download`` and ``token`` are passed on, others are not.

    Raises:
        HeadsError: There is no such repository, or the hub does not answer.
    """
    known = {key: options[key] for key in _OPTIONS if key in options}
    try:
        here = local_files_only or from_here(name, cache=cache_dir)
    except InputError as error:
        raise HeadsError(str(error)) from error
    try:
        with quiet_hub.needed():
            return snapshot_download(
                name,
                allow_patterns=[WEIGHTS, CONFIG],
                cache_dir=cache_dir,
                local_files_only=here,
                **known,
            )
    except (OSError, ValueError) as error:
        why = hub_reason(error, name) or type(error).__name__
        raise HeadsError(
            f"no heads {name!r}, neither a folder here nor to be had from the hub: {why}"
        ) from error
