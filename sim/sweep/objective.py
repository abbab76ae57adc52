"""The objectives of a sweep: what makes one design better than another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.errors import DesignError


@dataclass(frozen=True)
class Objective:
    """A column of `adadecode.sim.prediction.evaluator.COLUMNS` that a sweep optimises.

    Attributes:
        column: Name of the column.
        title: What people read.
        unit: Unit of the column; empty for a ratio.
        more_is_better: Whether a larger number is better.
    """

    column: str
    title: str
    unit: str
    more_is_better: bool = False


OBJECTIVES = {
    "tpot": Objective("tpot_s", "time per output token", "s"),
    "speedup": Objective("speedup", "speedup over vanilla", "", more_is_better=True),
    "memory": Objective("memory_bytes", "peak memory", "bytes"),
    "flops": Objective("flops_per_token", "FLOPs per output token", "FLOP"),
    "bytes": Objective("bytes_per_token", "bytes moved per output token", "bytes"),
    "energy": Objective("energy_j_per_token", "energy per output token", "J"),
}
"""The objectives by the names that users give."""


def checked_objectives(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, each once.

    Raises:
        DesignError: If a name is not known, or there is none.
    """
    wanted = tuple(dict.fromkeys(names))
    if strange := [name for name in wanted if name not in OBJECTIVES]:
        raise DesignError(f"unknown objective {strange[0]!r}: known are {', '.join(OBJECTIVES)}")
    if not wanted:
        raise DesignError(
            f"wanted one objective or more, got none: known are {', '.join(OBJECTIVES)}"
        )
    return wanted


def costs(designs: pd.DataFrame, objectives: Sequence[str]) -> NDArray[np.float64]:
    """Return what is to be made small, shape ``(rows, objectives)``.

    Raises:
        DesignError: If nothing is known of an objective.
    """
    for name in objectives:
        if designs[OBJECTIVES[name].column].isna().all():
            raise DesignError(
                f"nothing is known of the objective {name} here: FLOPs, bytes and memory need the "
                "shape of the model (--model), joules a device with watts"
            )
    columns = []
    for name in objectives:
        values = designs[OBJECTIVES[name].column].to_numpy(dtype=np.float64)
        columns.append(-values if OBJECTIVES[name].more_is_better else values)
    return np.stack(columns, axis=1)
