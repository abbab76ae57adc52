"""What each field of a manifest must be: one table that readers can rely on.

Whoever reads a field need not ask again whether it is a number, or an object. A field that is not
in the table is carried along, and no code reads it. ``null`` stands for what is not known, wherever
a field is not required.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from adadecode.profiles.catalog.model_shape import MOST_LAYERS, MOST_PARAMETERS
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.schema import ALL_TABLES

MOST = 2**63 - 1
"""The largest whole number of a field that has no smaller bound."""

LARGEST = 1e300
"""The largest number anywhere in a manifest: a product with it would overflow."""

LONGEST = 10_000
"""Characters of the longest text in a field that is printed."""

_DIGEST = re.compile("[0-9a-f]{64}")


class Field(NamedTuple):
    """What one field must be.

    Attributes:
        path: Its keys, joined by dots; ``*`` stands for every key of an object.
        wanted: What it must be, for the message.
        fine: Returns whether a value is that.
        required: Whether it must be there, and not null, where the object around it is.
    """

    path: str
    wanted: str
    fine: Callable[[object], bool]
    required: bool = False


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _is_time(value: object) -> bool:
    """Whether it is a text, and no time that calendars cannot hold in every time zone."""
    if not _is_text(value):
        return False
    try:
        return 1 < datetime.fromisoformat(str(value)).year < 9999
    except ValueError:
        return True


def _text(path: str, *, required: bool = False) -> Field:
    return Field(path, f"a text of at most {LONGEST} characters", _is_text, required)


def _whole(path: str, low: int, high: int = MOST, *, required: bool = False) -> Field:
    return Field(
        path,
        f"a whole number in {low}..{high}",
        lambda value: _is_whole(value, low, high),
        required,
    )


def _seed(path: str, *, required: bool = False) -> Field:
    """Return what a seed must be: whatever whole number somebody began a recording with."""
    most = int(LARGEST)
    return Field(path, "a whole number", lambda value: _is_whole(value, -most, most), required)


def _number(path: str, low: float, high: float, *, required: bool = False) -> Field:
    return Field(
        path,
        f"a number in {low:g}..{high:g}",
        lambda value: _is_number(value, low, high),
        required,
    )


def _object(path: str, *, required: bool = False) -> Field:
    return Field(path, "an object", lambda value: isinstance(value, Mapping), required)


def _list(path: str, what: str, fine: Callable[[object], bool], *, required: bool = False) -> Field:
    return Field(
        path,
        f"a list of {what}",
        lambda value: isinstance(value, list) and all(map(fine, value)),
        required,
    )


def _digest(path: str, *, required: bool = False) -> Field:
    return Field(
        path,
        "a SHA-256 of 64 hexadecimal digits",
        lambda value: isinstance(value, str) and _DIGEST.fullmatch(value) is not None,
        required,
    )


def _is_share(value: object) -> bool:
    return _is_number(value, 0, 1)


def _is_token(value: object) -> bool:
    return _is_whole(value, 0, 2**31 - 1)


def _is_depth(value: object) -> bool:
    return _is_whole(value, 1, MOST_LAYERS)


def _is_sample(value: object) -> bool:
    return value is None or _is_text(value) or _is_number(value, -LARGEST, LARGEST)


def _machine(path: str) -> tuple[Field, ...]:
    """Return what the description of a machine must be."""
    host, gpu = f"{path}.host", f"{path}.gpu"
    return (
        _text(f"{path}.device"),
        _whole(f"{path}.threads", 1, 10**6),
        _object(host),
        *(_text(f"{host}.{key}") for key in ("cpu", "architecture", "os", "python")),
        *(_whole(f"{host}.{key}", 1, 10**6) for key in ("cores", "threads", "usable_threads")),
        _whole(f"{host}.memory_bytes", 1, 2**60),
        _list(f"{host}.caches", "objects", lambda one: isinstance(one, Mapping)),
        _object(gpu),
        _text(f"{gpu}.name"),
        *(_whole(f"{gpu}.{key}", 1, 2**60) for key in ("memory_bytes", "multiprocessors")),
        _whole(f"{gpu}.l2_bytes", 0, 2**60),
    )


def _form(path: str) -> tuple[Field, ...]:
    """Return what the form of heads must be."""
    return (
        _object(path),
        _whole(f"{path}.shortlist", 1, 2**31 - 1),
        _text(f"{path}.dtype"),
        _text(f"{path}.product"),
        Field(f"{path}.prompt", "true or false", lambda value: isinstance(value, bool)),
        _list(f"{path}.tokens", "token ids", _is_token),
    )


_SHARES = ("full", "formed", "same")

FIELDS = (
    *(_text(key) for key in ("name", "attention", "graphs", "numerics", "timing", "weights")),
    Field("created", "a time, of the years 2..9998", _is_time),
    _object("model", required=True),
    _text("model.name", required=True),
    _text("model.revision"),
    _text("model.class"),
    Field(
        "model.n_layers",
        "the number of layers",
        lambda value: _is_whole(value, 1, MOST_LAYERS),
        required=True,
    ),
    _whole("model.hidden_size", 1, 10**7),
    _whole("model.n_parameters", 1, MOST_PARAMETERS),
    _object("model.config"),
    _object("model.shape"),
    _object("model.measured"),
    _object("model.origin"),
    _object("heads", required=True),
    _text("heads.name"),
    Field("heads.gates", "true or false", lambda value: isinstance(value, bool)),
    *_form("heads.form"),
    _object("heads.ranking"),
    _text("heads.ranking.source"),
    _whole("heads.ranking.vocabulary", 1, 2**31 - 1, required=True),
    _list("heads.ranking.counted", "token ids", _is_token, required=True),
    _object("heads.coverage"),
    _whole("heads.coverage.outputs", 1, required=True),
    _number("heads.coverage.outside", 0, 1, required=True),
    _list("heads.coverage.depths", "depths", _is_depth),
    *(_list(f"heads.coverage.{key}", "shares in 0..1", _is_share) for key in _SHARES),
    _object("hardware", required=True),
    *_machine("hardware"),
    _object("hardware.before"),
    *_machine("hardware.before"),
    _object("hardware.after"),
    *_machine("hardware.after"),
    _object("hardware.placing"),
    _whole("hardware.placing.processes", 1, 10**6),
    _object("software", required=True),
    _text("software.*"),
    _text("dtype", required=True),
    _seed("seed", required=True),
    _object("prompts", required=True),
    *(_digest(f"prompts.{key}") for key in ("sha256", "template_sha256", "system_sha256")),
    Field("prompts.chat", "true or false", lambda value: isinstance(value, bool)),
    _whole("prompts.count", 0, 2**31 - 1),
    _list("prompts.domains", "texts", lambda value: value is None or _is_text(value)),
    _object("settings", required=True),
    Field(
        "limitations",
        "a list of texts",
        lambda value: _is_text(value) or (isinstance(value, list) and all(map(_is_text, value))),
        required=True,
    ),
    _list("eos_token_ids", "token ids", _is_token, required=True),
    _whole("max_new_tokens", 1, 2**31 - 1, required=True),
    _object("tables", required=True),
    *(
        field
        for name in ALL_TABLES
        for field in (
            _object(f"tables.{name}"),
            Field(
                f"tables.{name}.file",
                f"{name}.parquet",
                lambda value, name=name: value == f"{name}.parquet",  # type: ignore[misc]
                required=True,
            ),
            _whole(f"tables.{name}.rows", 0, 2**31 - 1, required=True),
            _digest(f"tables.{name}.sha256", required=True),
        )
    ),
    _object("sampling"),
    _number("sampling.temperature", 0, LARGEST, required=True),
    _whole("sampling.top_k", -1, 2**31 - 1),
    _number("sampling.top_p", 0, 1),
    _seed("sampling.seed"),
    _object("scripted"),
    _text("scripted.profile", required=True),
    _text("scripted.model", required=True),
    _whole("scripted.n_layers", 1, MOST_LAYERS, required=True),
    _object("scripted.map", required=True),
    _whole("scripted.map.*", 1, MOST_LAYERS),
    *_form("scripted.form"),
    _object("conditions"),
    _list("conditions.*", "samples", _is_sample),
    _object("baselines"),
    _object("baselines.*"),
    _whole("latency_samples", 0),
    _whole("graphs_bytes", 0),
)
"""Every field that some code reads, objects before what they hold."""


def check_fields(manifest: Mapping[str, object], where: str, todo: str) -> None:
    """Refuse a manifest with a field of another kind or size than `FIELDS` wants.

    Args:
        manifest: The manifest.
        where: What it is, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If a field is missing, or is not what it must be.
    """
    for field in FIELDS:
        for path, value in _found(manifest, field.path.split("."), required=field.required):
            if value is None and not field.required:
                continue
            if not field.fine(value):
                raise ProfileError(
                    f"wanted {field.wanted} as {path} in {where}, got {_short(value)}: {todo}"
                )
    for path, number in _numbers(manifest, ""):
        if not abs(number) <= LARGEST:
            raise ProfileError(
                f"wanted numbers of at most {LARGEST:g} in {where}, got a larger one as {path}: "
                f"{todo}"
            )


def _found(
    about: object, keys: list[str], *, required: bool, way: str = ""
) -> Iterator[tuple[str, object]]:
    """Give the values of a field with where they stand.

    A missing one is given as None where it is required and the object around it is there.
    """
    if not isinstance(about, Mapping):
        return  # whatever stands there instead has a field of its own
    first, rest = keys[0], keys[1:]
    for key in about if first == "*" else (first,):
        path = f"{way}.{key}" if way else str(key)
        if rest:
            yield from _found(about.get(key), rest, required=required, way=path)
        elif key in about or required:
            yield path, about.get(key)


def _numbers(value: object, path: str) -> Iterator[tuple[str, int | float]]:
    """Give every number of a manifest with where it stands."""
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{path}.{key}" if path else str(key), one) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{place}]", one) for place, one in enumerate(value)]
        elif isinstance(value, int | float):
            yield path, value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
