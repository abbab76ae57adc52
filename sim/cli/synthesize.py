"""The commands of ``adadecode-sim`` that need no recorded text: synthetic traces, and what agreement a speedup needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from adadecode.sim.cli.options import CapOption, JsonOption, path_of, print_json
from adadecode.sim.cli.synthetic_options import (
    CONCENTRATION,
    PROMPTS,
    Heads,
    HeadsAsked,
)
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.synthetic.head_model import CORRELATIONS
from adadecode.sim.synthetic.rate_fitting import RateFit
from adadecode.sim.synthetic.trace_generator import require_unused, write_synthetic

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


def _origin(made: Heads) -> dict[str, Any]:
    """Where the heads are from."""
    if made.recorded is not None:
        return {"like": made.recorded.name, "digest": made.recorded.manifest["digest"]}
    if made.fit is not None:
        return {"rates": made.fit.rows.to_dict("records"), "fitted": dict(made.fit.free)}
    return {"options": "given"}


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
