"""``adadecode-sim models``: the models that can be named."""

from __future__ import annotations

from typing import Any

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import shapes
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.print_json import print_json


@takes_option_sets
def models(*, as_json: Json = False) -> None:
    """List the models of the catalogue.

    Every name can stand for a model, as in --model. For another model, the path of its config.json
    stands in its place.
    """
    if as_json:
        print_json({"models": [_row(shape) for shape in shapes().values()]})
    else:
        print_models()


def print_models() -> None:
    """Print the catalogue as a table."""
    from adadecode.sim.cli.tables.layout import console, notes, table

    listing = table("name", "parameters", "layers", "hidden", "vocabulary", "positions", names=True)
    for shape in shapes().values():
        listing.add_row(
            shape.name,
            f"{shape.total_parameters / 1e9:.2f} B",
            f"{shape.n_layers}",
            f"{shape.hidden_size:,}",
            f"{shape.vocab_size:,}",
            "-" if shape.max_positions is None else f"{shape.max_positions:,}",
        )
    console().print(listing)
    for line in notes(["another model: give the path of its config.json in place of a name"]):
        console().print(line)


def _row(shape: ModelShape) -> dict[str, Any]:
    """Return the shape of a model, for ``--json``."""
    return {**shape.record(), "total_parameters": shape.total_parameters}
