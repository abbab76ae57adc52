"""Shapes of language models by name (models.toml), from a Hugging Face config.json, or from its dict."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from adadecode.profiles.catalog.hf_config import shape_from_config
from adadecode.profiles.catalog.model_shape import ModelShape, default_head_dim
from adadecode.profiles.catalog.toml_tables import file_and_name, pick, read_tables
from adadecode.profiles.errors import ShapeError, nearest

__all__ = ["CATALOGUE", "ModelShape", "find_model", "read_shapes", "shape_from_config", "shapes"]

CATALOGUE = Path(__file__).with_name("models.toml")
_COUNT_MARGIN = 0.005
_FIELDS = {one.name for one in fields(ModelShape)} - {"name"}
_REQUIRED = {one.name for one in fields(ModelShape) if one.default is MISSING} - {
    "name",
    "n_kv_heads",
    "head_dim",
} | {"source"}


@cache
def shapes() -> dict[str, ModelShape]:
    """Every model of models.toml by name, in its order."""
    return read_shapes(CATALOGUE)


def find_model(wanted: str | Path | Mapping[str, Any]) -> ModelShape:
    """The shape of a model.

    wanted: a name of the catalogue (a hub name such as ``meta-llama/Llama-2-7b-hf`` is recognised); a ``config.json`` or the folder it
    lies in; ``FILE.toml`` or ``FILE.toml:NAME`` in the form of models.toml; or the dict of a config, as a profile's manifest holds it.

    Raises ShapeError for an unknown name, with the nearest ones, and for a config that lacks what is needed.
    """
    if isinstance(wanted, Mapping):
        return shape_from_config(wanted)
    text = str(wanted)
    if filed := file_and_name(text):
        path, name = filed
        return pick(read_shapes(path), path, name, "model", ShapeError)
    path = Path(text) / "config.json" if Path(text).is_dir() else Path(text)
    if path.suffix == ".json":
        return shape_from_config(_read_json(path), str(path))
    known = shapes()
    short = re.sub(
        r"(-(hf|chat|instruct))+$", "", text.strip().lower().rpartition("/")[2]
    ).removeprefix("meta-")
    if short not in known:
        raise ShapeError(
            f"no model {text!r} in the catalogue, {nearest(short, known)}; for another one give the path of its config.json"
        )
    return known[short]


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ShapeError(
            f"no file {path}: give the path of a model's config.json, or one of the names {', '.join(shapes())}"
        ) from None
    except (OSError, ValueError) as error:
        raise ShapeError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ShapeError(
            f"{path} holds {type(config).__name__}, wanted the object of a config.json"
        )
    return config


def read_shapes(path: Path) -> dict[str, ModelShape]:
    """Every model of a TOML file by name. Raises ShapeError for a file that cannot be read and for a shape that fails a check."""
    missing = "give the name of a model of the catalogue, the path of its config.json, or the path of a TOML file in the form of profiles/catalog/models.toml"
    tables = read_tables(path, missing, ShapeError)
    if not tables:
        raise ShapeError(
            f"no model in {path}: wanted one or more tables in the form of profiles/catalog/models.toml"
        )
    return {name: _shape(name, table) for name, table in tables.items()}


def _shape(name: str, table: object) -> ModelShape:
    """One table of a file as a shape, its parameters held against the published count where that is given."""
    if not isinstance(table, dict):
        raise ShapeError(
            f"{name} = {table!r} is no model: wanted a table with {', '.join(sorted(_REQUIRED))}"
        )
    given = dict(table)
    published = given.pop("parameters", None)
    missing, unknown = sorted(_REQUIRED - given.keys()), sorted(given.keys() - _FIELDS)
    if missing:
        raise ShapeError(
            f"model {name} lacks {', '.join(missing)}: give them as its config.json does"
        )
    if unknown:
        raise ShapeError(
            f"model {name} has {', '.join(unknown)}, which means nothing here: wanted only {', '.join(sorted(_FIELDS))}, parameters"
        )
    if not isinstance(given["source"], str) or not given["source"].strip():
        raise ShapeError(
            f"{name}: source is {given['source']!r}: wanted a text that others can look up"
        )
    given.setdefault("n_kv_heads", given["n_heads"])
    if "head_dim" not in given:
        given["head_dim"] = default_head_dim(name, given["hidden_size"], given["n_heads"])
    shape = ModelShape(name=name, **given)
    if published is not None:
        _check_count(shape, published)
    return shape


def _check_count(shape: ModelShape, published: object) -> None:
    if (
        isinstance(published, bool)
        or not isinstance(published, (int, float))
        or not 0 < published <= sys.float_info.max
    ):
        raise ShapeError(
            f"{shape.name}: parameters is {published!r}: wanted a finite number above 0, or leave it out"
        )
    if (
        not (1 - _COUNT_MARGIN) * published
        <= shape.total_parameters
        <= (1 + _COUNT_MARGIN) * published
    ):
        raise ShapeError(
            f"model {shape.name} comes to {shape.total_parameters} parameters, published are {published}: check its sizes"
        )
