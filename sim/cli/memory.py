"""``adadecode-sim memory``: does a model with exit heads fit on a device?"""

from __future__ import annotations

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.memory import DeploymentOptions, Devices, Model
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.hardware.fit import fit


@takes_option_sets
def memory(
    model: Model, devices: Devices, *, run: DeploymentOptions, as_json: Json = False
) -> None:
    """Find whether a model with exit heads fits on a device.

    Says how many bytes each part takes, and what would make the model fit.
    """
    deployment = run.deployment(find_model(model))
    answers = [fit(deployment, find_device(name), run.usable) for name in devices]
    if as_json:
        print_json(
            {
                "model": deployment.shape.name,
                "answers": [answer.to_dict() for answer in answers],
            }
        )
        return
    from adadecode.profiles.catalog.recorded import recorded_format
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.memory import memory_tables

    for part in memory_tables(deployment, answers, recorded_in=recorded_format(model)):
        console().print(part)
