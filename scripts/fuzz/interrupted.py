"""End a process when it opens a file, as a kill would, to leave behind what is unfinished."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def until_opened(name: str, act: Callable[[], object]) -> None:
    """Do something in a process that ends when it opens a file whose name holds ``name``.

    Raises:
        RuntimeError: If no such file was opened.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _act(name, act)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"wanted to end where {name} is opened, got the status {status}")


def _act(name: str, act: Callable[[], object]) -> None:
    """Act and end; never returns."""

    def end(event: str, arguments: tuple[Any, ...]) -> None:
        writing = event == "open" and arguments[2] & (os.O_CREAT | os.O_RDWR | os.O_WRONLY)
        if writing and name in os.path.basename(str(arguments[0])):  # noqa: PTH119 - may be bytes
            os._exit(0)

    try:
        sys.addaudithook(end)
        act()
    except BaseException:  # noqa: BLE001 - said, and then the process ends
        traceback.print_exc()
    finally:
        os._exit(1)
