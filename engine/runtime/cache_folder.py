"""Where what can be had again is kept: fetched models, compiled products."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of caches.

    It is ``ADADECODE_CACHE``, or else ``adadecode`` in the user's folder of caches.
    """
    own = os.environ.get("ADADECODE_CACHE")
    if own:
        return Path(own).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "adadecode"
