"""A folder that somebody else is writing into."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adadecode.profiles.folder_lock import lock_folder


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[Path]:
    """Let another thread hold a folder: to this one it is as if another process did."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_folder(folder):
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        yield folder
    finally:
        done.set()
        holder.join()
