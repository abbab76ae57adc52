"""``adadecode-sim transfer``: the seconds of a decoder layer on another device."""

from __future__ import annotations

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.transfer import LatencyProfile, TransferOptions
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.tables.layout import console
from adadecode.sim.cli.tables.transfer import transfer_table
from adadecode.sim.hardware.layer_transfer import check_same_layers, layer_rows, summary
from adadecode.sim.hardware.precision import Precision, rate_notes
from adadecode.sim.hardware.provenance import Provenance


@takes_option_sets
def transfer(path: LatencyProfile, *, options: TransferOptions, as_json: Json = False) -> None:
    """Carry the measured time of a decoder layer to another device.

    Gives an interval for each batch, and the error where a profile of that device is there to
    compare with.
    """
    profile, target = read_profile(path), find_device(options.to)
    measured = None if options.against is None else read_profile(options.against)
    if measured is not None:
        check_same_layers(profile, measured, target, options.model)
    rows = layer_rows(
        profile,
        target,
        measured,
        options.tokens,
        source=options.source,
        model=options.model,
        dtype=options.dtype,
    )
    timed = {row["n_tokens"] for row in rows}
    origin = Provenance.of(profile, options.source)
    result = {
        "from": origin.require_device().name,
        "to": target.name,
        **summary(rows),
        "not_measured": [n for n in options.tokens if n not in timed],
        "launch_bound": [row["n_tokens"] for row in rows if row["launch_bound"]],
        "rows": rows,
    }
    if as_json:
        print_json(result)
    else:
        activations = origin.require_precision().activations
        if options.dtype is not None:
            activations = Precision.of(options.dtype, activations).activations
        console().print(transfer_table(result, rate_notes(target, activations)))
