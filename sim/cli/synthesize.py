"""The commands of ``adadecode-sim`` that need no recorded text: synthetic traces, and what agreement a speedup needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from adadecode.profiles.errors import DesignError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.options import (
    CapOption,
    HeadsOption,
    JsonOption,
    numbers,
    path_of,
    print_json,
)
from adadecode.sim.cli.synthetic_options import (
    CONCENTRATION,
    PROMPTS,
    Heads,
    HeadsAsked,
    recorded_texts,
    whole_numbers,
)
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.synthetic.head_model import CORRELATIONS, HeadModel, SyntheticError
from adadecode.sim.synthetic.rate_fitting import RateFit
from adadecode.sim.synthetic.required_agreement import Needed, needed_agreement
from adadecode.sim.synthetic.trace_generator import Prompt, require_unused, write_synthetic

Like = Annotated[
    Path | None,
    typer.Option(
        "--like",
        metavar="PROFILE",
        help="Take every parameter from this recorded trace.",
        show_default=False,
    ),
]
Domains = Annotated[
    list[str] | None,
    typer.Option(
        "--domain", help="Of --like: only this domain; may be repeated.", show_default=False
    ),
]
Layers = Annotated[
    int | None, typer.Option("--layers", help="Layers of the model.", show_default=False)
]
Depths = Annotated[
    str | None,
    typer.Option("--depths", help="Depths of the heads, like 8,16,24.", show_default=False),
]
Agreement = Annotated[
    str | None,
    typer.Option(
        "--agreement",
        help="How often each head's top-1 token is the last layer's, like 0.6,0.75,0.9.",
        show_default=False,
    ),
]
Confidence = Annotated[
    str | None,
    typer.Option(
        "--confidence",
        help="Mean confidence of each head; its agreement by default (calibrated heads).",
        show_default=False,
    ),
]
Right = Annotated[
    str | None,
    typer.Option(
        "--confidence-right",
        help="Mean confidence where right; with --confidence-wrong.",
        show_default=False,
    ),
]
Wrong = Annotated[
    str | None,
    typer.Option(
        "--confidence-wrong",
        help="Mean confidence where wrong; with --confidence-right.",
        show_default=False,
    ),
]
Concentration = Annotated[
    float | None,
    typer.Option(
        "--concentration",
        help=f"How alike confidences are, a + b of their Beta distribution; {CONCENTRATION:g} by default.",
        show_default=False,
    ),
]
Rates = Annotated[
    str | None,
    typer.Option(
        "--rates",
        help="GAMMA:EARLY:REJECTED between commas, like 0.6:0.93:0.24,0.8:0.76:0.09: fit whatever is not given to these. A - for a rate not known.",
        show_default=False,
    ),
]
AlongText = Annotated[
    float | None,
    typer.Option(
        "--along-text", help="Correlation of one output and the next.", show_default=False
    ),
]
AgreementAcross = Annotated[
    float | None,
    typer.Option(
        "--agreement-across",
        help="Correlation of agreement of two heads a quarter of the stack apart.",
        show_default=False,
    ),
]
ConfidenceAcross = Annotated[
    float | None,
    typer.Option(
        "--confidence-across",
        help="The same of what is left of their confidence.",
        show_default=False,
    ),
]
Ease = Annotated[
    float | None,
    typer.Option(
        "--ease", help="How far confidence follows how easy a token is.", show_default=False
    ),
]
Prompts = Annotated[
    int | None,
    typer.Option(
        "--prompts",
        min=1,
        help=f"Prompts, of each domain; {PROMPTS}, or as many as --like holds.",
        show_default=False,
    ),
]
PromptTokens = Annotated[
    int | None,
    typer.Option(
        "--prompt-tokens",
        min=1,
        help="Tokens of each prompt; as recorded, or 128.",
        show_default=False,
    ),
]
Tokens = Annotated[
    int | None,
    typer.Option(
        "--tokens", min=2, help="Outputs of each prompt; as recorded, or 512.", show_default=False
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed, the same trace.")]


def synthesize(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIRECTORY",
            parser=path_of,
            help="Directory of the new profile.",
            show_default=False,
        ),
    ],
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
    prompts: Prompts = None,
    prompt_tokens: PromptTokens = None,
    tokens: Tokens = None,
    seed: Seed = 0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write a synthetic trace: a profile without latencies, drawn from a few rates or after a recorded one."""
    require_unused(out)
    asked = HeadsAsked(
        like=like, domains=domain, layers=layers, depths=depths, agreement=agreement, confidence=confidence, right=confidence_right,
        wrong=confidence_wrong, concentration=concentration, rates=rates, cap=cap, prompts=prompts, prompt_tokens=prompt_tokens, tokens=tokens, seed=seed,
        correlations=dict(zip(CORRELATIONS, (along_text, agreement_across, confidence_across, ease), strict=True)),
    )  # fmt: skip
    made = asked.heads(apart=True)
    origin = _origin(made)
    profile, shown = write_synthetic(
        out, made.models, asked.sizes(made), seed=seed, cap=cap, origin=origin
    )
    if as_json:
        models = {name: model.to_dict() for name, model in made.models.items()}
        print_json(
            {
                "path": str(profile.path),
                "rows": shown.to_dict("records"),
                "models": models,
                "origin": origin,
            }
        )
        return
    console = Console()
    if made.fit is not None:
        console.print(_fit_table(made.fit))
    console.print(
        *_drawn_tables(
            f"{out}: {len(profile.prompts)} prompts, {profile.prompts['n_output'].sum()} outputs",
            made,
            shown,
        )
    )


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
    placement = list(model.depths) if heads is None else whole_numbers("--heads", heads)
    designs = [
        Design.of(gamma=gamma, placement=placement, cap=cap)
        for gamma in numbers("--gammas", gammas, float)
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


def _origin(made: Heads) -> dict[str, Any]:
    """Where the heads are from."""
    if made.recorded is not None:
        return {"like": made.recorded.name, "digest": made.recorded.manifest["digest"]}
    if made.fit is not None:
        return {"rates": made.fit.rows.to_dict("records"), "fitted": dict(made.fit.free)}
    return {"options": "given"}


def _latencies(
    model: HeadModel,
    sizes: Sequence[Prompt],
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


def _drawn_tables(title: str, made: Heads, shown: pd.DataFrame) -> list[Table]:
    """What was asked and what was drawn, by head; and the correlations."""
    figures = list(dict.fromkeys(shown["what"]))
    table = Table(title=f"{title}; asked / drawn", title_justify="left")
    for name in ("domain", "depth", *figures):
        table.add_column(name, justify="left" if name == "domain" else "right")
    for (domain, depth), part in shown.groupby(["domain", "depth"], sort=False):
        rows = {row["what"]: row for row in part.to_dict("records")}
        cells = (
            f"{row['asked']:.3f} / {row['got']:.3f}{'' if row['within'] else ' *'}"
            if (row := rows.get(what))
            else ""
            for what in figures
        )
        table.add_row(str(domain), str(depth), *cells)
    if not shown["within"].all():
        table.caption = (
            "* further off than four standard errors of so much text: draw more, or another seed"
        )
    ties = Table(title="correlations", title_justify="left")
    for name in ("domain", *CORRELATIONS):
        ties.add_column(name.replace("_", " "), justify="left" if name == "domain" else "right")
    for domain, model in made.models.items():
        ties.add_row(domain, *(f"{getattr(model, name):.2f}" for name in CORRELATIONS))
    return [table, ties]


def _fit_table(fit: RateFit) -> Table:
    table = Table(title=str(fit), title_justify="left")
    for name in ("gamma", "rate", "asked", "got", "residual"):
        table.add_column(name, justify="left" if name == "rate" else "right")
    for row in fit.rows.to_dict("records"):
        shares = (f"{row[key]:.3f}" for key in ("asked", "got"))
        table.add_row(
            f"{row['gamma']:g}",
            row["what"],
            *shares,
            f"{row['residual']:+.3f}" if row["informative"] else "always so",
        )
    return table
