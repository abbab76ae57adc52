"""Options of ``adadecode-sim serve``: the requests, and the server that they go to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.catalogue import LayersModel, SourceDevice, ToDevice
from adadecode.sim.cli.options.checks import Check, TextCheck, at_least, number
from adadecode.sim.cli.options.output import new_directory
from adadecode.sim.cli.options.scenario import DATASHEET, WeightDtype
from adadecode.sim.serving.kv_memory import UTILISATION
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.routing import ROUTINGS, find_routing


def slo(_option: str, typed: str) -> Slo:
    """Return objectives. Raises InputError."""
    return Slo.parse(typed)


def routing(_option: str, name: str) -> str:
    """Return the name of a rule that is known. Raises InputError."""
    find_routing(name)
    return name


Latency = Annotated[
    str,
    typer.Argument(
        metavar="LATENCY",
        help="A directory that adadecode-profile or `adadecode-sim import` wrote; or the word "
        f"{DATASHEET}, to predict where nothing was measured (with --to and --model).",
        show_default=False,
    ),
]

ResultDirectory = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIRECTORY",
        help="Also write the figures (result.json), every request (requests.csv) and every step "
        "(steps.csv) into a directory.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(new_directory),
]


Warmup = Annotated[
    float,
    typer.Option(
        "--warmup",
        metavar="SECONDS",
        help="Leave requests that arrive in the first seconds out of the figures.",
        rich_help_panel=panels.LOAD,
    ),
    number(low=0),
]

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
class RequestOptions:
    """What requests come, and what is wanted of them."""

    requests: Annotated[
        str | None,
        typer.Option(
            "--requests",
            metavar="FILE",
            help="A file of requests: a trace (Azure, BurstGPT, Mooncake, Vidur, LLMServingSim) "
            "or what a benchmark of a server measured (LLMServingSim, AIPerf, guidellm).",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ] = None
    sent: Annotated[
        str | None,
        typer.Option(
            "--sent",
            metavar="FILE",
            help="The same requests as they were sent, with the hash_ids of their prompts, where "
            "the file of --requests is what LLMServingSim measured.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ] = None
    arrivals: Annotated[
        str | None,
        typer.Option(
            "--arrivals",
            metavar="SPEC",
            help="Draw requests instead, like poisson:5,count=1000,prompt=512,output=128 or "
            "closed:16,count=200,prompt=512,output=128.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="SEED",
            help="Seed of drawn requests; 0 where nobody says.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        at_least(0),
    ] = None
    warmup_s: Warmup = 0.0
    slo: Annotated[
        Slo | None,
        typer.Option(
            "--slo",
            metavar="OBJECTIVES",
            help="Objectives for the goodput, like ttft_p99=2s,itl_p99=50ms.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        TextCheck(slo),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="What a server measured of these requests, to compare with.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ] = None

    def check(self) -> None:
        """Refuse options that contradict each other. Raises InputError."""
        if (self.requests is None) == (self.arrivals is None):
            raise InputError("wanted either --requests FILE or --arrivals SPEC: give one of them")
        if self.sent is not None and self.requests is None:
            raise InputError("--sent belongs to --requests: leave it out, or give both")
        if self.seed is not None and self.arrivals is None:
            raise InputError("--seed belongs to --arrivals: nothing is drawn with --requests")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The server, with the names and defaults of vLLM."""

    to: ToDevice = None
    source: SourceDevice = None
    model: LayersModel = None
    dtype: WeightDtype = None
    kv_blocks: Annotated[
        int | None,
        typer.Option(
            "--kv-blocks",
            metavar="N",
            help="Blocks of keys and values, the reserved one included, as the server's log has "
            "it. It matters more than anything else. By default worked out from the device's "
            "memory: a tenth too few on the one card where the true number is known, and waiting "
            "times with it.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
        at_least(2),
    ] = None
    utilisation: Annotated[
        float,
        typer.Option(
            "--memory-utilisation",
            metavar="SHARE",
            help="Share of the device's memory that the server takes, where --kv-blocks is not "
            "given.",
            rich_help_panel=panels.SERVER,
        ),
        number(above=0, high=1),
    ] = UTILISATION
    block_size: Annotated[
        int,
        typer.Option("--block-size", help="Positions of a block.", rich_help_panel=panels.SERVER),
        at_least(1),
    ] = 16
    max_batched_tokens: Annotated[
        int,
        typer.Option(
            "--max-batched-tokens", help="Tokens of a step.", rich_help_panel=panels.SERVER
        ),
        at_least(1),
    ] = 2048
    max_num_seqs: Annotated[
        int,
        typer.Option(
            "--max-num-seqs",
            help="Sequences that run at once.",
            rich_help_panel=panels.SERVER,
        ),
        at_least(1),
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
    replicas: Annotated[
        int,
        typer.Option("--replicas", help="Servers, all alike.", rich_help_panel=panels.SERVER),
        at_least(1, 10_000),
    ] = 1
    routing: Routing = "round-robin"
