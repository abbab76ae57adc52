"""Check rows of a sweep: values that can be, and rows that do not contradict each other.

Digests show that a table was changed. These checks refuse what no sweep writes, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.design import Policy
from adadecode.sim.prediction.evaluator import ENERGY
from adadecode.sim.sweep.table import FORM

ROUNDING = 1e-6
"""By how much two numbers may differ, relative to themselves, that are the same before rounding."""

WIDEST = 1000.0
"""By which factor an end of an interval may differ from what it is around: beyond, it is absurd."""

LARGEST = 1e30
"""More bytes, FLOPs or joules than any token takes."""

_SHARES = ("early_rate", "reject_rate", "modelled_share")

_KNOWN = ("tpot_s", "tokens_per_s", "speedup", "ttft_s", "tokens_per_round", *_SHARES)
"""Numbers that every design has. The others are NaN where nothing is known of them."""

_ABOVE_0 = (
    *("tpot_s", "tokens_per_s", "speedup", "speedup_low", "speedup_high", "tpot_low", "tpot_high"),
    *("speedup_first", "speedup_second"),
)

_INTERVALS = (
    ("tpot_low", "tpot_s", "tpot_high"),
    ("speedup_low", "speedup", "speedup_high"),
    ("energy_low", "energy_j_per_token", "energy_high"),
    ("energy_over_low", "energy_over_vanilla", "energy_over_high"),
)

_Array = NDArray[Any]


def check_rows(rows: pd.DataFrame, numbers: Iterable[str], where: object, todo: str) -> None:
    """Refuse rows with a value that cannot be, or that contradicts another one.

    Args:
        rows: Rows of a sweep, of one or several devices.
        numbers: The columns of numbers.
        where: The file, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If there is one; the message names its row.
    """
    checks = _Checks(rows, where, todo)
    for name in numbers:
        if name in rows or name not in ENERGY:
            checks.number(name)
    for low, middle, high in _INTERVALS:
        if low in rows:
            checks.interval(low, middle, high)
    checks.same("tokens_per_s", "1 / tpot_s", 1 / rows["tpot_s"].to_numpy())
    checks.vanilla()
    checks.memory()


class _Checks:
    """Checks of one table."""

    def __init__(self, rows: pd.DataFrame, where: object, todo: str) -> None:
        self.rows, self.where, self.todo = rows, where, todo

    def number(self, name: str) -> None:
        """Check that the numbers of a column are finite and in their range."""
        wanted, fine = _range(name)
        values = self.rows[name].to_numpy(dtype=np.float64)
        with np.errstate(invalid="ignore"):
            good = np.isfinite(values) & fine(values)
        if name not in _KNOWN:
            wanted, good = f"{wanted}, or NaN", good | np.isnan(values)
        self._refuse(~good, name, wanted)

    def interval(self, low: str, middle: str, high: str) -> None:
        """Check that a number lies in its interval, and that both ends are known or neither."""
        ends = self.rows[low].to_numpy(), self.rows[high].to_numpy()
        self._refuse(np.isnan(ends[0]) != np.isnan(ends[1]), low, f"both {low} and {high} or none")
        value = self.rows[middle].to_numpy()
        for name, end in zip((low, high), ends, strict=True):
            with np.errstate(invalid="ignore"):
                far = (end > value * WIDEST) | (end < value / WIDEST)
            self._refuse(far, name, f"an end of the interval within {WIDEST:g} times {middle}")
        with np.errstate(invalid="ignore"):
            outside = (value < ends[0] * (1 - ROUNDING)) | (value > ends[1] * (1 + ROUNDING))
        for row in np.flatnonzero(outside)[:1].tolist():
            wanted = f"{middle} within its interval {ends[0][row]:.6g} .. {ends[1][row]:.6g}"
            self._refuse(outside, middle, wanted)

    def same(self, name: str, wanted: str, values: _Array) -> None:
        """Check that a column is what it follows from."""
        got = self.rows[name].to_numpy()
        self._refuse(~np.isclose(got, values, rtol=ROUNDING, atol=0.0), name, wanted)

    def vanilla(self) -> None:
        """Check that the speedups of a device are all over the same vanilla."""
        keys = [name for name in ("device", FORM) if name in self.rows]
        vanilla = self.rows["speedup"] * self.rows["tpot_s"]
        most = vanilla.groupby([self.rows[name] for name in keys]).transform("median")
        wanted = "speedups over the same vanilla in all rows of a device"
        self.same("speedup", wanted, (most / self.rows["tpot_s"]).to_numpy())
        self._refuse(
            (self.rows["policy"] == str(Policy.VANILLA)).to_numpy()
            & ~np.isclose(self.rows["speedup"].to_numpy(), 1.0, rtol=ROUNDING),
            "speedup",
            "1 for vanilla",
        )

    def memory(self) -> None:
        """Check that what does not fit on a device is larger than what does."""
        for _, mine in self.rows.groupby("device", sort=False):
            fits, taken = mine["fits"].astype(bool), mine["memory_bytes"]
            least = taken[~fits].min()  # NaN where everything fits
            wrong = (fits & (taken >= least)) | (~fits & taken.isna())
            self._refuse(
                self.rows.index.isin(mine.index[wrong]),
                "fits",
                "designs that fit to take less memory than those that do not",
            )

    def _refuse(self, wrong: _Array, name: str, wanted: str) -> None:
        """Raise ProfileError for the first row that is marked."""
        places = np.flatnonzero(wrong)
        if places.size:
            row = self.rows.iloc[int(places[0])]
            raise ProfileError(
                f"wanted {wanted}, got {row[name]} as {name} of {row['design']} on "
                f"{row['device']} in row {places[0]} of {self.where}: {self.todo}"
            )


def _range(name: str) -> tuple[str, Callable[[_Array], _Array]]:
    """Return the range of a column: in words, and a test."""
    if name in _SHARES:
        return "a share in 0..1", lambda x: (x >= 0) & (x <= 1 + ROUNDING)
    if name in _ABOVE_0:
        return f"a number above 0 of at most {LARGEST:g}", lambda x: (x > 0) & (x <= LARGEST)
    return f"a number in 0..{LARGEST:g}", lambda x: (x >= 0) & (x <= LARGEST)


def check_devices(
    rows: pd.DataFrame, designs: Sequence[str], devices: Sequence[str], where: object, todo: str
) -> None:
    """Refuse rows that are not each of these designs on each of these devices, once.

    Args:
        rows: The rows.
        designs: Labels of the designs.
        devices: Names of the devices.
        where: The file, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If a row is missing, there twice or not wanted.
    """
    wanted = pd.MultiIndex.from_product([list(dict.fromkeys(designs)), list(devices)])
    got = pd.MultiIndex.from_frame(rows[["design", "device"]])
    for found, what in (
        (got[got.duplicated()], "to be there once, got it twice"),
        (got.difference(wanted, sort=False), "not to be there, got it"),
        (wanted.difference(got, sort=False), "to be there, got none"),
    ):
        if len(found):
            design, device = found[0]
            raise ProfileError(f"wanted {design} on {device} {what} in {where}: {todo}")
