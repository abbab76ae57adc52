"""Dataclasses as parameters of a command: each field becomes an option of its own.

A command that takes many options names frozen dataclasses instead::

    @dataclass(frozen=True, kw_only=True)
    class DesignOptions:
        cap: Annotated[int, typer.Option("--cap", help="Most tokens to draft."), at_least(1)] = 5
        gammas: Annotated[tuple[float, ...], typer.Option("--gamma"), Text(gammas)] = (0.75,)

    @takes_option_sets
    def predict(path: ProfileDirectory, *, design: DesignOptions) -> None: ...

`takes_option_sets` gives typer the flat signature, turns what the user typed into the field's own
type, and calls the command with the dataclasses. All values are checked before the command begins.
Annotations are evaluated late, so that a parser in the annotation of a field is a named function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from adadecode.profiles.errors import InputError
from adadecode.sim.core.parsing import finite

Value = Any
"""A value of whatever type an option has."""

Kind = Any
"""A type as it is written in an annotation."""


@dataclass(frozen=True)
class Check:
    """A check of a value that typer has parsed.

    Args:
        function: Takes the name of the option and the value; returns the value to use. Raises
            InputError. It is not called for None, which stands for an option that was left out.
    """

    function: Callable[[str, Any], Any]


@dataclass(frozen=True)
class Text(Check):
    """A value that typer takes as text and ``function`` makes a value of the field's type.

    Args:
        function: As for `Check`; takes the text that the user typed.
        shown: The default as the user would type it; by default the value itself, in which the
            items of a tuple are separated by commas.
    """

    shown: str | None = None


def at_least(low: int, high: int | None = None) -> Check:
    """Check that a whole number lies in a range, both ends included."""

    def check(option: str, value: int) -> int:
        if value < low or (high is not None and value > high):
            bounds = f"from {low} on" if high is None else f"in [{low}, {high}]"
            raise InputError(f"wanted {option} as a whole number {bounds}, got {value}")
        return value

    return Check(check)


def number(
    *,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> Check:
    """Check that a number is finite and in a range; ``above`` and ``below`` leave out the end."""

    def check(option: str, value: float) -> float:
        finite(option, value, low=low, high=high)
        if above is not None and not value > above:
            raise InputError(f"wanted {option} as a number above {above:g}, got {value:g}")
        if below is not None and not value < below:
            raise InputError(f"wanted {option} as a number below {below:g}, got {value:g}")
        return value

    return Check(check)


def takes_option_sets(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flat signature that typer reads, and call it with its dataclasses.

    Args:
        command: A function whose parameters are typer's, or frozen dataclasses whose fields are.

    Returns:
        The function for typer. Its parameters stand in the order of ``command``, those of a
        dataclass in the order of its fields; those without a default come first. Its attribute
        ``parameters`` holds a `Parameter` for each, for the documentation and for tests.
    """
    hints = get_type_hints(command, include_extras=True)
    flat: list[Parameter] = []
    groups: dict[str, tuple[type, list[Parameter]]] = {}
    for name, declared in inspect.signature(command).parameters.items():
        if is_dataclass(kind := hints[name]) and isinstance(kind, type):
            members = _fields(kind, name)
            groups[name] = kind, members
            flat += members
        else:
            flat.append(Parameter.of(name, hints[name], declared.default))
    options = [one.option for one in flat]
    if twice := sorted({option for option in options if options.count(option) > 1}):
        raise TypeError(f"{command.__name__} declares {', '.join(twice)} more than once")

    @functools.wraps(command)
    def call(**typed: Value) -> None:
        values = {one.name: one.value(typed[one.name]) for one in flat}
        made = {
            name: kind(**{one.field: values.pop(one.name) for one in members})
            for name, (kind, members) in groups.items()
        }
        command(**values, **made)

    parameters = [one.for_typer() for one in flat]
    parameters.sort(key=lambda one: one.default is not inspect.Parameter.empty)
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.parameters = tuple(flat)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    return call


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command: its own type, its declaration for typer, and its checks.

    Args:
        field: Its name in the command, or in the dataclass that it is a field of.
        group: The parameter of the command that is the dataclass; empty without one.
        kind: The type of its value, once that is checked.
        info: Its declaration for typer.
        checks: How the value is parsed and checked.
        default: Its default; `inspect.Parameter.empty` where it is required.
    """

    field: str
    group: str
    kind: Any
    info: OptionInfo | ArgumentInfo
    checks: tuple[Check, ...]
    default: Any

    @classmethod
    def of(cls, field: str, annotation: Kind, default: Value, group: str = "") -> Parameter:
        """Read a declaration.

        Raises:
            TypeError: If the annotation holds no typer.Option and no typer.Argument.
        """
        origin: Any = get_origin(annotation)
        if origin is not Annotated:
            raise TypeError(f"{field} is declared without typer.Option or typer.Argument")
        kind, *extras = get_args(annotation)
        (info,) = (one for one in extras if isinstance(one, (OptionInfo, ArgumentInfo)))
        checks = tuple(one for one in extras if isinstance(one, Check))
        return cls(field, group, kind, info, checks, default)

    @property
    def name(self) -> str:
        """The name of the parameter that typer sees, unique within the command."""
        return f"{self.group}_{self.field}" if self.group else self.field

    @property
    def option(self) -> str:
        """The name that messages call the parameter by: ``--heads``, ``PROFILE``."""
        if isinstance(self.info, ArgumentInfo):
            return self.info.metavar or self.name.upper()
        declared = [one for one in (self.info.default, *(self.info.param_decls or ())) if one]
        named = [one.partition("/")[0] for one in declared if str(one).startswith("--")]
        if not named:
            raise TypeError(f"{self.field} is declared without the name of its option")
        return named[0]

    def for_typer(self) -> inspect.Parameter:
        """Return the parameter as typer is to see it."""
        kind, default = self.kind, self.default
        for check in self.checks:
            if isinstance(check, Text):
                many, optional = _nature(kind)
                kind = list[str] if many else str
                kind = kind | None if optional else kind
                default = default if default is inspect.Parameter.empty else _shown(default, check)
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, self.info],
        )

    def value(self, typed: Value) -> Value:
        """Return the checked value of what typer got. Raises InputError."""
        for check in self.checks:
            if isinstance(typed, list):
                typed = [check.function(self.option, one) for one in typed]
            elif typed is not None:
                typed = check.function(self.option, typed)
        return typed


def _fields(kind: type, group: str) -> list[Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        Parameter.of(
            one.name,
            hints[one.name],
            inspect.Parameter.empty if one.default is MISSING else one.default,
            group,
        )
        for one in fields(kind)
        if one.init
    ]


def _nature(kind: Kind) -> tuple[bool, bool]:
    """Return whether an option may be repeated, and whether it may be left out."""
    parts = get_args(kind)
    optional = type(None) in parts
    inner = next((one for one in parts if one is not type(None)), kind) if optional else kind
    return get_origin(inner) is list, optional


def _shown(default: Value, check: Text) -> str | None:
    """Return a default as the user would type it."""
    if default is None or check.shown is not None:
        return check.shown
    items = default if isinstance(default, tuple) else (default,)
    return ",".join(
        str(one.value)
        if isinstance(one, Enum)
        else f"{one:g}"
        if isinstance(one, float)
        else str(one)
        for one in items
    )
