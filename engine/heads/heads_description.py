"""The description of exit heads, ``heads.json``: sealed, and every field checked before it is used.

Format 1 has neither the form of the heads nor frequent tokens. Formats 1 and 2 carry no digests:
of their files only the layout can be checked, and that every number is finite. Format 4 adds gates.
Heads without any are still written in format 3, which programs from before gates read.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from adadecode.engine.heads.model_samples import N_SAMPLES
from adadecode.profiles.digest import SEAL, check_seal, sealed
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.input_file import read_json
from adadecode.sim.core.head_form import HeadForm

CONFIG = "heads.json"
FORMAT = 4
"""The newest format, in which heads with gates are written."""

WITHOUT_GATES = 3
"""The format in which heads without gates are written."""

GATES = "gates"
"""The key of what is said of gates: how confident a head had to be, and what training measured."""

SEALED_SINCE = 3
"""The first format whose files carry digests."""

WEIGHTS_DIGEST = "sha256"
"""The key of the digest over all bytes of the tensors."""

AGAIN = "copy or train them again"

_FORM = {"shortlist", "dtype", "prompt"}
_SHAPE = ("hidden_size", "n_layers", "vocab_size")
_COUNTS = {"depth", "positions"}
_SHARES = ("full", "formed", "same")


@dataclass(frozen=True, kw_only=True)
class HeadsDescription:
    """What ``heads.json`` says.

    Attributes:
        depths: Depths of the heads, each once.
        identity: Those of them whose matrix is the identity.
        form: The form of the heads.
        shape: Layers, width and vocabulary of their model, by `_SHAPE`.
        signature: Samples of their model's LM head.
        body: Samples of all its weights; None in the oldest files.
        metrics: What training measured, a row a depth.
        coverage: What the form loses, where training measured it.
        gates: What is said of the gates; None where the heads have none.
        sha256: The digest of the tensors; None in files that carry none.
    """

    depths: tuple[int, ...]
    identity: frozenset[int]
    form: HeadForm
    shape: dict[str, int]
    signature: list[float]
    body: list[float] | None
    metrics: list[dict[str, Any]] | None
    coverage: dict[str, Any] | None
    gates: dict[str, Any] | None
    sha256: str | None


def sealed_description(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``heads.json`` is to hold, with its format and its seal.

    Raises:
        HeadsError: Something in it is not finite, or nothing that JSON can carry.
    """
    version = FORMAT if GATES in about else WITHOUT_GATES
    return sealed({"format": version, **about}, "the description of heads", error=HeadsError)


def read_description(folder: Path, *, quiet: bool = False) -> HeadsDescription:
    """Read ``heads.json``, and check its seal and every field.

    A file of an earlier format, which carries no seal, is read with a warning.

    Args:
        folder: The folder of the heads.
        quiet: Whether to leave the warning to another reader.

    Raises:
        HeadsError: It is missing, newer than this program, edited, or a field makes no sense.
    """
    path = folder / CONFIG
    found = read_json(path, error=HeadsError)
    if not isinstance(found, dict):
        raise HeadsError(f"{path} is damaged, it holds no object: {AGAIN}")
    version: Any = found.get("format")
    if not _is_whole(version, 1, None):
        _refuse(path, "format", "a whole number", version)
    if version > FORMAT:
        raise HeadsError(
            f"the heads in {folder} have format {version}, this program reads up to "
            f"{FORMAT}: upgrade it"
        )
    if version >= SEALED_SINCE or SEAL in found:
        check_seal(found, path, AGAIN, error=HeadsError)
    elif not quiet:
        warnings.warn(
            f"the heads in {folder} were saved by an earlier version, without digests: their "
            "layout was checked, and that every number is finite; save them again to add digests",
            stacklevel=5,
        )
    return _checked(path, found)


