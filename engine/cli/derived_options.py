"""Command-line options derived from the fields of option dataclasses.

A command takes the dataclasses themselves, or what was given of them::

    @app.command()
    @takes_options
    def train(*, out: OutOption, options: TrainingOptions) -> None: ...

    @app.command()
    @takes_options
    def profile(*, out: OutOption, options: GivenOptions[RecordingOptions]) -> None: ...

The fields are declared by `adadecode.engine.runtime.option_fields.option`; the signature for typer
is made by `adadecode.sim.cli.options.grouping.takes_option_sets`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, get_args, get_origin

import typer
from typer.models import OptionInfo

from adadecode.engine.runtime.given_options import GivenOptions
from adadecode.engine.runtime.option_fields import OptionField, OptionSet, described, plain_type
from adadecode.sim.cli.options.checks import FILLED
from adadecode.sim.cli.options.grouping import OptionGroup, Parameter, takes_option_sets


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flat signature that typer reads, and call it with its dataclasses.

    Args:
        command: A function whose parameters are typer's, dataclasses whose fields are made by
            `adadecode.engine.runtime.option_fields.option`, or `GivenOptions` of one.
    """
    return takes_option_sets(command, described_group)


def described_group(_name: str, kind: Any) -> OptionGroup | None:
    """Return the options of a dataclass whose fields are described; None for any other type."""
    given_alone = get_origin(kind) is GivenOptions
    owner = get_args(kind)[0] if given_alone else kind
    if not (isinstance(owner, type) and hasattr(owner, "__dataclass_fields__")):
        return None

    def build(values: dict[str, Any]) -> Any:
        given: GivenOptions[Any] = GivenOptions.parse(owner, values)
        return given if given_alone else given.build()

    parameters = (_parameter(owner, name, about) for name, about in described(owner).items())
    return OptionGroup(tuple(parameters), build)


def _parameter(owner: type[OptionSet], name: str, about: OptionField) -> Parameter:
    """Return the parameter of a command for one field; None where it is left out."""
    wanted = plain_type(owner, name)
    typed: Any = str if about.notation is not None else wanted
    if about.notation is not None and about.notation.repeats:
        typed = list[str]
    metavar, sentence = None, about.help
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        typed, metavar = str, "CHOICE"
        sentence = f"{sentence} One of {', '.join(wanted)}."
    info: OptionInfo = typer.Option(
        about.flag,
        help=f"{sentence} \\[default: {about.default}]" if about.default else sentence,
        metavar=metavar,
        show_default=False,
        rich_help_panel=about.panel,
    )
    checks = (FILLED,) if about.notation is None else ()
    return Parameter(name, "", typed | None, info, checks, None)
