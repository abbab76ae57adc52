"""``adadecode-sim acceptance``: the agreement that a speedup needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.described_heads import (
    DescribedHeads,
    describe_heads,
    prompts_to_draw,
    recorded_texts,
)
from adadecode.sim.cli.options.design import HeadDepths
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.required_agreement import CostOptions, Gammas, Speedup
from adadecode.sim.cli.options.synthetic import (
    PROMPTS,
    HeadOptions,
    PromptsToDraw,
    TextOptions,
)
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.tables.layout import console
from adadecode.sim.cli.tables.synthetic import fit_table, needed_table
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError
from adadecode.sim.synthetic.required_agreement import Needed, needed_agreement
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt


@takes_option_sets
def acceptance(
    *,
    speedup: Speedup,
    costs: CostOptions,
    gammas: Gammas = (0.75,),
    depths: HeadDepths = None,
    options: HeadOptions,
    prompts: PromptsToDraw = PROMPTS,
    text: TextOptions,
    as_json: Json = False,
) -> None:
    """Find the agreement of the heads that a speedup needs.

    The agreement at all depths is moved together until the simulator gives the speedup.
    """
    heads = describe_heads(options, seed=text.seed, by_domain=False)
    (model,) = heads.models.values()
    placement = model.depths if depths is None else depths
    designs = [Design.of(gamma=gamma, placement=placement, cap=options.cap) for gamma in gammas]
    timed = _timed(costs, heads)
    lengths = prompts_to_draw(
        heads, prompts, text, list(recorded_texts(timed).values()) if timed else ()
    )
    latency = _latencies(model, lengths, timed, costs, options.cap)
    found = needed_agreement(model, latency, designs, speedup, lengths, seed=text.seed)
    if as_json:
        unit = "layers" if timed is None else "s"
        print_json({**needed_dict(model, found, unit=unit), "origin": heads.origin})
        return
    if heads.fit is not None:
        console().print(fit_table(heads.fit))
    console().print(needed_table(model, found, placement))


def _timed(costs: CostOptions, heads: DescribedHeads) -> Profile | None:
    """Return the profile whose latencies are used; None where costs are given in layers."""
    if costs.latency is not None:
        return read_profile(costs.latency)
    return heads.recorded if costs.head_cost is None else None


def _latencies(
    model: HeadModel,
    prompts: Sequence[SyntheticPrompt],
    timed: Profile | None,
    costs: CostOptions,
    cap: int,
) -> LatencyTable:
    if timed is not None:
        if timed.n_layers != model.n_layers:
            raise SyntheticError(
                f"{timed.path} was timed on {timed.n_layers} layers, the heads are of "
                f"{model.n_layers}: give the same --layers"
            )
        return LatencyTable.from_samples(timed.latency, timed.n_layers)
    if costs.head_cost is None:
        raise SyntheticError(
            "wanted what a head costs: --head-cost 0.7 (in layers), or --latency PROFILE"
        )
    return uniform_latencies(
        model.n_layers,
        model.depths,
        head=costs.head_cost,
        verify=costs.verify_cost,
        max_tokens=cap + 1,
        max_context=max(one.n_prompt + one.n_output for one in prompts),
    )


def needed_dict(model: HeadModel, found: Needed, *, unit: str) -> dict[str, Any]:
    """Return what ``--json`` prints.

    Args:
        model: The heads as described.
        found: What was found.
        unit: Of the time per token: ``s`` for seconds, or ``layers``.
    """
    return {
        "speedup": found.wanted,
        "achievable": [found.lowest, found.highest],
        "depths": list(model.depths),
        "agreement": list(model.agreement),
        "now": _figures(found.now, unit),
        "shift": found.shift,
        "needed_agreement": None if found.model is None else list(found.model.agreement),
        "then": _figures(found.row, unit),
    }


def _figures(row: Mapping[str, Any] | None, unit: str) -> dict[str, Any] | None:
    """Return the figures of one design, its time per token named by its unit."""
    if row is None:
        return None
    return {f"tpot_{unit}" if name == "tpot_s" else name: figure for name, figure in row.items()}
