"""Read the operator times that the Vidur simulator recorded: its file ``mlp.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.input_file import LARGEST_TEXT, decode, read_bytes

LAYER = (
    "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj",
    "post_attention_layernorm", "mlp_up_proj", "mlp_act", "mlp_down_proj", "add",
)  # fmt: skip
"""The operators of one decoder layer, without attention itself.

``post_attention_layernorm`` is missing where a layer has one norm.
"""

OPTIONAL = "post_attention_layernorm"
SHAPE = {
    "n_head": "n_heads",
    "n_kv_head": "n_kv_heads",
    "n_embd": "hidden_size",
    "n_expanded_embd": "intermediate_size",
}
TOKENS, SHARDS = "num_tokens", "num_tensor_parallel_workers"
VOCABULARY, GATED = "vocab_size", "use_gated_mlp"
"""Columns on the shape that not every file has."""

PADDED = 1.1
"""A vocabulary may be this many times the model's: it is padded to a round number."""

APART = 2.0
"""Rows of the same batch may differ by less than this many times."""

_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class OperatorTable:
    """What a file holds on one GPU.

    Attributes:
        times: Milliseconds of each operator, a row for each number of tokens, which is the index.
        repeated: Numbers of tokens that stand in several rows, of which the first counts.
        sha256: Digest of the file.
    """

    times: pd.DataFrame
    repeated: tuple[int, ...]
    sha256: str


def median_of(operator: str) -> str:
    """Return the column that holds the median of an operator."""
    return f"time_stats.{operator}.median"


def read_operators(path: Path, model: ModelShape) -> OperatorTable:
    """Read the times of one GPU by number of tokens.

    Args:
        path: The file.
        model: The model that it must be of.

    Raises:
        ProfileError: If the file is no CSV or lacks columns, if a row is of another model or of
            none, if times are impossible, or if rows of the same batch contradict each other.
    """
    data = read_bytes(path, at_most=LARGEST_TEXT, error=ProfileError)
    table = _numbers(_columns(_parsed(decode(data, path, error=ProfileError), path), path))
    _check_sizes(table, path)
    _check_shape(table, model, path)
    one = table[table[SHARDS] == 1]
    if one.empty:
        raise ProfileError(f"{path} has no row with {SHARDS} 1: times of one GPU are wanted")
    _check_times(one, path)
    repeated = _repeated(one, path)
    one = one.astype({TOKENS: np.int64}).drop_duplicates(TOKENS).set_index(TOKENS).sort_index()
    return OperatorTable(times=one, repeated=repeated, sha256=sha256_hex(data))


def _parsed(text: str, path: Path) -> pd.DataFrame:
    """Return the cells of a CSV as text."""
    try:
        table = pd.read_csv(StringIO(text), dtype=str)
    except (ValueError, MemoryError, OverflowError) as error:
        raise ProfileError(
            f"cannot read {path} as CSV ({' '.join(str(error).split())}): give Vidur's mlp.csv"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):
        raise ProfileError(
            f"{path} has rows with more cells than its header: wanted Vidur's mlp.csv, as it is"
        )
    return table


def _columns(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the columns that are read, once all are there, and each once."""
    needed = [
        *(TOKENS, SHARDS, *SHAPE),
        *(median_of(name) for name in (*LAYER, "emb") if name != OPTIONAL),
    ]
    if missing := [name for name in needed if name not in table]:
        hint = ""
        if len(table.columns) == 1:
            hint = f", and cells apart by commas: its header is {str(table.columns[0])[:60]!r}"
        raise ProfileError(
            f"{path} lacks the columns {', '.join(missing)}: "
            f"wanted Vidur's mlp.csv, medians of every operator in ms{hint}"
        )
    known = [name for name in (*needed, median_of(OPTIONAL), VOCABULARY, GATED) if name in table]
    if twice := [name for name in known if f"{name}.1" in table]:  # as pandas names the second
        raise ProfileError(f"{path} has the column {twice[0]} twice: leave one out")
    return table[known]


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its numbers as numbers, NaN for what is none."""
    names = [name for name in table if name != GATED]
    numbers = table[names].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    return table.assign(**{str(name): numbers[name] for name in names})


def _check_sizes(table: pd.DataFrame, path: Path) -> None:
    """Refuse rows that do not say what was measured in whole numbers."""
    names = [name for name in (TOKENS, SHARDS, *SHAPE, VOCABULARY) if name in table]
    sizes = table[names].to_numpy(dtype=np.float64)
    fine = (sizes >= 1) & (sizes <= _MOST) & (np.floor(sizes) == sizes)
    strange = np.flatnonzero(~fine.all(axis=1))
    if strange.size:
        raise ProfileError(
            f"{path} does not say in line {strange[0] + 2} what was measured: "
            f"wanted whole numbers as {', '.join(names)}"
        )


def _check_shape(table: pd.DataFrame, model: ModelShape, path: Path) -> None:
    """Refuse a row of another model, also among those of several GPUs."""
    checks: list[tuple[str, object, Sequence[bool]]] = [
        (theirs, getattr(model, ours), (table[theirs] == getattr(model, ours)).tolist())
        for theirs, ours in SHAPE.items()
    ]
    if VOCABULARY in table:
        size = table[VOCABULARY]
        fits = (size >= model.vocab_size) & (size <= PADDED * model.vocab_size)
        checks.append((VOCABULARY, model.vocab_size, fits.tolist()))
    if GATED in table:
        said = table[GATED].str.strip().str.lower()
        checks.append((GATED, model.gated_mlp, (said == str(model.gated_mlp).lower()).tolist()))
    for column, wanted, fine in checks:
        if not all(fine):
            row = list(fine).index(False)
            got = table[column].iloc[row]
            raise ProfileError(
                f"{path} is of a model with {column} "
                f"{got if isinstance(got, str) else f'{got:.0f}'} in line {row + 2}, {model.name} "
                f"has {wanted}: name the model it was recorded on"
            )


def _check_times(one: pd.DataFrame, path: Path) -> None:
    """Refuse times that cannot be."""
    columns = [
        median_of(name)
        for name in (*LAYER, "emb")
        if median_of(name) in one and not (name == OPTIONAL and one[median_of(name)].isna().all())
    ]
    times = one[columns].to_numpy(dtype=np.float64)
    always = one[[median_of(name) for name in LAYER if name != OPTIONAL]].to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(times) & (times >= 0)).all(axis=1) | ~(always > 0).all(axis=1)
    if wrong.any():
        raise ProfileError(
            f"{path} has times that cannot be (0, negative, missing, or no numbers) at {TOKENS} "
            f"{one[TOKENS].iloc[wrong.argmax()]:.0f}: record it again"
        )


def _repeated(one: pd.DataFrame, path: Path) -> tuple[int, ...]:
    """Return the numbers of tokens that stand in several rows.

    Raises:
        ProfileError: If such rows differ by more than two measurements do.
    """
    rows = one[one[TOKENS].duplicated(keep=False)]
    if rows.empty:
        return ()
    columns = [median_of(name) for name in LAYER if median_of(name) in one]
    layers = rows[columns].sum(axis=1).groupby(rows[TOKENS])
    apart = layers.max() / layers.min()
    if apart.max() > APART:
        raise ProfileError(
            f"{path} has several rows for {TOKENS} {apart.idxmax():.0f} that differ "
            f"{apart.max():.3g} times: leave out those that are wrong"
        )
    return tuple(int(tokens) for tokens in apart.index)
