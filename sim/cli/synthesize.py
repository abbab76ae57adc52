"""``adadecode-sim synthesize``: write a synthetic text, drawn from a description."""

from __future__ import annotations

from adadecode.sim.cli.described_heads import describe_heads, prompts_to_draw
from adadecode.sim.cli.interruption import left_in, on_interrupt
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json, NewProfile
from adadecode.sim.cli.options.synthetic import HeadOptions, PromptsPerDomain, TextOptions
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.tables.layout import console
from adadecode.sim.cli.tables.synthetic import drawn_tables, fit_table
from adadecode.sim.synthetic.synthetic_profile import write_synthetic


@takes_option_sets
def synthesize(
    *,
    out: NewProfile,
    options: HeadOptions,
    prompts: PromptsPerDomain = None,
    text: TextOptions,
    as_json: Json = False,
) -> None:
    """Write a synthetic text, drawn from a few rates or like a recorded one.

    It is a profile without latencies. Describe the heads by --layers, --depths and --agreement, or
    by --layers, --depths and --rates, or by --like PROFILE.
    """
    heads = describe_heads(options, seed=text.seed, by_domain=True)
    with on_interrupt(left_in(out)):
        profile, drawn = write_synthetic(
            out,
            heads.models,
            prompts_to_draw(heads, prompts, text),
            seed=text.seed,
            cap=options.cap,
            origin=heads.origin,
        )
    if as_json:
        print_json(
            {
                "path": str(profile.path),
                "rows": drawn.to_dict("records"),
                "models": {name: model.to_dict() for name, model in heads.models.items()},
                "origin": heads.origin,
            }
        )
        return
    if heads.fit is not None:
        console().print(fit_table(heads.fit))
    tokens = profile.prompts["n_output"].sum()
    title = f"{out}: {len(profile.prompts)} prompts, {tokens} output tokens"
    for part in drawn_tables(title, heads.models, drawn):
        console().print(part)
