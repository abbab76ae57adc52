"""The model catalogue (models.toml), and the shapes of models by name or by their config."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from adadecode.profiles.catalog.hf_config import shape_from_config
from adadecode.profiles.catalog.layer_shape import layers_of_record
from adadecode.profiles.catalog.model_shape import ModelShape, default_head_dim
from adadecode.profiles.catalog.toml_tables import entries, file_and_name, pick, read_tables
from adadecode.profiles.errors import ShapeError, similar
from adadecode.profiles.input_file import is_folder, is_there, read_json

__all__ = [
    "CATALOGUE",
    "ModelShape",
    "find_model",
    "known_model",
    "measured_record",
    "read_shapes",
    "shape_from_config",
    "shape_from_record",
    "shapes",
]

CATALOGUE = Path(__file__).with_name("models.toml")
SHORT_NAMES = {"smollm2": "smollm2-135m"}
"""Names by which the engine knows a model (`adadecode.engine.loading.smollm2`)."""
_COUNT_MARGIN = 0.005
_ALL = {one.name for one in fields(ModelShape)}
_NEEDED = {one.name for one in fields(ModelShape) if one.default is MISSING}
_MEASURED = {"layers", "lm_head_width", "n_parameters", "packed", "packed_experts"}
_FIELDS = _ALL - {"name"} - _MEASURED
_REQUIRED = _NEEDED - {"name", "n_kv_heads", "head_dim"} | {"source"}


@cache
def shapes() -> dict[str, ModelShape]:
    """Return every model of models.toml by name, in its order."""
    return read_shapes(CATALOGUE)


def find_model(wanted: str | Path | Mapping[str, Any]) -> ModelShape:
    """Return the shape of a model.

    Args:
        wanted: A name of the catalogue (a hub name such as ``meta-llama/Llama-2-7b-hf`` is
            recognised); a ``config.json`` or the folder it lies in; the folder of a profile;
            ``FILE.toml`` or ``FILE.toml:NAME`` in the form of models.toml; or the dict of a config,
            as the manifest of a profile holds it.

    Raises:
        ShapeError: If the name is unknown, or a config lacks what is needed.
    """
    if isinstance(wanted, Mapping):
        return shape_from_config(wanted)
    text = str(wanted)
    if filed := file_and_name(text):
        path, name = filed
        return pick(read_shapes(path), path, name, "model", ShapeError)
    if is_folder(text) and is_there(Path(text) / "manifest.json"):
        # Only here: manifests need libraries that take long to load.
        from adadecode.profiles.catalog.recorded import shape_of_profile

        return shape_of_profile(Path(text))
    path = Path(text) / "config.json" if is_folder(text) else Path(text)
    if path.suffix == ".json":
        return shape_from_config(_read_config(path), str(path))
    return known_model(text)


def known_model(name: str) -> ModelShape:
    """Return the shape of a model of the catalogue.

    Args:
        name: Its name; a hub name such as ``meta-llama/Llama-2-7b-hf`` is recognised.

    Raises:
        ShapeError: If the name is unknown.
    """
    known = shapes()
    short = re.sub(
        r"(-(hf|chat|instruct))+$", "", name.strip().lower().rpartition("/")[2]
    ).removeprefix("meta-")
    short = SHORT_NAMES.get(short, short)
    if short not in known:
        near = similar(short, known)
        hint = f", the nearest are {', '.join(near)}" if near else ""
        raise ShapeError(
            f"no model {name!r} in the catalogue{hint}: `adadecode-sim models` lists them; "
            "for another one give the path of its config.json"
        )
    return known[short]


def measured_record(shape: ModelShape) -> dict[str, Any]:
    """Return a measured shape as a manifest holds it: without its name, and with no defaults."""
    kept = shape.record()
    return {
        one.name: kept[one.name]
        for one in fields(ModelShape)
        if one.name in kept.keys() - {"name", "source"}
        and (one.default is MISSING or kept[one.name] != one.default)
    }


def shape_from_record(record: Mapping[str, Any]) -> ModelShape:
    """Return the shape that the manifest of a profile holds, a value for each field.

    Raises:
        ShapeError: If a field is missing or unknown, or the shape is impossible.
    """
    missing, unknown = sorted(_NEEDED - record.keys()), sorted(record.keys() - _ALL)
    if not missing and not unknown and "layers" in record:
        layers = record["layers"]
        record = {**record, "layers": layers_of_record(layers) if layers else ()}
    if missing or unknown:
        raise ShapeError(
            f"wanted the fields {', '.join(sorted(_ALL))} in the recorded shape of a model, "
            f"missing or unknown: {', '.join((*missing, *unknown))}: record it again"
        )
    return ModelShape(**record)


def _read_config(path: Path) -> Mapping[str, Any]:
    if not is_there(path):
        raise ShapeError(
            f"no file {path}: give the path of a model's config.json, or a name that "
            "`adadecode-sim models` lists"
        )
    config = read_json(path, error=ShapeError)
    if not isinstance(config, dict):
        raise ShapeError(
            f"{path} holds {type(config).__name__}, wanted the object of a config.json"
        )
    # ModelOpt of NVIDIA says in a file of its own how weights are packed.
    beside = path.with_name("hf_quant_config.json")
    if config.get("quantization_config") is None and is_there(beside):
        packed = read_json(beside, error=ShapeError)
        about = packed.get("quantization") if isinstance(packed, dict) else None
        return {**config, "quantization_config": about}
    return config


def read_shapes(path: Path) -> dict[str, ModelShape]:
    """Return every model of a TOML file by name.

    Raises:
        ShapeError: If the file cannot be read, or a shape fails a check.
    """
    missing = (
        "give the name of a model of the catalogue, the path of its config.json, or the path of a "
        "TOML file in the form of profiles/catalog/models.toml"
    )
    tables = read_tables(path, missing, ShapeError)
    if not tables:
        raise ShapeError(
            f"no model in {path}: "
            "wanted one or more tables in the form of profiles/catalog/models.toml"
        )
    return entries(path, tables, _shape)


def _shape(name: str, table: object) -> ModelShape:
    """Return the shape in one table of a file, once its parameters match the published count."""
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
            f"model {name} has {', '.join(unknown)}, which means nothing here: "
            f"wanted only {', '.join(sorted(_FIELDS))}, parameters"
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
            f"{shape.name}: parameters is {published!r}: "
            "wanted a finite number above 0, or leave it out"
        )
    if (
        not (1 - _COUNT_MARGIN) * published
        <= shape.total_parameters
        <= (1 + _COUNT_MARGIN) * published
    ):
        raise ShapeError(
            f"model {shape.name} comes to {shape.total_parameters} parameters, "
            f"published are {published}: check its sizes"
        )
