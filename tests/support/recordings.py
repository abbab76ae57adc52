"""Small recordings on a device of the catalogue, for tests of other hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adadecode.profiles import Profile
from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.sim.hardware.importers.vidur import import_vidur
from tests.support.handmade import recorded_profile
from tests.support.operators import operator_csv, operator_table
from tests.support.synthetic_profile import synthetic_profile

CONFIG = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 8,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
"""Of Llama-2-7B, with 8 layers."""


def about(graphs: str = "cuda graphs", dtype: str = "float16") -> dict[str, Any]:
    """What a recording on an A100 says of itself."""
    model = {
        "name": "eighth of a llama",
        "n_layers": 8,
        "n_parameters": 1_881_214_976,
        "config": CONFIG,
    }
    return {
        "model": model,
        "hardware": {"device": "a100-80gb-sxm"},
        "graphs": graphs,
        "dtype": dtype,
    }


def on_a100(
    path: Path,
    *,
    graphs: str = "cuda graphs",
    dtype: str = "float16",
    runs: bool = False,
    **settings: Any,
) -> Profile:
    """A complete recording, with measured runs where ``runs`` is set.

    Its layers take some 0.4 to 0.6 ms, where an A100 needs 0.3 ms.
    """
    make = recorded_profile if runs else synthetic_profile
    return make(path, manifest=about(graphs, dtype), **settings)


def imported(folder: Path, model: str = "llama-2-7b", device: str = "a100-80gb-sxm") -> Profile:
    """Handmade operator times: layers of 1, 2, 4 and 8 tokens and the embedding, nothing else."""
    csv = operator_csv(folder / f"{model}.csv", operator_table(model))
    return import_vidur(
        csv, find_model(model), find_device(device), folder / f"{model} on {device}"
    )
