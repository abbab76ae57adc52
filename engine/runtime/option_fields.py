"""Fields of dataclasses that hold options: their help, and how their values are written as text.

The command line of `adadecode.engine.cli.derived_options` and the settings in a recording's
manifest are both derived from these fields, so that an option is declared in one place.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

from adadecode.profiles.errors import InputError
from adadecode.sim.core.scalars import flag, real_number, whole_number

KEY = "adadecode option"
"""The key of an `OptionField` in the metadata of a dataclass field."""


class OptionSet(Protocol):
    """A dataclass whose fields are made by `option`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Options = TypeVar("Options", bound=OptionSet)


@dataclass(frozen=True, kw_only=True)
class Notation:
    """How a value is written as text.

    Args:
        parse: Takes the option's name and the text, returns the value. Raises InputError.
        write: Takes the value, returns text that ``parse`` reads back as the same value.
        repeats: Whether the option may be given again: its value is a tuple, of all that is given.
    """

    parse: Callable[[str, str], Any]
    write: Callable[[Any], str]
    repeats: bool = False


@dataclass(frozen=True, kw_only=True)
class OptionField:
    """What a command line has to know of a field.

    Args:
        help: One sentence for ``--help``.
        flag: The name on the command line, like ``--map``.
        default: How ``--help`` describes the default; None where the help says it.
        panel: The heading under which ``--help`` lists the option.
        notation: How the value is written as text; None for numbers, words and switches.
    """

    help: str
    flag: str
    default: str | None
    panel: str
    notation: Notation | None


def option(
    help: str,  # noqa: A002  # the word that every command-line library uses
    *,
    default: Any = None,
    flag: str | None = None,
    shown: str | None = None,
    panel: str = "Options",
    notation: Notation | None = None,
) -> Any:
    """Return a dataclass field that describes an option.

    Args:
        help: One sentence for ``--help``.
        default: The value where the option is left out.
        flag: The name on the command line; by default the field's own.
        shown: How ``--help`` describes the default; by default the value, and nothing for None.
        panel: The heading under which ``--help`` lists the option.
        notation: How the value is written as text, for values that are no plain number or word.
    """
    if shown is None and default is not None and default is not False:
        shown = str(default) if notation is None else notation.write(default)
    about = OptionField(help=help, flag=flag or "", default=shown, panel=panel, notation=notation)
    return field(default=default, metadata={KEY: about})


def described(owner: type[OptionSet] | OptionSet) -> dict[str, OptionField]:
    """Return the options of a dataclass by the names of their fields, inherited ones last."""
    kind = owner if isinstance(owner, type) else type(owner)
    own = vars(kind).get("__annotations__", {})
    found = {}
    for one in sorted(fields(owner), key=lambda one: one.name not in own):
        about: OptionField = one.metadata[KEY]
        found[one.name] = OptionField(
            help=about.help,
            flag=about.flag or _flag(one),
            default=about.default,
            panel=about.panel,
            notation=about.notation,
        )
    return found


def _flag(one: Field[Any]) -> str:
    return f"--{one.name.replace('_', '-')}"


def plain_type(owner: type[OptionSet], name: str) -> Any:
    """Return the type of a field without its ``| None``."""
    hint = get_type_hints(owner)[name]
    if get_origin(hint) is types.UnionType:
        members = [one for one in get_args(hint) if one is not type(None)]
        return members[0] if len(members) == 1 else hint
    return hint


def to_settings(options: OptionSet) -> dict[str, Any]:
    """Return the options as JSON can hold them, by the names of their fields."""
    settings: dict[str, Any] = {}
    for name, about in described(options).items():
        value = getattr(options, name)
        if value is not None and about.notation is not None:
            value = about.notation.write(value)
        settings[name] = value.value if isinstance(value, StrEnum) else value
    return settings


def from_settings(owner: type[Options], settings: Mapping[str, Any]) -> Options:
    """Return the options that `to_settings` wrote.

    Args:
        owner: The dataclass of the options.
        settings: By the names of fields. Other entries are ignored; what is missing, None or an
            empty text takes its default.

    Raises:
        InputError: A value is not one of this option.
    """
    given = {name: value for name, value in settings.items() if value not in ("", [])}
    return owner(**parsed_values(owner, given))


def parsed_values(owner: type[OptionSet], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that ``settings`` gives for fields of ``owner``, as their types want them.

    What is None or an empty list was not given.

    Raises:
        InputError: A value is not one of this option.
    """
    values: dict[str, Any] = {}
    for name, about in described(owner).items():
        value = settings.get(name)
        if value is None or value == []:
            continue
        if about.notation is not None and isinstance(value, str):
            value = about.notation.parse(about.flag, value)
        elif about.notation is not None and about.notation.repeats and _are_texts(value):
            value = tuple(one for text in value for one in about.notation.parse(about.flag, text))
        elif about.notation is not None:
            raise InputError(f"wanted {about.flag} as a text, got {repr(value)[:80]}")
        elif not _fits(value, plain_type(owner, name)):
            raise InputError(
                f"wanted {about.flag} as {plain_type(owner, name)}, got {repr(value)[:80]}"
            )
        values[name] = value
    return values


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value from JSON is of the type of a field."""
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return isinstance(value, str)
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is int and isinstance(value, bool):
        return False
    return isinstance(value, wanted)


def settle_values(options: OptionSet) -> None:
    """Give the values of a frozen dataclass's options the types of their fields, in place.

    Words become members of enumerations, and numbers and flags of any kind, such as NumPy's, become
    Python's own, which a manifest can hold.

    Raises:
        InputError: A word is none of the choices, or a value is of another type.
    """
    for name, about in described(options).items():
        value = getattr(options, name)
        if value is not None:
            wanted = plain_type(type(options), name)
            object.__setattr__(options, name, _settled(value, wanted, about.flag))


_PLAIN: dict[Any, tuple[Callable[[object], Any], str]] = {
    int: (whole_number, "a whole number"),
    float: (real_number, "a number"),
    bool: (flag, "True or False"),
}
"""By the type of a field, what makes a plain value of any, and what it is called."""


def _settled(value: Any, wanted: Any, name: str) -> Any:
    """Return one value as its type wants it, and each value of a list."""
    if get_origin(wanted) is tuple:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise InputError(f"wanted {name} as a list, got {value!r}: give one, also of one value")
        return tuple(_settled(one, get_args(wanted)[0], name) for one in value)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        if value not in list(wanted):
            raise InputError(f"wanted {name} as one of {', '.join(wanted)}, got {value!r}")
        return wanted(value)
    if wanted not in _PLAIN:
        return value
    plain, called = _PLAIN[wanted]
    settled = plain(value)
    if settled is None:
        raise InputError(f"wanted {name} as {called}, got {value!r}: give one")
    return settled


def check_counts(options: OptionSet, *names: str) -> None:
    """Check that these options are whole numbers of at least 1, or None.

    Raises:
        InputError: One is not.
    """
    for name in names:
        value, named = getattr(options, name), described(options)[name].flag
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"wanted {named} as a whole number, got {value!r}")
        if value < 1:
            raise InputError(f"wanted {named} of at least 1, got {value}")
