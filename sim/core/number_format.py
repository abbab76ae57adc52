"""Numbers as people read them: one spelling in the terminal, in messages and on the page.

A share is ``2.8%``, a speedup ``2.13x`` (``2.13×`` on the page), and a dash stands for what is not
known. The figures of a column share one `Scale`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

UNKNOWN = "-"
"""Stands where a number is not known."""

PREFIXES = (
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "u"),
)
"""The factor and the letter of each prefix of a unit, the largest first."""


def known(number: object) -> bool:
    """Return whether this is a number, and not NaN."""
    return isinstance(number, Real) and not math.isnan(number)


def percent(share: float | None, decimals: int | None = None) -> str:
    """Return a share as ``2.8%``.

    Args:
        share: The share, 1 for all; None or NaN where it is not known.
        decimals: Digits behind the point. By default one, and below 1% two significant digits, as
            in ``0.016%``.
    """
    if share is None or not known(share):
        return UNKNOWN
    if decimals is None and 0 < abs(share) < 0.01:
        return f"{significant(share * 100, 2)}%"
    return f"{share:.{1 if decimals is None else decimals}%}"


def times(ratio: float | None, decimals: int = 2, sign: str = "x") -> str:
    """Return a ratio as ``2.13x``.

    Args:
        ratio: The ratio; None or NaN where it is not known.
        decimals: Digits behind the point.
        sign: The multiplication sign; ASCII unless the text is for a page.
    """
    return UNKNOWN if ratio is None or not known(ratio) else f"{ratio:.{decimals}f}{sign}"


def significant(number: float, digits: int = 3) -> str:
    """Round to so many significant digits; never written like ``1e+05``."""
    if not known(number):
        return UNKNOWN
    if number == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    return f"{round(number, decimals):,.{max(decimals, 0)}f}"


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
        factor, prefix = next((pair for pair in PREFIXES if abs(largest) >= pair[0]), PREFIXES[-1])
        whole = 1 if largest == 0 else math.floor(math.log10(abs(largest) / factor)) + 1
        return cls(factor=factor, unit=f"{prefix}{unit}", decimals=max(digits - whole, 0))

    def text(self, number: float) -> str:
        """Return a number of the column, without its unit."""
        return f"{number / self.factor:,.{self.decimals}f}"
