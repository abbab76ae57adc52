"""Options of a plan: the load, the objectives, the devices, and how the servers are set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.catalogue import DEVICE_NAMES, device
from adadecode.sim.cli.options.checks import FILLED, TextCheck, at_least
from adadecode.sim.cli.options.each_server import EachServerOptions, Routing
from adadecode.sim.cli.options.output import new_directory
from adadecode.sim.cli.options.selected_requests import FirstRequests, RateScale
from adadecode.sim.cli.options.serving import Warmup, slo
from adadecode.sim.core.parsing import finite, numbers
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.workloads.load import Load, find_load
from adadecode.sim.serving.workloads.selection import Selection


def devices(option: str, typed: str) -> tuple[str, ...]:
    """Return devices that are known, each once. Raises DeviceError."""
    return tuple(dict.fromkeys(device(option, name.strip()) for name in typed.split(",")))


def window(option: str, typed: str) -> tuple[float, float]:
    """Return the ends of a window. Raises InputError."""
    found = numbers(option, typed)
    if len(found) != 2:
        raise InputError(f"wanted {option} as START,END in seconds, like 600,1200, got {typed!r}")
    start, end = (finite(option, one, low=0) for one in found)
    Selection(window_s=(start, end))
    return start, end


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """When requests arrive, and how long they are."""

    arrivals: Annotated[
        str,
        typer.Option(
            "--arrivals",
            metavar="FILE|SPEC",
            help="A file of requests (Azure, BurstGPT, Mooncake, Vidur, LLMServingSim, AIPerf, "
            "guidellm), or how they are drawn, like poisson:5 and, behind commas, count=, prompt= "
            "and output=.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        FILLED,
    ]
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--window",
            metavar="START,END",
            help="Take only requests of the file that arrive within these seconds.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        TextCheck(window),
    ] = None
    first: FirstRequests = None
    rate_scale: RateScale = 1.0
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="SEED",
            help="The first seed of drawn requests; 0 where nobody says.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        at_least(0),
    ] = None
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            metavar="N",
            help="Draw the requests at most so often for one deployment, until it is clear whether "
            "it meets the objectives.",
            rich_help_panel=panels.LOAD,
        ),
        at_least(1, 1000),
    ] = 10
    warmup_s: Warmup = 0.0

    def load(self, block_size: int) -> Load:
        """Return the load. Raises InputError."""
        selection = Selection(window_s=self.window, first=self.first, rate_scale=self.rate_scale)
        return find_load(self.arrivals, seed=self.seed, block_size=block_size, selection=selection)


@dataclass(frozen=True, kw_only=True)
class PlannedServerOptions(EachServerOptions):
    """How each server forms its steps, and which one a request goes to."""

    routing: Routing = "least-loaded"


Objectives = Annotated[
    Slo,
    typer.Option(
        "--slo",
        metavar="OBJECTIVES",
        help="What is to be kept: a time (ttft, tpot, itl, e2e) and a statistic (mean, p50, p90, "
        "p95, p99) with a limit each, like ttft_p99=2s,itl_p99=50ms.",
        show_default=False,
    ),
    TextCheck(slo),
]

Devices = Annotated[
    tuple[str, ...] | None,
    typer.Option(
        "--devices",
        metavar="DEVICES",
        help=f"The devices to compare, between commas: {DEVICE_NAMES}. By default the one of "
        "PROFILE.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
    TextCheck(devices),
]

Prices = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="FILE",
        help="What an hour of a device costs: a TOML file with lines like a100-80gb-sxm = 1.79.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
]

MaxReplicas = Annotated[
    int,
    typer.Option(
        "--max-replicas",
        metavar="N",
        help="Servers that there may be of one device.",
        rich_help_panel=panels.SERVER,
    ),
    at_least(1, 10_000),
]

PlanDirectory = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIRECTORY",
        help="Also write plan.json and trials.csv into this directory.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(new_directory),
]
