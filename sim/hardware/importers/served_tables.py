"""Read the tables of LLMServingSim's profile, and make rows of the table ``serving`` of them."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.input_file import LARGEST_TEXT, decode, is_there, read_bytes
from adadecode.profiles.schema import ALL_TABLES

TODO = "give the folder of LLMServingSim's profile, as it is"

LAYER = {
    "layernorm": 2, "qkv_proj": 1, "rotary_emb": 1, "o_proj": 1, "gate_up_proj": 1, "act_fn": 1,
    "down_proj": 1,
}  # fmt: skip
"""The kernels of one layer without attention, and how often it runs each."""

ENDS = ("embedding", "final_layernorm")
CHOICE = ("lm_head", "sampler")

_COLUMNS = {
    "dense.csv": ("layer", "tokens", "time_us"),
    "attention.csv": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"),
    "per_sequence.csv": ("layer", "sequences", "time_us"),
    "skew.csv": ("n", "nb", "pc", "kp", "kvs", "kv_big", "t_mean_us", "t_max_us", "t_skew_us"),
}
FILES = ("dense.csv", "attention.csv", "per_sequence.csv")
"""The files that every folder has."""

_ATTENTION = {
    "prefill_chunk": "chunk", "kv_prefill": "cached", "kv_decode": "context",
}  # fmt: skip
_UNEQUAL = {
    "pc": "chunk", "kp": "cached", "n": "n_decode", "kvs": "context", "nb": "n_long",
    "kv_big": "long_context",
}  # fmt: skip
_TIMES = {
    "time_us": "seconds", "t_skew_us": "seconds", "t_mean_us": "equal_seconds",
    "t_max_us": "longest_seconds",
}  # fmt: skip
"""What a column of microseconds is called in seconds."""


def read_table(path: Path, digests: dict[str, str], *, whole: bool = True) -> pd.DataFrame:
    """Return a file with its sizes as whole numbers, and its times in seconds.

    Args:
        path: The file.
        digests: Where its SHA-256 is noted, by its name.
        whole: Whether a row without a time is refused, and not left out.

    Raises:
        ProfileError: If it is missing, no CSV, lacks columns, or holds times that cannot be.
    """
    data = read_bytes(path, at_most=LARGEST_TEXT, error=ProfileError)
    digests[path.name] = sha256_hex(data)
    try:
        table = pd.read_csv(StringIO(decode(data, path, error=ProfileError)), dtype=str)
    except (ValueError, MemoryError, OverflowError) as error:
        why = " ".join(str(error).split())
        raise ProfileError(f"cannot read {path} as CSV ({why}): {TODO}") from error
    columns = _COLUMNS[path.name]
    if missing := [name for name in columns if name not in table]:
        raise ProfileError(f"{path} lacks the columns {', '.join(missing)}: {TODO}")
    numbers = table[[name for name in columns if name != "layer"]].apply(
        pd.to_numeric, errors="coerce"
    )
    timed = [name for name in numbers if str(name).endswith("_us")]
    sizes = numbers.drop(columns=timed).to_numpy(dtype=np.float64)
    times = numbers[timed].to_numpy(dtype=np.float64)
    sized = (np.floor(sizes) == sizes).all(axis=1) & (sizes >= 0).all(axis=1)
    sized &= np.isfinite(sizes).all(axis=1)
    fine = sized & (np.isfinite(times) & (times > 0)).all(axis=1)
    if not whole and sized.all() and fine.any():
        table, numbers, times = table[fine], numbers[fine], times[fine]
    elif table.empty or not fine.all():
        wrong = ~(fine if whole or sized.all() else sized)
        line = int(np.flatnonzero(wrong)[0]) + 2 if len(table) else 1
        raise ProfileError(
            f"wanted whole sizes and a time above 0 us in line {line} of {path}: {TODO}"
        )
    found = numbers.drop(columns=timed).astype(np.int64)
    if "layer" in columns:
        found = found.assign(layer=table["layer"].astype(str))
    seconds = {_TIMES[str(name)]: 1e-6 * times[:, at] for at, name in enumerate(timed)}
    return pd.DataFrame(found.assign(**seconds))


def read_unequal(path: Path, digests: dict[str, str]) -> pd.DataFrame | None:
    """Return the attention of sequences of two lengths; None where it was not measured.

    Rows that hold no time, of measurements that failed, are left out.

    Raises:
        ProfileError: As `read_table`.
    """
    return read_table(path, digests, whole=False) if is_there(path) else None


def by_name(table: pd.DataFrame, size: str, names: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the seconds of each kernel, a column, by size, where all of them were measured.

    Raises:
        ProfileError: If a kernel is missing.
    """
    if missing := [name for name in names if name not in set(table["layer"])]:
        raise ProfileError(f"{path} holds no times of {', '.join(missing)}: {TODO}")
    found: pd.DataFrame = (
        table[table["layer"].isin(names)]
        .pivot_table(index=size, columns="layer", values="seconds", aggfunc="median")
        .dropna()
    )
    return found


def serving_table(
    kernels: pd.DataFrame,
    choices: pd.DataFrame,
    attention: pd.DataFrame,
    unequal: pd.DataFrame | None,
) -> pd.DataFrame:
    """Return the table ``serving``.

    Args:
        kernels: Seconds of each kernel, a column, by tokens.
        choices: Seconds of LM head and sampler, two columns, by sequences.
        attention: The rows of ``attention.csv``.
        unequal: Those of ``skew.csv``, whose times of equal and unequal contexts are on one scale
            of their own; None where there are none.
    """
    layer = sum(times * kernels[name] for name, times in LAYER.items())
    parts = [
        _sums("layer", pd.Series(layer, index=kernels.index)),
        _sums("ends", kernels[list(ENDS)].sum(axis=1)),
        _sums("choice", choices[list(CHOICE)].sum(axis=1)),
        attention.rename(columns=_ATTENTION).assign(kind="attention"),
    ]
    if unequal is not None:
        parts.append(unequal.rename(columns=_UNEQUAL).assign(kind="unequal"))
    table = pd.concat(parts, ignore_index=True)
    names = ALL_TABLES["serving"].names
    table = table.reindex(columns=names)
    for column in _TIMES.values():
        table[column] = table[column].fillna(table["seconds"])
    sizes = [name for name in names if name != "kind" and not name.endswith("seconds")]
    return table.fillna(dict.fromkeys(sizes, 0)).astype(dict.fromkeys(sizes, np.int32))


def _sums(kind: str, seconds: pd.Series[float]) -> pd.DataFrame:
    return pd.DataFrame({"kind": kind, "n_tokens": seconds.index, "seconds": seconds.to_numpy()})
