"""What ``sweep.json`` holds: the kind of every value that some code reads.

Whoever reads a value need not ask again what it is. Other keys are carried along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from adadecode.profiles.catalog.model_shape import MOST_LAYERS
from adadecode.profiles.errors import InputError, ProfileError
from adadecode.profiles.manifest_fields import LARGEST, LONGEST
from adadecode.sim.core.design import Policy
from adadecode.sim.core.head_form import form_named
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.prediction.evaluator import ENERGY
from adadecode.sim.replay.price_list import GATE_PARTS, TIME_PARTS
from adadecode.sim.sweep.objective import OBJECTIVES
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.table import NUMBERS

_BASES = ("measured", "carried", "datasheet")

Check = Callable[[object, str], None]
"""Raises `_Wrong` for a value at a place that is not what it must be."""


class _Wrong(Exception):
    """A value that is not what it must be: what was wanted, at which place, and the value."""


def check_description(about: Mapping[str, Any], where: object, todo: str) -> None:
    """Refuse a description in which a value is missing or of another kind.

    Args:
        about: What ``sweep.json`` holds.
        where: Its file, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If there is such a value.
    """
    try:
        _SWEEP(about, "")
    except _Wrong as wrong:
        wanted, place, value = wrong.args
        got = repr(value)
        raise ProfileError(
            f"wanted {wanted} as {place} in {where}, got {got[:100]}"
            f"{'...' if len(got) > 100 else ''}: {todo}"
        ) from None


def space_of(about: Mapping[str, Any], where: object, todo: str) -> Space:
    """Return the space of a description that was checked.

    Raises:
        ProfileError: If it is no space.
    """
    parts = {key: value for key, value in about["space"].items() if key != "designs"}
    lists = {key: tuple(value) for key, value in parts.items() if isinstance(value, list)}
    try:
        lists["forms"] = tuple(map(form_named, lists.get("forms", ())))
        space = Space(**{**parts, **lists})
        depths = list(space.depths)
        if depths != sorted(set(depths)) or any(depth >= space.n_layers for depth in depths):
            raise ProfileError(f"its depths {depths[:20]} do not rise below {space.n_layers}")
    except InputError as error:
        raise ProfileError(f"the space in {where} makes no sense ({error}): {todo}") from None
    if about["space"]["designs"] != space.size:
        raise ProfileError(
            f"wanted {space.size} designs in the space of {where}, got "
            f"{about['space']['designs']}: {todo}"
        )
    return space


def _require(wanted: str, fine: Callable[[Any], bool]) -> Check:
    """Return the check that a value is what a function wants."""

    def check(value: object, place: str) -> None:
        if not fine(value):
            raise _Wrong(wanted, place, value)

    return check


def _whole(low: int, high: int = 2**53) -> Check:
    return _require(
        f"a whole number in {low}..{high}",
        lambda value: (
            isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        ),
    )


def _number(low: float = -LARGEST, high: float = LARGEST) -> Check:
    return _require(
        f"a number in {low:g}..{high:g}",
        lambda value: (
            isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        ),
    )


def _among(*known: str) -> Check:
    return _require(
        f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known
    )


def _or_null(check: Check, value: object, place: str) -> None:
    if value is not None:
        check(value, place)


def _optional(check: Check) -> Check:
    """Return the check that a value is null or passes another check."""
    return partial(_or_null, check)


def _list(check: Check, least: int = 0) -> Check:
    """Return the check that each item of a list passes another check."""

    def check_all(value: object, place: str) -> None:
        if not isinstance(value, list) or len(value) < least:
            raise _Wrong(f"a list{f' of {least} or more' if least else ''}", place, value)
        for number, item in enumerate(value):
            check(item, f"{place}[{number}]")

    return check_all


def _each(check: Check, least: int = 0) -> Check:
    """Return the check that each value of an object passes another check."""

    def check_all(value: object, place: str) -> None:
        if not isinstance(value, Mapping) or len(value) < least:
            raise _Wrong(f"an object{f' with {least} key or more' if least else ''}", place, value)
        for key, item in value.items():
            _TEXT(key, f"a key of {place}")
            check(item, f"{place}.{key}")

    return check_all


def _object(optional: Mapping[str, Check] | None = None, /, **required: Check) -> Check:
    """Return the check that an object holds these keys, and perhaps the optional ones."""

    def check_all(value: object, place: str) -> None:
        if not isinstance(value, Mapping):
            raise _Wrong("an object", place or "all of it", value)
        for key, check in {**(optional or {}), **required}.items():
            if key in value:
                check(value[key], f"{place}.{key}" if place else key)
            elif key in required:
                raise _Wrong(f"{key}", place or "a key", sorted(value))

    return check_all


_TEXT = _require(
    f"a text of at most {LONGEST} characters",
    lambda value: isinstance(value, str) and len(value) <= LONGEST,
)
_FLAG = _require("true or false", lambda value: isinstance(value, bool))
_COUNT = _whole(0)
_ABOVE_0 = _number(5e-324)
_SPEEDUPS = {"speedup_low": _optional(_ABOVE_0), "speedup_high": _optional(_ABOVE_0)}

_SOURCE = _object(path=_TEXT, name=_TEXT, digest=_TEXT)

_SPACE = _object(
    {"forms": _list(_TEXT), "gates": _list(_number(0, 1), least=1)},
    n_layers=_whole(1, MOST_LAYERS),
    depths=_list(_whole(1, MOST_LAYERS)),
    policies=_list(_among(*Policy), least=1),
    gammas=_list(_number(0, 1)),
    slopes=_list(_number(0)),
    caps=_list(_whole(1, 2**31 - 1), least=1),
    max_heads=_whole(1, MOST_LAYERS),
    designs=_COUNT,
)

_DESIGN = {
    "design": _TEXT,
    "policy": _among(*Policy),
    "placement": _list(_whole(1, MOST_LAYERS)),
    "gammas": _list(_number(0, 1)),
    "cap": _whole(1, 2**31 - 1),
    "verify": _FLAG,
    **{name: _optional(_number()) for name in NUMBERS if name not in ENERGY},
}

_GATES = {"gates": _list(_number(0, 1))}
"""What a design holds that asks gates."""

_ENERGY = dict.fromkeys(ENERGY, _optional(_number(0)))
"""What a design holds that a later version of this program evaluated."""

_DETAILS = _object(
    {"gates_asked": _COUNT},
    design=_TEXT,
    device=_TEXT,
    seconds_per_token=_object(
        dict.fromkeys(GATE_PARTS, _number(0)),
        **{part: _number(0) for part in TIME_PARTS if part not in GATE_PARTS},
    ),
    vanilla_s=_ABOVE_0,
    tokens=_COUNT,
    rounds=_COUNT,
    checks=_COUNT,
    runs=_COUNT,
    heads=_list(_object(depth=_whole(1, MOST_LAYERS), drafts=_COUNT, accepted=_COUNT)),
)

_CEILING = _object(design=_TEXT, speedup=_ABOVE_0)

_BEST = _object(
    {
        "form": _TEXT,
        "forms": _each(_object({"form": _TEXT, **_GATES, **_ENERGY}, **_DESIGN)),
        **_GATES,
        **_ENERGY,
    },
    **_DESIGN,
    refined_from=_optional(_TEXT),
    unrefined_speedup=_ABOVE_0,
    oracle=_each(_CEILING),
    details=_DETAILS,
    prompts=_object(**_SPEEDUPS, count=_whole(1)),
    held_out=_optional(_object(chosen=_ABOVE_0, elsewhere=_ABOVE_0, best_elsewhere=_ABOVE_0)),
)

_SWEEP = _object(
    {"rate_notes": _list(_TEXT), "software": _optional(_each(_TEXT))},
    model=_TEXT,
    hypothetical=_FLAG,
    notes=_list(_TEXT),
    space=_SPACE,
    objectives=_list(_among(*OBJECTIVES), least=1),
    trials=_COUNT,
    profile=_optional(_SOURCE),
    trace=_SOURCE,
    devices=_list(
        _object(
            {
                "form": _TEXT,
                "regime": _optional(_among(*Regime)),
                "limited_by": _each(_among("host", "device")),
            },
            device=_TEXT,
            basis=_among(*_BASES),
            notes=_list(_TEXT),
        ),
        least=1,
    ),
    prompts=_object(domain=_optional(_TEXT), count=_whole(1), chosen=_list(_whole(0, 2**31 - 1))),
    plan=_TEXT,
    method=_among("exhaustive", "optuna"),
    optimal=_FLAG,
    designs=_whole(1),
    best=_each(_BEST, least=1),
    created=_TEXT,
    sha256=_TEXT,
)
