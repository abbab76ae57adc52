"""Single numbers of any kind as plain ones: Python's, NumPy's, and tensors of no axis.

What would have to be rounded, flags and text are no numbers here, whatever Python makes of them.
"""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any, cast


def whole_number(given: object) -> int | None:
    """Return a whole number as an int; None for anything else, 8.0 and True included."""
    value = _plain(given)
    if isinstance(value, bool):
        return None
    try:
        return operator.index(cast(Any, value))
    except TypeError:
        return None


def real_number(given: object) -> float | None:
    """Return a number as a float, which may be infinite or NaN; None for anything else."""
    value = _plain(given)
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number beyond every float
        return math.inf if cast(Any, value) > 0 else -math.inf


def flag(given: object) -> bool | None:
    """Return True or False, also where it is written 1 or 0; None for anything else."""
    value = _plain(given)
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def _plain(given: object) -> object:
    """Return the value of a NumPy scalar, or of an array or tensor without an axis.

    An array or a tensor with axes is None, though one of a single element has an index.
    """
    axes = getattr(given, "ndim", None)
    if axes is None:
        return given
    return cast(Any, given).item() if axes == 0 else None
