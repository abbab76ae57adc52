"""Dataclasses become options of a command, and every value is checked before the command begins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.options.checks import Check, TextCheck, at_least, number
from adadecode.sim.cli.options.grouping import takes_option_sets


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def _colour(_option: str, typed: str) -> Colour:
    return Colour(typed)


def _upper(_option: str, name: str) -> str:
    return name.upper()


def _numbers(_option: str, typed: str) -> tuple[float, ...]:
    return tuple(map(float, typed.split(",")))


@dataclass(frozen=True, kw_only=True)
class Paint:
    colour: Annotated[Colour, typer.Option("--colour"), TextCheck(_colour)] = Colour.RED
    shares: Annotated[tuple[float, ...], typer.Option("--shares"), TextCheck(_numbers)] = (
        0.5,
        0.25,
    )
    coats: Annotated[int, typer.Option("--coats", help="How often."), at_least(1, 9)] = 2
    rooms: Annotated[list[str] | None, typer.Option("--room"), Check(_upper)] = None


@dataclass(frozen=True, kw_only=True)
class Other:
    size: Annotated[float, typer.Option("--size"), number(above=0, high=10)]
    colour: Annotated[str, typer.Option("--other-colour")] = "none"


Where = Annotated[Path, typer.Argument(metavar="WHERE")]


def _run(*words: str) -> tuple[Any, list[Any]]:
    """Return the result of a command, and what it was called with."""
    calls: list[Any] = []

    @takes_option_sets
    def command(where: Where, *, paint: Paint, other: Other) -> None:
        """Paint."""
        calls.append((where, paint, other))

    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, words), calls


def test_a_command_is_called_with_its_dataclasses() -> None:
    result, calls = _run(
        "here", "--size", "2", "--colour", "blue", "--shares", "1,2", "--room", "a"
    )
    assert result.exit_code == 0
    assert calls == [
        (
            Path("here"),
            Paint(colour=Colour.BLUE, shares=(1.0, 2.0), rooms=["A"]),
            Other(size=2.0),
        )
    ]


def test_defaults_are_those_of_the_dataclass() -> None:
    _, calls = _run("here", "--size", "2")
    assert calls == [(Path("here"), Paint(), Other(size=2.0))]


def test_help_shows_defaults_as_they_are_typed() -> None:
    result, _ = _run("--help")
    assert "[default: 0.5,0.25]" in result.output
    assert "[default: red]" in result.output
    assert "How often." in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "0"), "wanted --size as a number above 0, got 0"),
        (("--size", "11"), "wanted --size as a finite number up to 10, got 11"),
        (("--size", "nan"), "wanted --size as a finite number"),
        (("--size", "1", "--coats", "0"), r"wanted --coats as a whole number in \[1, 9\], got 0"),
    ],
)
def test_a_bad_number_never_reaches_the_command(words: tuple[str, ...], message: str) -> None:
    result, calls = _run("here", *words)
    assert calls == []
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise result.exception


def test_one_option_twice_is_refused_when_the_command_is_declared() -> None:
    def command(paint: Paint, more: Paint) -> None: ...

    with pytest.raises(TypeError, match="declares --coats, --colour, --room, --shares more than"):
        takes_option_sets(command)


def test_an_option_without_a_name_is_refused() -> None:
    def command(size: Annotated[int, typer.Option()]) -> None: ...

    with pytest.raises(TypeError, match="size is declared without the name of its option"):
        takes_option_sets(command)


def test_a_parameter_that_typer_knows_nothing_of_is_refused() -> None:
    def command(size: int) -> None: ...

    with pytest.raises(TypeError, match=r"size is declared without typer\.Option"):
        takes_option_sets(command)
