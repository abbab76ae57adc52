"""Options of ``adadecode-sim serve``: the requests, and the server that they go to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.catalogue import LayersModel, SourceDevice, ToDevice
from adadecode.sim.cli.options.checks import TextCheck, at_least, number
from adadecode.sim.cli.options.each_server import EachServerOptions, Routing
from adadecode.sim.cli.options.output import new_directory
from adadecode.sim.cli.options.scenario import DATASHEET, WeightDtype
from adadecode.sim.serving.metrics.slo import Slo


def slo(_option: str, typed: str) -> Slo:
    """Return objectives. Raises InputError."""
    return Slo.parse(typed)


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
            help="Seed of drawn requests, and of their texts with early exits; 0 where nobody "
            "says.",
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

    def check(self, *, draws_texts: bool) -> None:
        """Refuse options that contradict each other.

        Args:
            draws_texts: Whether the texts of requests are drawn, as with early exits.

        Raises:
            InputError: If options do.
        """
        if (self.requests is None) == (self.arrivals is None):
            raise InputError("wanted either --requests FILE or --arrivals SPEC: give one of them")
        if self.sent is not None and self.requests is None:
            raise InputError("--sent belongs to --requests: leave it out, or give both")
        if self.seed is not None and self.arrivals is None and not draws_texts:
            raise InputError(
                "--seed belongs to --arrivals, or to early exits: nothing is drawn with --requests"
            )


@dataclass(frozen=True, kw_only=True)
class ServerOptions(EachServerOptions):
    """The servers, and what they run."""

    to: ToDevice = None
    source: SourceDevice = None
    model: LayersModel = None
    dtype: WeightDtype = None
    replicas: Annotated[
        int,
        typer.Option(
            "--replicas", metavar="N", help="Servers, all alike.", rich_help_panel=panels.SERVER
        ),
        at_least(1, 10_000),
    ] = 1
    routing: Routing = "round-robin"