def _checked(path: Path, found: dict[str, Any]) -> HeadsDescription:
    """Return the fields, each of the kind it must be; HeadsError where one is not."""
    shape = {key: _field(path, found, "model", dict).get(key) for key in _SHAPE}
    for key, value in shape.items():
        if not _is_whole(value, 1, None):
            _refuse(path, f"model.{key}", "a whole number of at least 1", value)
    depths, identity = (
        _depths(path, found, key, shape["n_layers"]) for key in ("depths", "identity")
    )
    if foreign := sorted(set(identity) - set(depths)):
        _refuse(path, "identity", f"some of the depths {list(depths)}", foreign)
    digest = found.get(WEIGHTS_DIGEST)
    if SEAL in found and not isinstance(digest, str):
        _refuse(path, WEIGHTS_DIGEST, "the digest of the tensors", digest)
    return HeadsDescription(
        depths=depths,
        identity=frozenset(identity),
        form=_form(path, found.get("form", {})),
        shape=shape,
        signature=_samples(path, found, "signature"),
        body=_samples(path, found, "body") if "body" in found else None,
        metrics=_metrics(path, found.get("metrics")),
        coverage=_coverage(path, found.get("coverage")),
        gates=_gates(path, found) if GATES in found and found["format"] >= FORMAT else None,
        sha256=digest if SEAL in found else None,
    )


def _depths(path: Path, found: dict[str, Any], key: str, n_layers: int) -> tuple[int, ...]:
    depths = _field(path, found, key, list)
    if not all(_is_whole(one, 1, n_layers - 1) for one in depths) or len(set(depths)) < len(depths):
        _refuse(path, key, f"different depths in 1..{n_layers - 1}", depths)
    return tuple(depths)


def _form(path: Path, form: object) -> HeadForm:
    if not isinstance(form, dict) or not form.keys() <= _FORM:
        _refuse(path, "form", f"an object of {' and '.join(sorted(_FORM))}", form)
    try:
        return HeadForm(**form)
    except HeadsError as problem:
        raise HeadsError(f"{path} is damaged ({problem}): {AGAIN}") from None


def _samples(path: Path, found: dict[str, Any], key: str) -> list[float]:
    samples = found.get(key)
    if (
        not isinstance(samples, list)
        or len(samples) != N_SAMPLES
        or not all(_is_number(one) for one in samples)
    ):
        _refuse(path, key, f"{N_SAMPLES} finite numbers", samples)
    return samples


def _gates(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    gates = _field(path, found, GATES, dict)
    if not (_is_number(gates.get("confidence")) and 0 <= gates["confidence"] < 1):
        _refuse(path, f"{GATES}.confidence", "a probability in [0, 1)", gates.get("confidence"))
    return {**gates, "metrics": _metrics(path, gates.get("metrics")) or []}


def _metrics(path: Path, rows: object) -> list[dict[str, Any]] | None:
    if rows is not None and not (
        isinstance(rows, list)
        and all(isinstance(row, dict) and all(map(_is_number, row.values())) for row in rows)
        and all(_is_whole(row[key], 0, None) for row in rows for key in _COUNTS & row.keys())
    ):
        _refuse(path, "metrics", "rows of finite numbers, whole ones as depth and positions", rows)
    return rows


def _coverage(path: Path, found: object) -> dict[str, Any] | None:
    if found is None:
        return None
    if not (
        isinstance(found, dict)
        and _is_whole(found.get("outputs"), 1, None)
        and _is_number(found.get("outside"))
        and isinstance(depths := found.get("depths"), list)
        and all(_is_whole(one, 1, None) for one in depths)
        and all(_is_row(found.get(key), len(depths)) for key in _SHARES)
    ):
        _refuse(path, "coverage", f"outputs, outside, depths, {', '.join(_SHARES)}", found)
    return found


def _field(path: Path, found: dict[str, Any], key: str, kind: type) -> Any:
    if not isinstance(found.get(key), kind):
        _refuse(path, key, "an object" if kind is dict else "a list", found.get(key))
    return found[key]


def _is_row(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(map(_is_number, value))


def _is_whole(value: object, low: int, high: int | None) -> bool:
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and low <= value <= (2**53 if high is None else high)
    )


def _is_number(value: object) -> bool:
    """Return whether a value is a number that a float can hold."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= 1e300  # also no infinity, no NaN and no whole number beyond floats
    )


def _refuse(path: Path, key: str, wanted: str, got: object) -> NoReturn:
    raise HeadsError(f"{path} is damaged, wanted {wanted} as {key}, got {repr(got)[:80]}: {AGAIN}")
