"""Options of ``serve`` and ``plan`` that say how a server forms its steps, named as vLLM does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import Check, at_least, number
from adadecode.sim.serving.kv_memory import UTILISATION
from adadecode.sim.serving.routing import ROUTINGS, find_routing
from adadecode.sim.serving.scheduling.settings import MOST
from adadecode.sim.serving.served_run import Server


def routing(_option: str, name: str) -> str:
    """Return the name of a rule that is known. Raises InputError."""
    find_routing(name)
    return name


Routing = Annotated[
    str,
    typer.Option(
        "--routing",
        metavar="RULE",
        help=f"Which server a request goes to: {', '.join(ROUTINGS)}.",
        rich_help_panel=panels.SERVER,
    ),
    Check(routing),
]


@dataclass(frozen=True, kw_only=True)
class EachServerOptions:
    """How each server forms its steps."""

    kv_blocks: Annotated[
        int | None,
        typer.Option(
            "--kv-blocks",
            metavar="N",
            help="Blocks of keys and values of a server, the reserved one included, as its log "
            "has it. It matters more than anything else. By default worked out from the device's "
            "memory, which gave too few on the one card where the true number is known (the page "
            "'A real server' of the documentation says by how much).",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
        at_least(2, MOST),
    ] = None
    utilisation: Annotated[
        float,
        typer.Option(
            "--memory-utilisation",
            metavar="SHARE",
            help="Share of the device's memory that a server takes, where --kv-blocks is not "
            "given.",
            rich_help_panel=panels.SERVER,
        ),
        number(above=0, high=1),
    ] = UTILISATION
    block_size: Annotated[
        int,
        typer.Option(
            "--block-size",
            metavar="TOKENS",
            help="Positions of a block.",
            rich_help_panel=panels.SERVER,
        ),
        at_least(1, 4096),
    ] = 16
    max_batched_tokens: Annotated[
        int,
        typer.Option(
            "--max-batched-tokens",
            metavar="TOKENS",
            help="Tokens of a step, at most.",
            rich_help_panel=panels.SERVER,
        ),
        at_least(1, 10**6),
    ] = 2048
    max_num_seqs: Annotated[
        int,
        typer.Option(
            "--max-num-seqs",
            metavar="N",
            help="Sequences that run at once, at most.",
            rich_help_panel=panels.SERVER,
        ),
        at_least(1, 10**5),
    ] = 256
    prefix_caching: Annotated[
        bool,
        typer.Option(
            "--prefix-caching/--no-prefix-caching",
            help="Whether blocks are kept and shared by prompts that begin alike.",
            rich_help_panel=panels.SERVER,
        ),
    ] = True
    async_scheduling: Annotated[
        bool,
        typer.Option(
            "--async/--no-async",
            help="Whether a step is formed while the one before it runs.",
            rich_help_panel=panels.SERVER,
        ),
    ] = True
    unequal_contexts: Annotated[
        bool | None,
        typer.Option(
            "--unequal-contexts/--equal-contexts",
            help="Whether sequences of unequal lengths take more than equal ones, where that was "
            "measured. By default as the profile says.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
    ] = None

    def server(self, replicas: int = 1, routing: str = "round-robin") -> Server:
        """Return the server.

        Args:
            replicas: How many there are.
            routing: Which of them a request goes to.
        """
        return Server(
            kv_blocks=self.kv_blocks,
            utilisation=self.utilisation,
            block_size=self.block_size,
            max_batched_tokens=self.max_batched_tokens,
            max_num_seqs=self.max_num_seqs,
            prefix_caching=self.prefix_caching,
            async_scheduling=self.async_scheduling,
            replicas=replicas,
            routing=routing,
        )
