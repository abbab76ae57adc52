"""A shape small enough to be built and recorded in a test."""

from __future__ import annotations

from pathlib import Path

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model

N_LAYERS = 6
VOCABULARY = 211

TOML = f"""
[tiny]
n_layers = {N_LAYERS}
hidden_size = 32
intermediate_size = 48
n_heads = 4
n_kv_heads = 2
vocab_size = {VOCABULARY}
max_positions = 512
source = "made up for tests"
"""


def shape_file(folder: Path) -> str:
    """The name under which ``--shape`` finds it."""
    path = folder / "shapes.toml"
    path.write_text(TOML)
    return f"{path}:tiny"


def tiny_shape(folder: Path) -> ModelShape:
    """Return the shape itself."""
    return find_model(shape_file(folder))
