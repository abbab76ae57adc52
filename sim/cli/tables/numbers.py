"""Numbers as tables show them: one unit and one number of decimals a column."""

from __future__ import annotations

import math
from dataclasses import dataclass

UNKNOWN = "-"
"""Stands where a number is not known."""

_PREFIXES = (
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "u"),
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The unit and the decimals of a column.

    Attributes:
        factor: How much of the plain unit its unit is.
        unit: Its unit, with a prefix.
        decimals: Digits behind the point.
    """

    factor: float
    unit: str
    decimals: int

    @classmethod
    def of(cls, largest: float, unit: str, digits: int = 4) -> Scale:
        """Return the scale on which the largest number of a column has so many digits."""
        factor, prefix = next(
            (pair for pair in _PREFIXES if abs(largest) >= pair[0]), _PREFIXES[-1]
        )
        whole = 1 if largest == 0 else math.floor(math.log10(abs(largest) / factor)) + 1
        return cls(factor=factor, unit=f"{prefix}{unit}", decimals=max(digits - whole, 0))

    def text(self, number: float) -> str:
        """Return a number of the column, without its unit."""
        return f"{number / self.factor:,.{self.decimals}f}"


def percent(share: float | None) -> str:
    """Return ``2.81%``, or a dash for what is not known."""
    return UNKNOWN if share is None or math.isnan(share) else f"{share:.2%}"


def times(ratio: float | None) -> str:
    """Return ``2.13 x``, or a dash for what is not known."""
    return UNKNOWN if ratio is None or math.isnan(ratio) else f"{ratio:.2f} x"
