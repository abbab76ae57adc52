"""Options of servers with early exits: the policy, the heads, and the texts that are replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from adadecode.profiles.errors import DesignError, InputError, nearest
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import Check, TextCheck, at_least
from adadecode.sim.cli.options.design import HeadDepths, cap, gammas, gates
from adadecode.sim.cli.options.scenario import HeadMap, TraceProfile
from adadecode.sim.cli.options.serving import ServerOptions
from adadecode.sim.core.design import DEFAULT_CAP, Policy
from adadecode.sim.serving.batching.segment_order import DEFAULT_AGE_LIMIT
from adadecode.sim.serving.exits.exit_policy import ALL_ORDERS, EXIT_POLICIES, ExitPolicy

SERVED_POLICIES = (str(Policy.VANILLA), *EXIT_POLICIES)
"""The policies that a simulated server knows."""

DEFAULT_ORDER = "lockstep"
"""The order of segments where nobody says."""

AGED_ORDERS = ("largest", "worth")
"""The orders of segments with a limit of age."""

PREFIX_AWARE = "prefix-aware"
"""The routing that looks for what servers kept of prompts."""


def served_policy(_option: str, name: str) -> str:
    """Return the name of a policy that a server knows. Raises DesignError."""
    if name not in SERVED_POLICIES:
        raise DesignError(f"unknown policy {name!r}: {nearest(name, SERVED_POLICIES)}")
    return name


def order(_option: str, name: str) -> str:
    """Return the name of an order of segments that is known. Raises DesignError."""
    if name not in ALL_ORDERS:
        raise DesignError(f"unknown order of segments {name!r}: {nearest(name, ALL_ORDERS)}")
    return name


@dataclass(frozen=True, kw_only=True)
class ExitOptions:
    """How the servers decode."""

    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            metavar="NAME",
            help=f"How the servers decode: {', '.join(SERVED_POLICIES)}. Vanilla forms steps as "
            "vLLM does. The policy adaptive drafts by the number of sequences that run, or not at "
            "all, and says which of vanilla and adadecode is better at this load.",
            rich_help_panel=panels.DESIGN,
        ),
        Check(served_policy),
    ] = str(Policy.VANILLA)
    gammas: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--gamma",
            metavar="GAMMAS",
            help="Confidence that a draft must exceed: one number for all heads, or one per head "
            "like 0.9,0.7; 0.75 where nobody says. The policy adaptive has others to choose from, "
            "too.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(gammas),
    ] = None
    gates: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--gate",
            metavar="GATES",
            help="Score that the gate before a head must exceed for the head to be asked: one "
            "number for all heads, or one per head; no gate is asked where nobody says.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(gates),
    ] = None
    heads: HeadDepths = None
    cap: Annotated[
        int | None,
        typer.Option(
            "--cap",
            metavar="N",
            help=f"Most tokens to draft before a verification; {DEFAULT_CAP} where nobody says.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        Check(cap),
    ] = None
    order: Annotated[
        str | None,
        typer.Option(
            "--order",
            metavar="RULE",
            help="Which segment of layers runs next, for all sequences that wait for it: "
            f"{', '.join(ALL_ORDERS)}; lockstep where nobody says.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
        Check(order),
    ] = None
    age_limit: Annotated[
        int | None,
        typer.Option(
            "--age-limit",
            metavar="STEPS",
            help="Steps that a sequence waits at most under the orders largest and worth; "
            f"{DEFAULT_AGE_LIMIT} where nobody says.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
        at_least(1),
    ] = None
    trace: TraceProfile = None
    head_map: HeadMap = None

    def exits(self, seed: int) -> ExitPolicy | None:
        """Return how servers with early exits decode; None for vanilla.

        Args:
            seed: What the texts of requests are drawn with.

        Raises:
            InputError: If options of early exits come with the policy vanilla, or others that the
                policy or the order has no use for.
            ProfileError: If the profile of the texts cannot be read.
        """
        own = {
            "--gamma": self.gammas,
            "--gate": self.gates,
            "--heads": self.heads,
            "--cap": self.cap,
            "--order": self.order,
            "--age-limit": self.age_limit,
            "--trace": self.trace,
            "--map": self.head_map,
        }
        if self.policy == Policy.VANILLA:
            if given := [option for option, value in own.items() if value is not None]:
                raise InputError(
                    f"{given[0]} is of servers with early exits, and the policy vanilla forms "
                    "whole steps as vLLM does: add --policy adadecode, or leave it out"
                )
            return None
        self._check_used()
        return ExitPolicy(
            policy=self.policy,
            gamma=_one_or_all(self.gammas or (0.75,)),
            gate=_one_or_all(self.gates or (0.0,)),
            heads=self.heads,
            cap=DEFAULT_CAP if self.cap is None else self.cap,
            order=self.order or DEFAULT_ORDER,
            age_limit=DEFAULT_AGE_LIMIT if self.age_limit is None else self.age_limit,
            trace=None if self.trace is None else read_profile(self.trace),
            heads_at=self.head_map,
            seed=seed,
        )

    def check_server(self, server: ServerOptions) -> None:
        """Refuse settings of steps as vLLM forms them, where none is formed so.

        The policy adaptive serves vanilla too, and so has a use for them.

        Raises:
            InputError: If one was given.
        """
        if self.policy not in (Policy.ADADECODE, Policy.FIXED):
            return
        given = {
            "--no-async": not server.async_scheduling,
            "--no-prefix-caching": not server.prefix_caching,
            f"--routing {PREFIX_AWARE}": server.routing == PREFIX_AWARE,
        }
        if unused := [option for option, is_given in given.items() if is_given]:
            raise InputError(
                f"{unused[0]} is of servers without early exits, and with the policy {self.policy} "
                "a step is formed when the one before it is done, and prompts share nothing: leave "
                "it out"
            )

    def _check_used(self) -> None:
        """Refuse what the policy or the order has no use for. Raises InputError."""
        if self.policy == Policy.FIXED:
            unused = {"--gamma": self.gammas, "--gate": self.gates}
            if given := [option for option, value in unused.items() if value is not None]:
                raise InputError(
                    f"{given[0]} is of policies that ask how sure a head is, and the policy fixed "
                    "drafts however unsure it is: leave it out"
                )
        order = self.order or DEFAULT_ORDER
        if self.age_limit is not None and order not in AGED_ORDERS:
            raise InputError(
                f"--age-limit is of the orders {' and '.join(AGED_ORDERS)}, and under {order} "
                "there is no such limit: leave it out, or name one of them with --order"
            )


def _one_or_all(thresholds: tuple[float, ...]) -> float | tuple[float, ...]:
    """Return one threshold for all heads, or one for each."""
    return thresholds[0] if len(thresholds) == 1 else thresholds
