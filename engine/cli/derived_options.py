"""Command-line options derived from the fields of option dataclasses.

A command takes the options as keyword arguments, and `takes_options` gives typer the signature::

    @app.command()
    @takes_options(ModelSource, RecordingOptions)
    def profile(out: OutOption, *, resume: ResumeOption = False, **given: Any) -> None: ...

``given`` holds what the user gave, by the names of the fields, ready for
`adadecode.engine.runtime.option_fields.parsed_values`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from adadecode.engine.runtime.option_fields import OptionField, OptionSet, described, plain_type

Command = TypeVar("Command", bound=Callable[..., None])


def takes_options(*sets: type[OptionSet]) -> Callable[[Command], Command]:
    """Give a command the options of these dataclasses, in the order of their fields.

    Args:
        sets: Dataclasses whose fields are made by `adadecode.engine.runtime.option_fields.option`.

    Returns:
        A decorator of the command, which must take keyword arguments by any name.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def derived(**values: Any) -> None:
            given = {
                name: value for name, value in values.items() if name in own or value is not None
            }
            command(**given)

        own, hints = (
            inspect.signature(command).parameters,
            get_type_hints(command, include_extras=True),
        )
        parameters = [
            one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for one in own.values()
            if one.kind != inspect.Parameter.VAR_KEYWORD
        ]
        for options in sets:
            parameters += [
                _parameter(options, name, about) for name, about in described(options).items()
            ]
        derived.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        derived.__annotations__ = {one.name: one.annotation for one in parameters}
        del derived.__wrapped__  # typer would read the signature of the command itself
        return derived  # type: ignore[return-value]

    return decorate


def _parameter(options: type[OptionSet], name: str, about: OptionField) -> inspect.Parameter:
    """Return the parameter of a command for one field."""
    wanted = plain_type(options, name)
    typed: Any = str if about.notation is not None else wanted
    metavar, sentence = None, about.help
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        typed, metavar = str, "CHOICE"
        sentence = f"{sentence} One of {', '.join(wanted)}."
    option = typer.Option(
        about.flag,
        help=f"{sentence} \\[default: {about.default}]" if about.default else sentence,
        metavar=metavar,
        show_default=False,
        rich_help_panel=about.panel,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[typed | None, option],
    )
