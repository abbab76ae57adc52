"""``adadecode-sim predict``: what one design would give, on the recorded machine or on another one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options import (
    CapOption,
    DomainsOption,
    DtypeOption,
    FromOption,
    GammaOption,
    HeadDtypeOption,
    HeadsOption,
    JsonOption,
    LatencyArgument,
    MapOption,
    ModelOption,
    PolicyOption,
    ShortlistOption,
    ToOption,
    TraceOption,
    VerifyOption,
    design_of,
    form_of_options,
    print_json,
)
from adadecode.sim.cli.tables.heads import listed, marked
from adadecode.sim.core.design import DEFAULT_CAP, Policy
from adadecode.sim.core.parsing import parse_head_map
from adadecode.sim.prediction.predictor import Prediction, Predictor
from adadecode.sim.prediction.scenario import DATASHEET, Scenario, ScenarioOptions, find_scenario
from adadecode.sim.validation.intervals import Ends, corner_ends, measured_ends


def predict(
    latency: LatencyArgument,
    *,
    policy: PolicyOption = Policy.ADADECODE.value,
    gamma: GammaOption = "0.75",
    heads: HeadsOption = None,
    cap: CapOption = DEFAULT_CAP,
    verify: VerifyOption = True,
    domain: DomainsOption = None,
    trace: TraceOption = None,
    to: ToOption = None,
    source: FromOption = None,
    model: ModelOption = None,
    dtype: DtypeOption = None,
    mapping: MapOption = None,
    shortlist: ShortlistOption = None,
    head_dtype: HeadDtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict speed and speedup of one design."""
    options = ScenarioOptions(
        device=to,
        source=source,
        model=model,
        dtype=dtype,
        form=form_of_options(shortlist, head_dtype),
    )
    scenario = find_scenario(
        None if latency == DATASHEET else read_profile(latency),
        options,
        trace=None if trace is None else read_profile(trace),
        heads_at=None if mapping is None else parse_head_map(mapping),
        cap=cap,
    )
    predictor = Predictor(
        trace=scenario.trace, latency=scenario.latencies.middle, rejecting=scenario.rejecting
    )
    design = design_of(
        scenario.trace.depths, policy=policy, gamma=gamma, heads=heads, cap=cap, verify=verify
    )
    scenario.check_fits(design.placement)
    prompts = predictor.prompts(domain)
    prediction = predictor.predict(design, prompts)
    ends = (
        corner_ends(predictor.model, scenario.latencies.tables, design, prompts)
        if scenario.measured is None
        else measured_ends(scenario.measured, prediction)
    )
    if as_json:
        print_json(_told(prediction, ends, scenario))
    else:
        Console().print(prediction_table(prediction, ends, scenario))


def _told(prediction: Prediction, ends: Ends, scenario: Scenario) -> dict[str, Any]:
    """For programs."""
    return {
        **prediction.to_dict(),
        **asdict(ends),
        "device": scenario.latencies.device,
        "basis": scenario.latencies.basis,
        "model": scenario.model,
        "hypothetical": scenario.hypothetical,
        "notes": list(scenario.notes),
    }


def prediction_table(prediction: Prediction, ends: Ends, scenario: Scenario) -> Group:
    """A prediction for people, with what it rests on."""
    basis = {"measured": "", "carried": ", carried there", "datasheet": ", from its datasheet"}[
        scenario.latencies.basis
    ]
    words = f"{prediction.design.label} on {scenario.latencies.device}{basis}"
    table = Table(
        "what",
        "predicted",
        title=marked(words, hypothetical=scenario.hypothetical),
        title_justify="left",
    )
    rows = {
        "time per output token": f"{prediction.tpot_s * 1e3:.3f} ms"
        + _between(ends.tpot_s_low, ends.tpot_s_high, 1e3, "{:.3f}"),
        "tokens per second": f"{prediction.tokens_per_s:.1f}",
        "speedup over vanilla": f"{prediction.speedup:.2f} x"
        + _between(ends.speedup_low, ends.speedup_high, 1.0, "{:.2f}"),
        "time to first token": f"{prediction.ttft_s * 1e3:.1f} ms",
        "tokens per round": f"{prediction.tokens_per_round:.2f}",
        "early predicted, of tested positions": f"{prediction.early_rate:.1%}",
        "discarded, of drafts": f"{prediction.reject_rate:.1%}",
        "time resting on modelled branches": f"{prediction.modelled_share:.1%}",
        "error to expect from these": "not measured"
        if prediction.modelled_error is None
        else f"{prediction.modelled_error:.2%}",
        "prompts, tokens": f"{prediction.prompts}, {prediction.tokens}",
    }
    if prediction.texts_differ:
        rows["texts that differ from vanilla's"] = (
            f"{prediction.texts_differ} of {prediction.prompts}"
        )
    for what, value in rows.items():
        table.add_row(what, value)
    return Group(table, *listed(scenario.notes))


def _between(low: float | None, high: float | None, scale: float, form: str) -> str:
    if low is None or high is None:
        return ""
    return f" ({form.format(low * scale)} .. {form.format(high * scale)})"
