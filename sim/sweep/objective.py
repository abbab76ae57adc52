"""What a sweep is to make small."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.errors import DesignError

OBJECTIVES = {
    "tpot": ("tpot_s", 1),
    "speedup": ("speedup", -1),
    "memory": ("memory_bytes", 1),
    "flops": ("flops_per_token", 1),
    "bytes": ("bytes_per_token", 1),
    "energy": ("energy_j_per_token", 1),
}
"""By name: the column, and 1 for less is better, -1 for more."""


def checked_objectives(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once. Raises DesignError for one that is not known."""
    wanted = tuple(dict.fromkeys(names))
    if strange := [name for name in wanted if name not in OBJECTIVES]:
        raise DesignError(f"unknown objective {strange[0]!r}: known are {', '.join(OBJECTIVES)}")
    if not wanted:
        raise DesignError(
            f"wanted one objective or more, got none: known are {', '.join(OBJECTIVES)}"
        )
    return wanted


def costs(designs: pd.DataFrame, objectives: Sequence[str]) -> NDArray[np.float64]:
    """[rows, objectives] less is better. Raises DesignError for an objective of which nothing is known."""
    for name in objectives:
        if designs[OBJECTIVES[name][0]].isna().all():
            raise DesignError(
                f"nothing is known of the objective {name} here: FLOPs, bytes and memory need the shape of the model (--model), joules a device with watts"
            )
    columns = [
        designs[column].to_numpy(dtype=np.float64) * sign
        for column, sign in map(OBJECTIVES.__getitem__, objectives)
    ]
    return np.stack(columns, axis=1)
