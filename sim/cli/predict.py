"""``adadecode-sim predict``: what one design would give, on the recorded machine or another one."""

from __future__ import annotations

from adadecode.sim.cli.cap_hint import explaining_cap
from adadecode.sim.cli.options.design import AnyDesignOptions
from adadecode.sim.cli.options.form import HeadFormOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.scenario import (
    ProfileOrDatasheet,
    ScenarioArguments,
    read_latencies,
)
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.prediction.scenario import find_scenario
from adadecode.sim.validation.predictions import Predictions


@takes_option_sets
def predict(
    path: ProfileOrDatasheet,
    *,
    design: AnyDesignOptions,
    on: ScenarioArguments,
    heads: HeadFormOptions,
    as_json: Json = False,
) -> None:
    """Predict the speed and the speedup of one design."""
    profile = read_latencies(path)
    with explaining_cap(None if on.to else profile, design.cap):
        scenario = find_scenario(
            profile,
            on.options(heads.form()),
            trace=on.read_trace(),
            heads_at=on.head_map,
            cap=design.cap,
        )
        chosen = design.design(scenario.trace.depths)
        (prediction,) = Predictions.of(scenario, chosen, on.domain)
    if as_json:
        print_json(prediction.to_json())
        return
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.prediction import prediction_table

    latencies = scenario.latencies
    of_kernels = latencies.basis == "measured" and latencies.has_ends
    console().print(prediction_table(prediction, latencies.rate_notes, of_kernels=of_kernels))
