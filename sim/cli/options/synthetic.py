"""Options that describe heads by a few numbers, and the text to draw from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import TextCheck, at_least, number
from adadecode.sim.cli.options.design import Cap
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.parsing import integers, numbers
from adadecode.sim.synthetic.gate_model import MEASURED
from adadecode.sim.synthetic.head_model import (
    CORRELATIONS,
    Beta,
    SyntheticError,
    check_qualities,
    check_shares,
)
from adadecode.sim.synthetic.rate_fitting import Target

CONCENTRATION = 3.0
"""Concentration of confidences where none is given. `adadecode.sim.synthetic.rate_fitting` finds 4
for Llama-3.1-8B in the paper's figure 5; heads of the demo model have 0.4 to 3."""

PROMPTS = 32
"""Prompts of each domain, where no number is given and nothing was recorded."""


def head_depths(option: str, typed: str) -> tuple[int, ...]:
    """Return depths in the order typed, which the heads are checked with. Raises InputError."""
    return tuple(integers(option, typed))


def agreements(option: str, typed: str) -> tuple[float, ...]:
    """Return shares in [0, 1], separated by commas. Raises InputError, SyntheticError."""
    found = tuple(numbers(option, typed))
    check_shares(found)
    return found


def qualities(option: str, typed: str) -> tuple[float, ...]:
    """Return qualities of gates, separated by commas. Raises InputError, SyntheticError."""
    found = tuple(numbers(option, typed))
    check_qualities(found)
    return found


def confidences(option: str, typed: str) -> tuple[float, ...]:
    """Return mean confidences, separated by commas. Raises InputError, SyntheticError."""
    found = tuple(numbers(option, typed))
    for mean in found:
        Beta.of(mean, CONCENTRATION)
    return found


def targets(option: str, typed: str) -> tuple[Target, ...]:
    """Return rates to fit heads to, from ``GAMMA:EARLY:REJECTED,...``. Raises SyntheticError."""
    try:
        return tuple(_target(part) for part in typed.split(","))
    except ValueError:
        raise SyntheticError(
            f"wanted {option} as GAMMA:EARLY:REJECTED between commas, like 0.6:0.93:0.24, "
            f"got {typed!r}"
        ) from None


def _target(typed: str) -> Target:
    """Read one triple; ``-`` stands for a rate that is not known."""
    gamma, early, rejected = typed.split(":")
    rates = [None if rate.strip() == "-" else float(rate) for rate in (early, rejected)]
    return Target(float(gamma), *rates)


