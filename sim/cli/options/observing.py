"""Options of ``adadecode-sim observe``: the server, the load, and what is recorded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import parse_json
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import TextCheck, at_least, number
from adadecode.sim.cli.options.output import new_directory
from adadecode.sim.cli.options.selected_requests import FirstRequests, RateScale
from adadecode.sim.serving.observing.endpoint import Endpoint, check_fields
from adadecode.sim.serving.observing.observe import TIMEOUT_S
from adadecode.sim.serving.observing.prompt_texts import PromptText, drawn_texts, texts_of_file
from adadecode.sim.serving.workloads import Workload, arrivals, read_workload
from adadecode.sim.serving.workloads.arrival_spec import parse_arrivals
from adadecode.sim.serving.workloads.selection import Selection

LENGTHS = ("prompt", "lengths")
"""Words of a specification that say how long prompts are."""


def endpoint(_option: str, typed: str) -> Endpoint:
    """Return where requests go. Raises InputError."""
    return Endpoint.parse(typed)


def body(option: str, typed: str) -> dict[str, Any]:
    """Return fields of a body. Raises InputError."""
    found = parse_json(typed, option) if typed.lstrip().startswith("{") else None
    if not isinstance(found, dict):
        raise InputError(
            f'wanted {option} as an object of JSON, like {{"ignore_eos": true}}, got {typed[:60]!r}'
        )
    check_fields(found)
    return found


def key(option: str, name: str) -> str:
    """Return what a variable of the environment holds. Raises InputError."""
    found = os.environ.get(name, "").strip()
    if not (found and found.isascii() and found.isprintable()):
        what = "nothing" if not found else "characters that no key has"
        raise InputError(f"wanted a key in the variable {name[:60]!r} of {option}, got {what}")
    return found


ServerAddress = Annotated[
    Endpoint,
    typer.Argument(
        metavar="URL",
        help="The address of a server with OpenAI's interface, like http://localhost:8000; or "
        "of its completions (/v1/completions) or its chat (/v1/chat/completions).",
        show_default=False,
    ),
    TextCheck(endpoint),
]

RunDirectory = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIRECTORY",
        help="Directory for every request (requests.jsonl) and the figures (result.json): a new "
        "one, or an empty one.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(new_directory),
]


@dataclass(frozen=True, kw_only=True)
class SentOptions:
    """What is sent, and when."""

    arrivals: Annotated[
        str | None,
        typer.Option(
            "--arrivals",
            metavar="SPEC",
            help="Draw requests, like poisson:5,count=1000,prompt=512,output=128 or "
            "closed:16,count=200,prompt=512,output=128.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ] = None
    requests: Annotated[
        str | None,
        typer.Option(
            "--requests",
            metavar="FILE",
            help="Send the requests of a file, as adadecode-sim serve reads it, when they "
            "arrived there.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ] = None
    first: FirstRequests = None
    rate_scale: RateScale = 1.0
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help='Prompts, in turn: a text with one a line, or JSON Lines with "prompt". By '
            "default plain words are drawn, as many as a prompt has tokens.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="SEED",
            help="Seed of drawn requests and prompts; 0 where nobody says.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        at_least(0),
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            metavar="N",
            help="Ask for at most so many tokens an answer, whatever the load says.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        at_least(1),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            metavar="N",
            help="Have at most so many requests in flight; the others are sent late.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        at_least(1, 100_000),
    ] = None

    def load(self) -> Workload:
        """Return the load. Raises InputError."""
        if (self.requests is None) == (self.arrivals is None):
            raise InputError("wanted either --arrivals SPEC or --requests FILE: give one of them")
        if self.requests is not None:
            return read_workload(
                self.requests, selection=Selection(first=self.first, rate_scale=self.rate_scale)
            )
        if self.first is not None or self.rate_scale != 1:
            raise InputError("--first and --rate-scale belong to --requests: say it in --arrivals")
        assert self.arrivals is not None
        spec = self.arrivals
        if self.prompts is not None and not set(LENGTHS) & set(parse_arrivals(spec).words):
            spec = f"{spec},prompt=1"  # the file says how long prompts are
        return arrivals(spec, seed=self.seed)

    def texts(self, load: Workload) -> PromptText:
        """Return the prompts. Raises PromptError."""
        if self.prompts is not None:
            return texts_of_file(self.prompts)
        return drawn_texts(load.seed or 0 if self.seed is None else self.seed)

    def described(self, load: Workload) -> dict[str, Any]:
        """Return what tells this load from others."""
        about = load.to_json()
        return {
            "load": {name: about[name] for name in ("source", "requests", "in_flight", "seed")},
            "prompts": self.prompts,
            "max_tokens": self.max_tokens,
            "concurrency": self.concurrency,
        }


@dataclass(frozen=True, kw_only=True)
class AskedServerOptions:
    """How the server is asked."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Name of the model. By default the only one that the server lists.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
    ] = None
    key: Annotated[
        str | None,
        typer.Option(
            "--api-key-env",
            metavar="VARIABLE",
            help="The variable of the environment that holds the server's key.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
        TextCheck(key),
    ] = None
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="Let a request fail that takes longer.",
            rich_help_panel=panels.SERVER,
        ),
        number(above=0),
    ] = TIMEOUT_S
    body: Annotated[
        dict[str, Any] | None,
        typer.Option(
            "--body",
            metavar="JSON",
            help='Add fields to every request, like {"ignore_eos": true} for answers of full '
            "length; null takes one out.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
        TextCheck(body),
    ] = None

    def to_json(self) -> dict[str, Any]:
        """Return how the server is asked, without its key."""
        return {"timeout_s": self.timeout_s, "body": self.body or {}}
