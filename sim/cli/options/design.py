"""Options that name one design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import Check, TextCheck
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.core.parsing import integers, numbers


def policy(_option: str, typed: str) -> Policy:
    """Return the policy of this name. Raises DesignError."""
    return Policy.named(typed.strip())


def gammas(option: str, typed: str) -> tuple[float, ...]:
    """Return one threshold or more, each a probability. Raises DesignError, InputError."""
    found = tuple(numbers(option, typed))
    for gamma in found:
        Design.of(gamma=gamma)
    return found


def thresholds(option: str, typed: str) -> tuple[float, ...]:
    """Return thresholds to try in turn, each once. Raises DesignError, InputError."""
    return tuple(dict.fromkeys(gammas(option, typed)))


def gates(option: str, typed: str) -> tuple[float, ...]:
    """Return thresholds of gates, one or more. Raises DesignError, InputError."""
    found = tuple(numbers(option, typed))
    for gate in found:
        Design.of(gate=gate)
    return found


def gate_choices(option: str, typed: str) -> tuple[float, ...]:
    """Return thresholds of gates to try in turn, each once. Raises DesignError, InputError."""
    return tuple(dict.fromkeys(gates(option, typed)))


def depths(option: str, typed: str) -> tuple[int, ...]:
    """Return rising depths of heads, one or more. Raises DesignError, InputError."""
    return Design.of(placement=integers(option, typed)).placement


def cap(_option: str, value: int) -> int:
    """Return a cap that a design can have. Raises DesignError."""
    return Design.of(cap=value).cap


Cap = Annotated[
    int,
    typer.Option(
        "--cap", help="Most tokens to draft before a verification.", rich_help_panel=panels.DESIGN
    ),
    Check(cap),
]

HeadDepths = Annotated[
    tuple[int, ...] | None,
    typer.Option(
        "--heads",
        metavar="DEPTHS",
        help="Depths of the heads to use, like 4,8. By default all trained ones.",
        show_default=False,
        rich_help_panel=panels.DESIGN,
    ),
    TextCheck(depths),
]


@dataclass(frozen=True, kw_only=True)
class DesignOptions:
    """The design to predict, always verified."""

    policy: Annotated[
        Policy,
        typer.Option(
            "--policy",
            metavar="NAME",
            help=f"What decides where a token leaves the stack: {', '.join(Policy)}. The oracle "
            "exits at the first head that is right; no engine can run it.",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(policy),
    ] = Policy.ADADECODE
    gammas: Annotated[
        tuple[float, ...],
        typer.Option(
            "--gamma",
            metavar="GAMMAS",
            help="Confidence that a draft must exceed: one number for all heads, or one per head "
            "like 0.9,0.7. Used by the policy adadecode alone.",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(gammas),
    ] = (0.75,)
    gates: Annotated[
        tuple[float, ...],
        typer.Option(
            "--gate",
            metavar="GATES",
            help="Score that the gate before a head must exceed for the head to be asked: one "
            "number for all heads, or one per head like 0.4,0.2; 0 asks no gate. Used by the "
            "policy adadecode alone.",
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(gates),
    ] = (0.0,)
    heads: HeadDepths = None
    cap: Cap = DEFAULT_CAP

    def design(self, trained: Sequence[int]) -> Design:
        """Return the design.

        Args:
            trained: Depths of the heads to use where none are named.

        Raises:
            DesignError: If it makes no sense.
        """
        return self._design(trained, verify=True)

    def _design(self, trained: Sequence[int], *, verify: bool) -> Design:
        return Design.of(
            self.policy,
            gamma=self.gammas[0] if len(self.gammas) == 1 else self.gammas,
            placement=trained if self.heads is None else self.heads,
            cap=self.cap,
            verify=verify,
            gate=self.gates[0] if len(self.gates) == 1 else self.gates,
        )


@dataclass(frozen=True, kw_only=True)
class AnyDesignOptions(DesignOptions):
    """The design to predict, verified or not."""

    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Let the last layer check every draft, so that the text stays the model's own.",
            rich_help_panel=panels.DESIGN,
        ),
    ] = True

    def design(self, trained: Sequence[int]) -> Design:
        """Return the design; see `DesignOptions.design`."""
        return self._design(trained, verify=self.verify)
