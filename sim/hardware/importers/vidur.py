"""Import operator times recorded for the Vidur simulator as a latency profile.

A layer is the sum of its operators.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.profile_folder import new_profile
from adadecode.profiles.schema import TABLES
from adadecode.profiles.store import Profile, write_profile

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


def import_vidur(path: Path, model: ModelShape, device: Device, out: Path) -> Profile:
    """Write a latency profile from Vidur's ``mlp.csv``.

    It holds medians of one GPU in seconds. Layers stand at context 0, because attention is not in
    the file.

    Args:
        path: The file.
        model: The model it was recorded on.
        device: The GPU it was recorded on.
        out: Directory of the profile; missing or empty.

    Raises:
        ProfileError: If the file lacks columns, is of another model or holds impossible times.
        InputError: If ``out`` is in use, or cannot be written into.
    """
    with new_profile(out):
        return write_profile(out, *_profile_of(path, model, device))


def _profile_of(
    path: Path, model: ModelShape, device: Device
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the tables."""
    table = _read(path, model)
    operators = [
        name for name in LAYER if _median(name) in table and table[_median(name)].notna().all()
    ]
    seconds = 1e-3 * table[[_median(name) for name in operators]].sum(axis=1)
    tokens: list[int] = table.index.tolist()
    rows = [
        ("layer", layer, n, 0, model.n_layers, 0, s)
        for layer in range(model.n_layers)
        for n, s in zip(tokens, seconds, strict=True)
    ]
    rows += [
        ("embed", -1, n, 0, 0, 0, 1e-3 * s)
        for n, s in zip(tokens, table[_median("emb")], strict=True)
        if s > 0
    ]
    latency = pd.DataFrame(rows, columns=TABLES["latency"].names)
    tables: dict[str, Any] = {
        name: latency if name == "latency" else schema.empty_table()
        for name, schema in TABLES.items()
    }
    return _manifest(path, model, device, operators), tables


def _median(operator: str) -> str:
    return f"time_stats.{operator}.median"


def _read(path: Path, model: ModelShape) -> pd.DataFrame:
    """Return the rows of one GPU by number of tokens."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ProfileError(
            f"cannot read {path} as CSV ({' '.join(str(error).split())}): give Vidur's mlp.csv"
        ) from error
    needed = [
        TOKENS,
        SHARDS,
        *SHAPE,
        *(_median(name) for name in (*LAYER, "emb") if name != OPTIONAL),
    ]
    if missing := [name for name in needed if name not in table]:
        raise ProfileError(
            f"{path} lacks the columns {', '.join(missing)}: "
            "wanted Vidur's mlp.csv, medians of every operator in ms"
        )
    numbers = [name for name in table if name in {*needed, _median(OPTIONAL)}]
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    if (strange := table[[TOKENS, SHARDS, *SHAPE]].isna().any(axis=1)).any():
        raise ProfileError(
            f"{path} does not say in line {strange.argmax() + 2} what was measured: "
            f"wanted whole numbers as {', '.join([TOKENS, SHARDS, *SHAPE])}"
        )
    one = table[table[SHARDS] == 1].drop_duplicates(TOKENS).set_index(TOKENS).sort_index()
    if one.empty:
        raise ProfileError(f"{path} has no row with {SHARDS} 1: times of one GPU are wanted")
    for theirs, ours in SHAPE.items():
        got = one[theirs].iloc[0]
        if got != getattr(model, ours):
            raise ProfileError(
                f"{path} is of a model with {theirs} {got}, {model.name} has "
                f"{getattr(model, ours)}: name the model it was recorded on"
            )
    columns = [
        _median(name)
        for name in (*LAYER, "emb")
        if _median(name) in one and not (name == OPTIONAL and one[_median(name)].isna().all())
    ]
    times = one[columns].to_numpy(dtype=np.float64)
    always = one[[_median(name) for name in LAYER if name != OPTIONAL]].to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(times) & (times >= 0)).all(axis=1) | ~(always > 0).all(axis=1)
    if wrong.any():
        raise ProfileError(
            f"{path} has times that cannot be (0, negative, missing, or no numbers) at {TOKENS} "
            f"{one.index[wrong.argmax()]}: record it again"
        )
    return one


def _manifest(
    path: Path, model: ModelShape, device: Device, operators: Sequence[str]
) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "name": f"{model.name} on {device.name}, operator times",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": model.name,
            "n_layers": model.n_layers,
            "n_parameters": model.total_parameters,
            "config": {},
            "shape": asdict(model),
        },
        "heads": {"name": "none", "depths": []},
        "hardware": {"device": device.name},
        "software": {"source": "Vidur operator profile"},
        "dtype": "float16",
        "attention": "excluded",
        "graphs": "kernels alone",
        "seed": 0,
        "prompts": {"sha256": hashlib.sha256(b"").hexdigest(), "count": 0, "domains": []},
        "settings": {"imported": path.name, "sha256": digest, "operators": list(operators)},
        "limitations": [
            (
                "medians of single operators, one sample each; a layer is their sum, without "
                "attending to its context and without gaps between kernels"
            ),
            "no heads, no verification, no text: give a trace of another profile",
        ],
        "eos_token_ids": [],
        "max_new_tokens": 1,
    }
