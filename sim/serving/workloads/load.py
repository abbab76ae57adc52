"""A load: a recorded one, or one that is drawn anew for every seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.workloads.arrival_spec import EXAMPLE, is_specification
from adadecode.sim.serving.workloads.drawn_requests import arrivals
from adadecode.sim.serving.workloads.request_file import read_workload
from adadecode.sim.serving.workloads.selection import Selection
from adadecode.sim.serving.workloads.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests, by seed.

    Attributes:
        workload: Returns the requests of a seed.
        recorded: Whether they are the same for every seed.
    """

    workload: Callable[[int], Workload]
    recorded: bool


def find_load(
    text: str,
    *,
    seed: int | None = None,
    block_size: int = 16,
    file_block_size: int | None = None,
    selection: Selection | None = None,
) -> Load:
    """Return the load that a user typed: a specification of arrivals, or a file of requests.

    Args:
        text: As `arrivals` or `read_workload` take it.
        seed: The first seed of drawn requests, where the specification does not say it; 0 by
            default. The others follow it.
        block_size: Tokens of a block of the server's keys and values.
        file_block_size: Tokens of the blocks of the file.
        selection: Which requests of the file are taken, and how they are scaled.

    Raises:
        InputError: If it is neither, or cannot be read.
    """
    if is_specification(text):
        if selection is not None and selection != Selection(seed=selection.seed):
            raise InputError(
                f"wanted a file to take a part of, got the arrivals {text!r}: say it there, like "
                f"{EXAMPLE}"
            )
        first = arrivals(text, seed=seed).seed or 0
        rest = ",".join(part for part in text.split(",") if not part.strip().startswith("seed="))
        return Load(workload=lambda number: arrivals(rest, seed=first + number), recorded=False)
    if not is_there(text):
        raise InputError(
            f"wanted a file of requests, or arrivals like {EXAMPLE}, got {shown(text)[:80]!r}, "
            "which is neither: check the name"
        )
    found = read_workload(
        text, block_size=block_size, file_block_size=file_block_size, selection=selection
    )
    return Load(workload=lambda _number: found, recorded=True)
