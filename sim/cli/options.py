"""Options that several commands of ``adadecode-sim`` share: a design from what a user types, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from adadecode.profiles.errors import DesignError, InputError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.head_form import DTYPES, HeadForm

PolicyOption = Annotated[
    str,
    typer.Option(
        "--policy",
        help=f"One of {', '.join(Policy)}. The oracle lets every token leave at its earliest right depth: simulation only.",
    ),
]
GammaOption = Annotated[
    str,
    typer.Option(
        "--gamma",
        help="Confidence that a draft must exceed: one for all heads, or a list like 0.9,0.7. Only adadecode asks it.",
    ),
]
HeadsOption = Annotated[
    str | None,
    typer.Option(
        "--heads",
        help="Depths of the heads to use, like 4,8; all trained ones by default.",
        show_default=False,
    ),
]
CapOption = Annotated[int, typer.Option("--cap", help="Most drafts in a round.")]
VerifyOption = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Let the last layer check every draft.")
]
ShortlistOption = Annotated[
    int | None,
    typer.Option(
        "--shortlist",
        help="Heads give logits of this many frequent tokens alone; as recorded by default.",
        show_default=False,
    ),
]
HeadDtypeOption = Annotated[
    str | None,
    typer.Option(
        "--head-dtype",
        help=f"Heads in a format of their own: {', '.join(DTYPES)}; as recorded by default.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def design_of(
    trained: Sequence[int], *, policy: str, gamma: str, heads: str | None, cap: int, verify: bool
) -> Design:
    """The design these options name. Raises DesignError."""
    depths = (
        list(trained) if heads is None else [int(depth) for depth in numbers("--heads", heads, int)]
    )
    gammas = numbers("--gamma", gamma, float)
    if not gammas:
        raise DesignError(
            f"wanted a number or a list of numbers as --gamma, got {gamma!r}: try --gamma 0.75"
        )
    return Design.of(
        policy,
        gamma=gammas[0] if len(gammas) == 1 else gammas,
        placement=depths,
        cap=cap,
        verify=verify,
    )


def path_of(words: str) -> Path:
    """Where to write, as a user names it. Raises InputError for an empty name, which would mean where the user stands."""
    if not words.strip():
        raise InputError(
            "wanted a path to write to, got an empty one: name it, or . for the current directory"
        )
    return Path(words)


def form_of_options(shortlist: int | None, head_dtype: str | None) -> HeadForm | None:
    """The form these options name; None, as recorded, where they name none. Raises HeadsError."""
    return (
        None
        if shortlist is None and head_dtype is None
        else HeadForm(shortlist=shortlist, dtype=head_dtype)
    )


def numbers(option: str, words: str, kind: type[int | float]) -> list[float]:
    """Numbers between commas; none of an empty string. Raises DesignError."""
    try:
        return [kind(word) for word in words.split(",")] if words.strip() else []
    except ValueError:
        wanted = "whole numbers" if kind is int else "numbers"
        raise DesignError(f"wanted {wanted} between commas as {option}, got {words!r}") from None


def map_of(words: str) -> dict[int, int]:
    """Heads and where they stand, from ``3:8,7:16``."""
    try:
        pairs = [
            (int(head), int(place))
            for head, place in (pair.split(":") for pair in words.split(","))
        ]
    except ValueError:
        raise DesignError(
            f"wanted --map as DEPTH:DEPTH,DEPTH:DEPTH, like 3:8,7:16, got {words!r}"
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise DesignError(f"a head stands in one place, --map names one twice: {words}")
    return dict(pairs)


def in_proportion(depths: Sequence[int], had: int, has: int) -> str:
    """As --map takes it; of heads that would stand in one place, the deepest."""
    places = {min(max(1, round(depth * has / had)), has - 1): depth for depth in depths}
    return ",".join(f"{depth}:{place}" for place, depth in places.items())


def print_json(what: dict[str, Any]) -> None:
    """To stdout; NaN is no JSON and raises."""
    print(json.dumps(what, indent=2, allow_nan=False))
