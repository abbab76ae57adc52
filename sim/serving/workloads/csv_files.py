"""CSV files of requests, known by the names of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads.trace_rows import TraceRows

if TYPE_CHECKING:
    import pandas as pd

ASK_ARRIVALS = "draw them, like poisson:5,lengths=FILE"
"""What to do with a file that says how long requests are, and not when they arrive."""


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """A format of CSV files.

    Attributes:
        name: Whose it is.
        time: Column with the arrival.
        prompt: Column with the tokens of the prompt.
        output: Column with the tokens of the output.
        stamps: Whether times are stamps such as ``2023-11-16 18:15:46.6805900``; else seconds.
        failures: Whether a request without tokens failed, and is left out.
    """

    name: str
    time: str
    prompt: str
    output: str
    stamps: bool = False
    failures: bool = False

    @property
    def columns(self) -> tuple[str, str, str]:
        """The columns that are read."""
        return self.time, self.prompt, self.output


FORMATS = (
    CsvFormat(
        name="Azure",
        time="TIMESTAMP",
        prompt="ContextTokens",
        output="GeneratedTokens",
        stamps=True,
    ),
    CsvFormat(
        name="BurstGPT",
        time="Timestamp",
        prompt="Request tokens",
        output="Response tokens",
        failures=True,
    ),
    CsvFormat(
        name="Vidur",
        time="arrived_at",
        prompt="num_prefill_tokens",
        output="num_decode_tokens",
    ),
)
"""Every format: the Azure LLM inference traces of 2023 and 2024, BurstGPT and Vidur."""


def read_csv_rows(text: str, where: str, *, arrivals: bool = True) -> TraceRows:
    """Return the rows of a CSV file.

    Args:
        text: The file.
        where: Its name, for messages.
        arrivals: Whether it must say when requests arrive. Where it need not, times may be 0.

    Raises:
        InputError: If it is no CSV, or lacks columns.
    """
    table = _table(text, where)
    form = _format(table, where)
    wanted = form.columns if arrivals else (form.prompt, form.output)
    if missing := [name for name in wanted if name not in table]:
        todo = f"wanted {', '.join(form.columns)} of {form.name}"
        if missing == [form.time]:
            todo = f"it does not say when requests arrive: {ASK_ARRIVALS}"
        raise InputError(f"{where} lacks the columns {', '.join(missing)}: {todo}")
    prompts, outputs = (_numbers(table[name]) for name in (form.prompt, form.output))
    kept = np.ones(len(table), dtype=np.bool_)
    if form.failures:
        kept = (prompts != 0) & (outputs != 0)
    if not arrivals:
        times = np.zeros(len(table))
    else:
        times = _stamps(table[form.time], where) if form.stamps else _numbers(table[form.time])
    return TraceRows(
        where=where,
        lines=(np.arange(len(table)) + 2)[kept],
        arrival_s=times[kept],
        n_prompt=prompts[kept],
        n_output=outputs[kept],
        left_out=int((~kept).sum()),
    )


def _table(text: str, where: str) -> pd.DataFrame:
    """Return the cells of a CSV as text."""
    import pandas as pd

    try:
        # A blank line is a row of its own, so that the numbers of lines are right.
        table = pd.read_csv(StringIO(text.rstrip()), dtype=str, skip_blank_lines=False)
    except (ValueError, MemoryError, OverflowError) as error:
        raise InputError(
            f"cannot read {where} as CSV ({' '.join(str(error).split())}): mend it"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(f"{where} has rows with more cells than its header: mend them")
    table = table.rename(columns=lambda name: str(name).strip())
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise InputError(f"{where} has the column {twice} twice: leave one out")
    return table


def _format(table: pd.DataFrame, where: str) -> CsvFormat:
    """Return the format of which a table has most columns: two of three at least."""
    best = max(FORMATS, key=lambda form: sum(name in table for name in form.columns))
    if sum(name in table for name in best.columns) < 2:
        known = "; ".join(f"{', '.join(form.columns)} of {form.name}" for form in FORMATS)
        names = ", ".join(map(str, table.columns[:8]))
        raise InputError(
            f"wanted a CSV of requests with the columns {known}, got {names[:160]} in {where}: "
            "rename its columns"
        )
    return best


def _numbers(cells: pd.Series[str]) -> NDArray[np.float64]:
    """Return cells as numbers, NaN for what is none."""
    import pandas as pd

    return pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _stamps(cells: pd.Series[str], where: str) -> NDArray[np.float64]:
    """Return time stamps as seconds from the first one, NaN for what is none.

    Stamps may have any number of digits, and a time zone; without one they are in UTC.

    Raises:
        InputError: If a stamp is of a year that nanoseconds do not reach.
    """
    import pandas as pd

    stamps = pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce")
    try:
        whole = stamps.dt.as_unit("ns")
    except ValueError:
        raise InputError(
            f"wanted time stamps of the years 1678 to 2261 in {where}, got others: mend them"
        ) from None
    known = whole.dropna()
    if known.empty:
        return np.full(len(cells), np.nan)
    seconds = (whole - known.iloc[0]).dt.total_seconds()
    return np.asarray(seconds.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
