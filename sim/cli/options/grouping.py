"""Dataclasses as parameters of a command: each field becomes an option of its own.

A command that takes many options names frozen dataclasses instead::

    @dataclass(frozen=True, kw_only=True)
    class DesignOptions:
        cap: Annotated[int, typer.Option("--cap", help="Most tokens to draft."), at_least(1)] = 5
        gammas: Annotated[tuple[float, ...], typer.Option("--gamma"), TextCheck(gammas)] = (0.75,)

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

from adadecode.sim.cli.options.checks import FILLED, Check, TextCheck

Value = Any
"""A value of whatever type an option has."""

Kind = Any
"""A type as it is written in an annotation."""


def takes_option_sets(
    command: Callable[..., None], read_group: ReadGroup | None = None
) -> Callable[..., None]:
    """Give a command the flat signature that typer reads, and call it with its dataclasses.

    Args:
        command: A function whose parameters are typer's, or frozen dataclasses whose fields are.
        read_group: Returns how a parameter that stands for several options is read, and None for
            a parameter that is one option. By default a dataclass stands for its fields, which
            are annotated like parameters of a command.

    Returns:
        The function for typer. Its parameters stand in the order of ``command``, those of a
        dataclass in the order of its fields; those without a default come first. Its attribute
        ``parameters`` holds a `Parameter` for each, for the documentation and for tests. Its
        docstring has a line for each paragraph, which typer fits to the terminal.
    """
    hints = get_type_hints(command, include_extras=True)
    flat: list[Parameter] = []
    groups: dict[str, OptionGroup] = {}
    for name, declared in inspect.signature(command).parameters.items():
        if group := (read_group or annotated_group)(name, hints[name]):
            groups[name] = group
            flat += group.parameters
        else:
            flat.append(Parameter.of(name, hints[name], declared.default))
    options = [one.option for one in flat]
    if twice := sorted({option for option in options if options.count(option) > 1}):
        raise TypeError(f"{command.__name__} declares {', '.join(twice)} more than once")

    @functools.wraps(command)
    def call(**typed: Value) -> None:
        values = {one.name: one.value(typed[one.name]) for one in flat}
        made = {
            name: group.build({one.field: values.pop(one.name) for one in group.parameters})
            for name, group in groups.items()
        }
        command(**values, **made)

    parameters = [one.for_typer() for one in flat]
    parameters.sort(key=lambda one: one.default is not inspect.Parameter.empty)
    call.__doc__ = joined_paragraphs(command.__doc__ or "")
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.parameters = tuple(flat)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    return call


def joined_paragraphs(docstring: str) -> str:
    """Return a docstring with each paragraph on one line.

    Typer keeps the line breaks of all paragraphs but the first, whatever the width of the terminal.
    """
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


@dataclass(frozen=True)
class OptionGroup:
    """Several options of a command that make one value.

    Args:
        parameters: The options.
        build: Makes the value of what the options are, by the names of their fields. Raises
            InputError.
    """

    parameters: tuple[Parameter, ...]
    build: Callable[[dict[str, Value]], Value]


ReadGroup = Callable[[str, Kind], OptionGroup | None]
"""Takes the name and the type of a parameter; returns the options that it stands for."""


def annotated_group(name: str, kind: Kind) -> OptionGroup | None:
    """Return the options of a dataclass whose fields are annotated; None for any other type."""
    if not (is_dataclass(kind) and isinstance(kind, type)):
        return None
    return OptionGroup(tuple(_fields(kind, name)), lambda values: kind(**values))


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
        """Read a declaration; text that nothing else checks must not be empty.

        Raises:
            TypeError: If the annotation holds no typer.Option and no typer.Argument.
        """
        origin: Any = get_origin(annotation)
        if origin is not Annotated:
            raise TypeError(f"{field} is declared without typer.Option or typer.Argument")
        kind, *extras = get_args(annotation)
        (info,) = (one for one in extras if isinstance(one, (OptionInfo, ArgumentInfo)))
        checks = tuple(one for one in extras if isinstance(one, Check)) or (FILLED,)
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
            if isinstance(check, TextCheck):
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


def _shown(default: Value, check: TextCheck) -> str | None:
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
