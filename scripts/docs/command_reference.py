"""The reference of all commands, from the typer applications themselves."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer
    from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

PROGRAMS = {
    "adadecode-sim": "adadecode.sim.cli.app",
    "adadecode-profile": "adadecode.engine.cli.profile",
    "adadecode-train": "adadecode.engine.cli.train",
    "adadecode-flips": "adadecode.engine.cli.flips",
    "adadecode-device": "adadecode.engine.cli.device",
    "adadecode-load": "adadecode.engine.cli.load",
}
"""Where the typer application ``app`` of each program stands."""


def command_reference() -> str:
    """Return a section for each program and each of its commands."""
    import importlib

    import typer

    sections = []
    for program, module in PROGRAMS.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        sections.extend(command_sections(program, command, level=2))
    return "\n\n".join(sections)


def command_sections(path: str, command: TyperCommand | TyperGroup, *, level: int) -> list[str]:
    """Return the section of one command, followed by those of its subcommands."""
    import typer

    context = typer.Context(command)
    parameters = [one for one in command.params if not one.hidden]
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    options = [one for one in parameters if one.param_type_name == "option"]
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    usage = [path, *map(argument_name, arguments), *(["COMMAND"] if names else [])]
    lines = [f"{'#' * level} {path}", "", paragraphs(command.help), ""]
    lines += ["```", f"{' '.join(usage)} [OPTIONS]", "```"]
    if arguments:
        rows = [f"| `{argument_name(one)}` | {cell(one.help)} |" for one in arguments]
        lines += ["", "| argument | meaning |", "| --- | --- |", *rows]
    if options:
        rows = [option_row(one, context) for one in options]
        lines += ["", "| option | value | meaning | default |", "| --- | --- | --- | --- |", *rows]
    sections = ["\n".join(lines)]
    for name in names:
        subcommand = command.get_command(context, name)
        sections.extend(command_sections(f"{path} {name}", subcommand, level=level + 1))
    return sections


def argument_name(argument: TyperArgument) -> str:
    """Return the name of a positional argument as the help shows it."""
    return str(argument.metavar or argument.name).upper()


def option_row(option: TyperOption, context: typer.Context) -> str:
    """Return the table row of one option."""
    names = " ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else option.display_type_rich(context) or ""
    return f"| {names} | {cell(value.strip('<>'))} | {cell(option.help)} | {default_of(option)} |"


def default_of(option: TyperOption) -> str:
    """Return the default of an option in words, empty where it has none."""
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return cell(option.show_default)
    if option.default in (None, False, "") or callable(option.default):
        return ""
    if option.is_flag:
        return f"`{option.opts[0]}`"
    return f"`{getattr(option.default, 'value', option.default)}`"


def paragraphs(text: str | None) -> str:
    """Return a help text as Markdown paragraphs."""
    blocks = inspect.cleandoc(text or "").replace("\b", "").split("\n\n")
    return "\n\n".join(" ".join(block.split()).replace("``", "`") for block in blocks)


def cell(text: str | None) -> str:
    """Return a help text that can stand in a cell of a Markdown table."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("``", "`")