_CORRELATION = number(low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """What heads output, as a few numbers: each None where the user leaves it out."""

    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            metavar="PROFILE",
            help="Take every number about the heads from this recorded profile.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
    ] = None
    domains: Annotated[
        list[str] | None,
        typer.Option(
            "--domain",
            metavar="NAME",
            help="Use only this domain of --like. May be repeated.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
    ] = None
    layers: Annotated[
        int | None,
        typer.Option(
            "--layers",
            help="Layers of the model.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        at_least(2),
    ] = None
    depths: Annotated[
        tuple[int, ...] | None,
        typer.Option(
            "--depths",
            metavar="DEPTHS",
            help="Depths of the heads, like 8,16,24.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        TextCheck(head_depths),
    ] = None
    agreement: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--agreement",
            metavar="SHARES",
            help="Share of the outputs at which each head's top token is the last layer's, like "
            "0.6,0.75,0.9; one number stands for all heads.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        TextCheck(agreements),
    ] = None
    confidence: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--confidence",
            metavar="SHARES",
            help="Mean confidence of each head. By default its agreement, as calibrated heads "
            "have it.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        TextCheck(confidences),
    ] = None
    confidence_right: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--confidence-right",
            metavar="SHARES",
            help="Mean confidence where a head is right. Needs --confidence-wrong.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        TextCheck(confidences),
    ] = None
    confidence_wrong: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--confidence-wrong",
            metavar="SHARES",
            help="Mean confidence where a head is wrong. Needs --confidence-right.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        TextCheck(confidences),
    ] = None
    concentration: Annotated[
        float | None,
        typer.Option(
            "--concentration",
            help="How close confidences lie to their mean: a + b of a Beta distribution. By "
            f"default {CONCENTRATION:g}.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        number(above=0),
    ] = None
    rates: Annotated[
        tuple[Target, ...] | None,
        typer.Option(
            "--rates",
            metavar="RATES",
            help="Fit what is not given to measured rates, written GAMMA:EARLY:REJECTED and "
            "separated by commas: at a gamma, the share of tested positions drafted early and the "
            "share of drafts rejected, like 0.6:0.93:0.24. A - stands for a rate that is not "
            "known.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        TextCheck(targets),
    ] = None
    gate_quality: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--gate-quality",
            metavar="SHARES",
            help="Give each head a gate: the share of pairs of a good exit and another output that "
            f"it orders right, in 0.5..1; one number stands for all. {MEASURED:g} was measured: "
            "asking at 30 % of the outputs found 84 to 88 % of the good exits, where 15 % are "
            "good. By default no gates, or those of --like.",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        TextCheck(qualities),
    ] = None
    cap: Cap = DEFAULT_CAP
    along_text: Annotated[
        float | None,
        typer.Option(
            "--along-text",
            help="Correlation of a head's outputs at one position and the next, in [0, 1).",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        number(low=0, below=1),
    ] = None
    agreement_across: Annotated[
        float | None,
        typer.Option(
            "--agreement-across",
            help="Correlation of the agreement of two heads a quarter of the stack apart, in "
            "[0, 1].",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        _CORRELATION,
    ] = None
    confidence_across: Annotated[
        float | None,
        typer.Option(
            "--confidence-across",
            help="Correlation of the rest of their confidence, in [0, 1].",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        _CORRELATION,
    ] = None
    ease: Annotated[
        float | None,
        typer.Option(
            "--ease",
            help="How much the confidence of a head follows how easy the token is, in [0, 1].",
            show_default=False,
            rich_help_panel=panels.HEADS,
        ),
        _CORRELATION,
    ] = None

    @property
    def correlations(self) -> Mapping[str, float]:
        """The correlations that were given, by their names in `HeadModel`."""
        given = zip(
            CORRELATIONS,
            (self.along_text, self.agreement_across, self.confidence_across, self.ease),
            strict=True,
        )
        return {name: value for name, value in given if value is not None}

    def __post_init__(self) -> None:
        if self.like is None:
            self._check_described()
        else:
            self._check_recorded()

    def _check_recorded(self) -> None:
        described = (
            self.layers,
            self.depths,
            self.agreement,
            self.confidence,
            self.confidence_right,
            self.confidence_wrong,
            self.concentration,
            self.rates,
        )
        if self.correlations or any(one is not None for one in described):
            raise SyntheticError(
                "--like takes every parameter from the recorded trace: leave the others out, or "
                "--like"
            )

    def _check_described(self) -> None:
        if self.domains:
            raise SyntheticError("--domain chooses among the domains of --like, which is not given")
        if self.layers is None or self.depths is None:
            raise SyntheticError(
                "wanted --layers, --depths and --agreement, like --layers 32 --depths 8,16,24 "
                "--agreement 0.6,0.75,0.9, or --like PROFILE"
            )


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How much text to draw; None where the user leaves it out."""

    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            "--prompt-tokens",
            help="Tokens of each prompt. By default as recorded, or 128.",
            show_default=False,
            rich_help_panel=panels.TEXT,
        ),
        at_least(1),
    ] = None
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            help="Output tokens of each prompt. By default as recorded, or 512.",
            show_default=False,
            rich_help_panel=panels.TEXT,
        ),
        at_least(2),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            help="Seed of what is drawn: the same seed gives the same text.",
            rich_help_panel=panels.TEXT,
        ),
        at_least(0),
    ] = 0


PromptsPerDomain = Annotated[
    int | None,
    typer.Option(
        "--prompts",
        help=f"Prompts of each domain. By default as many as --like holds, or {PROMPTS}.",
        show_default=False,
        rich_help_panel=panels.TEXT,
    ),
    at_least(1),
]

PromptsToDraw = Annotated[
    int,
    typer.Option(
        "--prompts",
        help="Prompts to draw, with the lengths of recorded ones where a profile is given.",
        rich_help_panel=panels.TEXT,
    ),
    at_least(1),
]
