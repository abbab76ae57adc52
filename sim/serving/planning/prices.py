"""What devices cost an hour. Prices change, so they are the user's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import read_toml
from adadecode.sim.core.scalars import real_number
from adadecode.sim.core.shown_text import shown

EXAMPLE = "a100-80gb-sxm = 1.79"


def read_prices(path: str | Path) -> Mapping[str, float]:
    """Read what an hour of each device costs, in any currency.

    Args:
        path: A TOML file with a line for each device, such as ``a100-80gb-sxm = 1.79``.

    Raises:
        InputError: If it cannot be read, names no device, or a price is no number above 0.
    """
    table = read_toml(path)
    if not table:
        raise InputError(f"wanted prices in {shown(path)}, got none: add a line like {EXAMPLE}")
    found = {}
    for name, given in table.items():
        price = real_number(given)
        if price is None or not (math.isfinite(price) and price > 0):
            raise InputError(
                f"wanted the price of an hour of {shown(name)} in {shown(path)} as a number above "
                f"0, got {shown(given)[:60]}: write a line like {EXAMPLE}"
            )
        found[name] = price
    return found
