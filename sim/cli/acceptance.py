"""``adadecode-sim acceptance``: the agreement that a speedup needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from adadecode.profiles.errors import DesignError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.options import CapOption, HeadsOption, JsonOption, print_json
from adadecode.sim.cli.synthesize import (
    Agreement,
    AgreementAcross,
    AlongText,
    Concentration,
    Confidence,
    ConfidenceAcross,
    Depths,
    Domains,
    Ease,
    Layers,
    Like,
    PromptTokens,
    Rates,
    Right,
    Seed,
    Tokens,
    Wrong,
    _fit_table,
    _origin,
)
from adadecode.sim.cli.synthetic_options import (
    PROMPTS,
    HeadsAsked,
    recorded_texts,
)
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.core.parsing import integers, numbers
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.synthetic.head_model import CORRELATIONS, HeadModel, SyntheticError
from adadecode.sim.synthetic.required_agreement import Needed, needed_agreement
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt


def acceptance(
    speedup: Annotated[
        float,
        typer.Option(
            "--speedup", help="The speedup over vanilla that is wanted.", show_default=False
        ),
    ],
    latency: Annotated[
        Path | None,
        typer.Option(
            "--latency",
            metavar="PROFILE",
            help="Latencies of this profile; those of --like by default.",
            show_default=False,
        ),
    ] = None,
    head_cost: Annotated[
        float | None,
        typer.Option(
            "--head-cost",
            help="Or: what asking a head costs, in layers that all cost the same.",
            show_default=False,
        ),
    ] = None,
    verify_cost: Annotated[
        float | None,
        typer.Option(
            "--verify-cost",
            help="With --head-cost: a verification; the same by default.",
            show_default=False,
        ),
    ] = None,
    gammas: Annotated[
        str,
        typer.Option(
            "--gammas", help="One gamma for all heads, or several, of which the best is taken."
        ),
    ] = "0.75",
    heads: HeadsOption = None,
    like: Like = None,
    domain: Domains = None,
    layers: Layers = None,
    depths: Depths = None,
    agreement: Agreement = None,
    confidence: Confidence = None,
    confidence_right: Right = None,
    confidence_wrong: Wrong = None,
    concentration: Concentration = None,
    rates: Rates = None,
    cap: CapOption = DEFAULT_CAP,
    along_text: AlongText = None,
    agreement_across: AgreementAcross = None,
    confidence_across: ConfidenceAcross = None,
    ease: Ease = None,
    prompts: Annotated[
        int,
        typer.Option(
            "--prompts",
            min=1,
            help="Prompts to draw; as long as recorded ones where there are some.",
        ),
    ] = PROMPTS,
    prompt_tokens: PromptTokens = None,
    tokens: Tokens = None,
    seed: Seed = 0,
    *,
    as_json: JsonOption = False,
) -> None:
    """What agreement do the heads need for a speedup? All depths' agreement is moved together until the simulator gives it."""
    asked = HeadsAsked(
        like=like, domains=domain, layers=layers, depths=depths, agreement=agreement, confidence=confidence, right=confidence_right,
        wrong=confidence_wrong, concentration=concentration, rates=rates, cap=cap, prompts=prompts, prompt_tokens=prompt_tokens, tokens=tokens, seed=seed,
        correlations=dict(zip(CORRELATIONS, (along_text, agreement_across, confidence_across, ease), strict=True)),
    )  # fmt: skip
    made = asked.heads(apart=False)
    (model,) = made.models.values()
    placement = list(model.depths) if heads is None else integers("--heads", heads)
    designs = [
        Design.of(gamma=gamma, placement=placement, cap=cap)
        for gamma in numbers("--gammas", gammas)
    ]
    if not designs:
        raise DesignError(
            f"wanted a number or a list of numbers as --gammas, got {gammas!r}: try --gammas 0.75"
        )
    timed = (
        read_profile(latency)
        if latency is not None
        else made.recorded
        if head_cost is None
        else None
    )
    sizes = asked.sizes(made, list(recorded_texts(timed).values()) if timed else ())
    table = _latencies(model, sizes, timed, head_cost, verify_cost, cap)
    found = needed_agreement(model, table, designs, speedup, sizes, seed=seed)
    if as_json:
        print_json(
            {
                **needed_dict(model, found, unit="layers" if timed is None else "s"),
                "origin": _origin(made),
            }
        )
        return
    console = Console()
    if made.fit is not None:
        console.print(_fit_table(made.fit))
    console.print(_needed_table(model, found, placement))


def _latencies(
    model: HeadModel,
    sizes: Sequence[SyntheticPrompt],
    timed: Profile | None,
    head_cost: float | None,
    verify_cost: float | None,
    cap: int,
) -> LatencyTable:
    if timed is not None:
        if head_cost is not None or verify_cost is not None:
            raise SyntheticError(
                "--head-cost and --verify-cost stand for latencies: give them, or --latency"
            )
        if timed.n_layers != model.n_layers:
            raise SyntheticError(
                f"{timed.path} was timed on {timed.n_layers} layers, the heads are of {model.n_layers}: give the same --layers"
            )
        return LatencyTable.from_samples(timed.latency, timed.n_layers)
    if head_cost is None:
        raise SyntheticError(
            "wanted what a head costs: --head-cost 0.7 (in layers), or --latency PROFILE"
        )
    longest = max(one.n_prompt + one.n_output for one in sizes)
    return uniform_latencies(
        model.n_layers,
        model.depths,
        head=head_cost,
        verify=verify_cost,
        max_tokens=cap + 1,
        max_context=longest,
    )


def needed_dict(model: HeadModel, found: Needed, *, unit: str) -> dict[str, Any]:
    """For JSON. unit: of the time per token, seconds (s) or layers."""

    def told(row: dict[str, Any] | None) -> dict[str, Any] | None:
        return row and {
            f"tpot_{unit}" if name == "tpot_s" else name: value for name, value in row.items()
        }

    return {
        "speedup": found.wanted,
        "achievable": [found.lowest, found.highest],
        "depths": list(model.depths),
        "agreement": list(model.agreement),
        "now": told(found.now),
        "shift": found.shift,
        "needed_agreement": None if found.model is None else list(found.model.agreement),
        "then": told(found.row),
    }


def _needed_table(model: HeadModel, found: Needed, placement: Sequence[int]) -> Table:
    reach = f"agreement alone gives {found.lowest:.2f} x .. {found.highest:.2f} x"
    answer = f"{found.wanted:g} x needs" if found.model else f"{found.wanted:g} x cannot be had"
    table = Table(title=f"{answer}; {reach}", title_justify="left")
    for name in ("", "as given", *(["needed"] if found.model else [])):
        table.add_column(name, justify="left" if not name else "right")
    for depth in placement:
        place = model.depths.index(depth)
        needed = [f"{found.model.agreement[place]:.3f}"] if found.model else []
        table.add_row(f"agreement at depth {depth}", f"{model.agreement[place]:.3f}", *needed)
    rows = [row for row in (found.now, found.row) if row is not None]
    for what, key, form in (
        ("speedup", "speedup", "{:.3f} x"),
        ("early predicted, of tested positions", "early_rate", "{:.1%}"),
        ("discarded, of drafts", "reject_rate", "{:.1%}"),
        ("tokens per round", "tokens_per_round", "{:.2f}"),
        ("design", "design", "{}"),
    ):
        table.add_row(what, *(form.format(row[key]) for row in rows))
    return table
