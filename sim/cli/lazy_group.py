"""A group of commands that imports the module of a command only when that command runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from adadecode.sim.cli.interruption import exiting_on_interrupt

ClickObject = Any
"""An object of click. Some versions of typer bring a click of their own, others use the installed
one, so that no name of its class is always right."""


@dataclass(frozen=True, kw_only=True)
class CommandEntry:
    """What is known of a command without importing it.

    Args:
        module: Where its function is.
        function: The name of the function in that module.
        summary: Its line in the list of commands, equal to the first line of its docstring.
        panel: The heading that it stands under in the list of commands.
    """

    module: str
    function: str
    summary: str
    panel: str


class LazyGroup(TyperGroup):
    """A typer group whose commands are imported when they run.

    `get_command` imports; the list of commands and the search for a mistyped name do not.
    """

    entries: ClassVar[Mapping[str, CommandEntry]] = {}
    """The commands by name, in the order in which they are listed."""

    def __init__(self, **attributes: ClickObject) -> None:
        super().__init__(**attributes)
        # Typer looks a mistyped name up in the keys; the values are not used before a command runs.
        self.commands = {
            name: TyperCommand(name, help=entry.summary, rich_help_panel=entry.panel)
            for name, entry in self.entries.items()
        }
        self._loaded: dict[str, ClickObject] = {}

    def get_command(self, ctx: ClickObject, cmd_name: str) -> ClickObject:  # noqa: ARG002  click's
        """Import a command and return it; None where there is none of this name."""
        if cmd_name in self.entries and cmd_name not in self._loaded:
            self._loaded[cmd_name] = _load(cmd_name, self.entries[cmd_name])
        return self._loaded.get(cmd_name)

    def format_help(self, ctx: ClickObject, formatter: ClickObject) -> None:
        """Print the help of the group from the summaries, without importing a command."""
        listing = TyperGroup(
            name=self.name,
            commands=dict(self.commands),
            help=self.help,
            epilog=self.epilog,
            params=self.params,
            rich_markup_mode=self.rich_markup_mode,
            subcommand_metavar=self.subcommand_metavar,
        )
        listing.format_help(ctx, formatter)

    def invoke(self, ctx: ClickObject) -> ClickObject:
        """Run a command; say in one line what became of it where the user interrupts it."""
        with exiting_on_interrupt():
            return super().invoke(ctx)


def _load(name: str, entry: CommandEntry) -> ClickObject:
    """Make the command, or the group of commands, that an entry names."""
    found = getattr(import_module(entry.module), entry.function)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(found)
    return typer.main.get_command(single)
