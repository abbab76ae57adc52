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
from adadecode.sim.core.parsing import integers, numbers
from adadecode.sim.hardware.memory import WEIGHT_BYTES
from adadecode.sim.prediction.scenario import DATASHEET

ProfileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PROFILE", help="A directory that adadecode-profile wrote.", show_default=False
    ),
]
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
        list(trained) if heads is None else integers("--heads", heads)
    )
    gammas = numbers("--gamma", gamma)
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


def print_json(what: dict[str, Any]) -> None:
    """To stdout; NaN is no JSON and raises."""
    print(json.dumps(what, indent=2, allow_nan=False))


LatencyArgument = Annotated[
    str,
    typer.Argument(
        metavar="LATENCY",
        help=f"A directory that adadecode-profile wrote, or one of imported latencies; or {DATASHEET}, where nothing was measured.",
        show_default=False,
    ),
]


DomainsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--domain", help="Only prompts of this domain; may be repeated.", show_default=False
    ),
]


TraceOption = Annotated[
    str | None,
    typer.Option(
        "--trace",
        help="The profile whose text is replayed, where it is not LATENCY.",
        show_default=False,
    ),
]


ToOption = Annotated[
    str | None,
    typer.Option(
        "--to", help="Another device: a name of the catalogue, or FILE.toml.", show_default=False
    ),
]


FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="The device LATENCY was measured on, where it does not say.",
        show_default=False,
    ),
]


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=f"The model of LATENCY, where it does not say; with {DATASHEET}, the model to run.",
        show_default=False,
    ),
]


DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype", help=f"Weights in another format: {', '.join(WEIGHT_BYTES)}.", show_default=False
    ),
]


MapOption = Annotated[
    str | None,
    typer.Option(
        "--map",
        help="Where heads of the trace stand in the model of LATENCY, like 3:8,7:16.",
        show_default=False,
    ),
]
