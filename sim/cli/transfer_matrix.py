"""``adadecode-sim transfer-matrix``: layers carried between all devices of some kernel tables."""

from __future__ import annotations

from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.transfer_matrix import (
    Batches,
    CarriedBy,
    Engine,
    Models,
    Rule,
    Tables,
)
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.say import say
from adadecode.sim.hardware import transfer_matrix as layers
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary


@takes_option_sets
def transfer_matrix(
    folder: Tables,
    *,
    models: Models,
    n_tokens: Batches = (1, 2, 4, 8, 16, 32, 64),
    rule: CarriedBy = Rule.LAW,
    backend: Engine = "vllm",
    as_json: Json = False,
) -> None:
    """Carry layers between all devices of some kernel tables, and compare.

    A layer is the sum of its four products in BF16. A device whose tables the law was fitted on is
    predicted by the law as fitted without it.
    """
    found = layers.transfer_matrix(
        KernelLibrary.of(folder), models, n_tokens, backend=backend, rule=rule.value
    )
    for line in found.left_out:
        say(f"left out: {line}", stderr=True)
    if as_json:
        print_json(found.to_dict())
        return
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.transfer_matrix import matrix_table

    console().print(matrix_table(found, rule.value))
