"""The profile format: the schemas of its tables, and what its manifest must hold.

A profile is the only thing that passes from the engine to the simulator. What each column means is
in `adadecode.profiles.columns`. Everything is in seconds, joules and bytes.

Positions count from the first token of the prompt. An *output* is a generated token: output 0 comes
from the prefill, and output i is predicted by the token at position ``n_prompt + i - 1``.

Decoding is greedy, or sampled where the manifest has ``sampling`` (temperature, top_k, top_p,
seed). Confidences and acceptances are then those of the distributions after temperature, top-k and
top-p. The trace holds each head's most likely token; the committed text, and so the tokens of the
last layer, are drawn. Measured runs drew texts of their own, whose every outcome is in the table
``draws``.
"""

from __future__ import annotations

import pyarrow as pa

from adadecode.profiles.columns import COLUMNS

SCHEMA = "adadecode-profile"
SCHEMA_VERSION = 3
"""2 may hold sampled texts, and 3 heads with gates. A profile without them is still written as
version 1, and all are read."""
MANIFEST = "manifest.json"

LATENCY_KINDS = ("embed", "layer", "head", "gate", "verify", "prefill", "host")
"""What a latency sample timed.

* ``embed``: the token embedding of ``n_tokens``.
* ``layer``: decoder layer ``layer`` (0-based) for ``n_tokens`` at once, the last of them at
  position ``context`` - 1. It ran again after ``reuse`` layers had run (itself included): L when
  the whole stack is walked, fewer when a shallow exit comes back to it sooner and finds its weights
  in the cache.
* ``head``: one check of the head at depth ``layer``.
* ``gate``: one question to the gate before the head at depth ``layer``.
* ``verify``: final norm, LM head and argmax over ``n_tokens`` rows.
* ``prefill``: a whole prompt of ``n_tokens`` to its first token.
* ``host``: what one piece of work costs outside the model (scheduler, bookkeeping); ``n_tokens`` is
  1.

Where layer, reuse or context mean nothing, they are -1, 0 and 0.
"""

SERVING_KINDS = ("layer", "attention", "unequal", "ends", "choice", "check", "gate", "host")
"""What a row of the table ``serving`` timed; see `adadecode.profiles.columns`."""

_TYPES = {"int32": pa.int32(), "float64": pa.float64(), "bool": pa.bool_(), "text": pa.string()}


def _arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a `Column.type`."""
    if name.startswith("list["):
        return pa.list_(_TYPES[name.removeprefix("list[").removesuffix("]")])
    return _TYPES[name]


ALL_TABLES: dict[str, pa.Schema] = {
    name: pa.schema([(column.name, _arrow_type(column.type)) for column in table.columns])
    for name, table in COLUMNS.items()
}
"""The schema of every table that a profile may have."""

OPTIONAL_COLUMNS: dict[str, frozenset[str]] = {
    name: frozenset(column.name for column in table.columns if column.optional)
    for name, table in COLUMNS.items()
}
"""By table, columns that a file may lack; see `Column.optional`."""

REQUIRED_COLUMNS: dict[str, tuple[str, ...]] = {
    name: tuple(column.name for column in table.columns if not column.optional)
    for name, table in COLUMNS.items()
}
"""By table, columns that every file has, in order."""

SAMPLED_TABLES = {"draws": ALL_TABLES["draws"]}
"""Tables that only a sampled profile has."""

LOAD_TABLES = ("load_requests", "load_steps", "load_work", "load_pieces")
"""What a batched engine did under a load; a profile has all of them, or none."""

OPTIONAL_TABLES = {
    name: ALL_TABLES[name] for name in ("baselines", "head_forms", "serving", *LOAD_TABLES)
}
"""Tables that a profile may have. A missing one is read as an empty one."""

TABLES = {
    name: schema
    for name, schema in ALL_TABLES.items()
    if name not in SAMPLED_TABLES and name not in OPTIONAL_TABLES
}
"""Tables that every profile has."""

REQUIRED_MANIFEST = (
    "schema",
    "schema_version",
    "model",
    "heads",
    "hardware",
    "software",
    "dtype",
    "seed",
    "prompts",
    "settings",
    "limitations",
    "eos_token_ids",
    "max_new_tokens",
    "tables",
)
"""Keys that every manifest has."""
