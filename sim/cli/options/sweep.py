"""Options of a sweep: the designs to go through, the devices, and how to search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from adadecode.profiles.errors import DesignError, HeadsError
from adadecode.sim.cli.options import design as designs
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.catalogue import DEVICE_NAMES, device
from adadecode.sim.cli.options.checks import Check, TextCheck, at_least
from adadecode.sim.core.design import DEFAULT_CAP, Policy
from adadecode.sim.core.head_form import HeadForm, form_named
from adadecode.sim.core.parsing import finite, integers, numbers, rising_integers
from adadecode.sim.sweep.objective import OBJECTIVES, checked_objectives
from adadecode.sim.sweep.plan import EXHAUSTIVE_LIMIT, METHODS, RECORDED, TRIALS
from adadecode.sim.sweep.space import GAMMAS, NO_GATES, Space


def slopes(option: str, typed: str) -> tuple[float, ...]:
    """Return slopes to go through, each once. Raises InputError."""
    found = numbers(option, typed)
    return tuple(dict.fromkeys(finite(option, slope, low=0) for slope in found))


def caps(option: str, typed: str) -> tuple[int, ...]:
    """Return caps to go through, each once. Raises DesignError, InputError."""
    found = integers(option, typed)
    return tuple(dict.fromkeys(designs.cap(option, cap) for cap in found))


def depths(option: str, typed: str) -> tuple[int, ...]:
    """Return depths to choose from, each once. Raises InputError."""
    found = rising_integers(option, typed)
    return tuple(dict.fromkeys(found))


def policies(option: str, typed: str) -> tuple[Policy, ...]:
    """Return policies to go through, each once. Raises DesignError."""
    return tuple(dict.fromkeys(designs.policy(option, name) for name in typed.split(",")))


def devices(option: str, typed: str) -> tuple[str, ...]:
    """Return devices that are known, or ``recorded``, each once. Raises DeviceError."""
    names = dict.fromkeys(name.strip() for name in typed.split(","))
    return tuple(name if name == RECORDED else device(option, name) for name in names)


def objectives(_option: str, typed: str) -> tuple[str, ...]:
    """Return objectives that are known, each once. Raises DesignError."""
    return checked_objectives(name.strip() for name in typed.split(","))


def forms(_option: str, typed: str) -> tuple[HeadForm, ...]:
    """Return formats of the heads, each once. Raises HeadsError."""
    return tuple(dict.fromkeys(form_named(name.strip()) for name in typed.split(",")))


def method(option: str, typed: str) -> str:
    """Return the name of a way to search. Raises DesignError."""
    if typed not in METHODS:
        raise DesignError(f"wanted {option} auto, exhaustive or optuna, got {typed!r}")
    return typed


@dataclass(frozen=True, kw_only=True)
class SpaceOptions:
    """The designs to go through: every combination of these."""

    gammas: Annotated[
        tuple[float, ...],
        typer.Option(
            "--gammas",
            metavar="GAMMAS",
            help="Confidence thresholds to try, each the same for all heads of a design.",
            show_default=f"{len(GAMMAS)} from {GAMMAS[0]:g} to {GAMMAS[-1]:g}",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(designs.thresholds),
    ] = GAMMAS
    slopes: Annotated[
        tuple[float, ...],
        typer.Option(
            "--slopes",
            metavar="SLOPES",
            help="How much more confident shallow heads must be than deep ones (as in "
            "SpecBound); 0 asks all heads for the same.",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(slopes),
    ] = (0.0,)
    gates: Annotated[
        tuple[float, ...],
        typer.Option(
            "--gates",
            metavar="GATES",
            help="Thresholds to try for the gates before heads, each the same for all heads of a "
            "design; 0 asks no gate. Above 0 they need a text whose heads have gates.",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(designs.gate_choices),
    ] = NO_GATES
    max_heads: Annotated[
        int,
        typer.Option(
            "--max-heads",
            help="Most heads of a design.",
            rich_help_panel=panels.DESIGN,
        ),
        at_least(1),
    ] = 3
    heads: Annotated[
        tuple[int, ...] | None,
        typer.Option(
            "--heads",
            metavar="DEPTHS",
            help="Depths to choose heads from, like 3,7,11. By default all trained ones.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(depths),
    ] = None
    caps: Annotated[
        tuple[int, ...],
        typer.Option(
            "--caps",
            metavar="CAPS",
            help="Most tokens to draft before a verification: one number or several.",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(caps),
    ] = (DEFAULT_CAP,)
    policies: Annotated[
        tuple[Policy, ...],
        typer.Option(
            "--policies",
            metavar="NAMES",
            help=f"What may decide where a token leaves the stack: of {', '.join(Policy)}.",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(policies),
    ] = (Policy.ADADECODE,)
    forms: Annotated[
        tuple[HeadForm, ...] | None,
        typer.Option(
            "--head-forms",
            metavar="FORMS",
            help="Formats of the heads to choose from, like "
            "full, int8, shortlist:4096 or shortlist:4096+int8. By default as recorded.",
            show_default=False,
            rich_help_panel=panels.FORM,
        ),
        TextCheck(forms),
    ] = None

    def space(self) -> Space:
        """Return the space, which the sweep binds to the heads of its text. Raises DesignError."""
        return Space(
            depths=self.heads or (),
            policies=self.policies,
            gammas=self.gammas,
            slopes=self.slopes,
            caps=self.caps,
            max_heads=self.max_heads,
            forms=self.forms or (),
            gates=self.gates,
        )

    def check_forms(self, single: HeadForm | None) -> None:
        """Refuse a single format together with several to choose from.

        Args:
            single: The format that ``--shortlist`` and ``--head-dtype`` name.

        Raises:
            HeadsError: If both are there.
        """
        if self.forms is not None and single is not None:
            raise HeadsError(
                "--head-forms names all the formats there are to choose from: leave --shortlist "
                "and --head-dtype out"
            )


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is best, how the space is searched, and where that is computed."""

    devices: Annotated[
        tuple[str, ...],
        typer.Option(
            "--devices",
            metavar="DEVICES",
            help=f"Devices to predict for, separated by commas: each {DEVICE_NAMES}; "
            f"{RECORDED} is the machine of the profile. A search follows the first.",
            rich_help_panel=panels.RUN,
        ),
        TextCheck(devices),
    ] = (RECORDED,)
    objectives: Annotated[
        tuple[str, ...],
        typer.Option(
            "--objective",
            metavar="NAMES",
            help=f"What makes a design good: of {', '.join(OBJECTIVES)}. The first decides which "
            "is best; with several, the Pareto front is marked.",
            rich_help_panel=panels.SEARCH,
        ),
        TextCheck(objectives),
    ] = ("tpot",)
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help=f"How to search: {', '.join(METHODS)}. auto tries every design of up to "
            f"{EXHAUSTIVE_LIMIT:,}, and uses optuna beyond.",
            rich_help_panel=panels.SEARCH,
        ),
        Check(method),
    ] = "auto"
    trials: Annotated[
        int,
        typer.Option(
            "--trials",
            help="Designs that optuna tries.",
            rich_help_panel=panels.SEARCH,
        ),
        at_least(1),
    ] = TRIALS
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Run on the cluster of this Dask scheduler, tcp://HOST:PORT. Dask runs whatever "
            "the machines of the cluster send each other, here too: name one that you trust, in a "
            "network that you trust.",
            show_default=False,
            rich_help_panel=panels.SEARCH,
        ),
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            help="Threads to use. By default one per core.",
            show_default=False,
            rich_help_panel=panels.SEARCH,
        ),
        at_least(1),
    ] = None


Domain = Annotated[
    str | None,
    typer.Option(
        "--domain",
        metavar="NAME",
        help="Replay only prompts of this domain.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
]
