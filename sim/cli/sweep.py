"""``adadecode-sim sweep``: every design of a space on several devices, and which is best."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from adadecode.profiles.errors import DeviceError, ProfileError
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.cap_hint import explaining_cap
from adadecode.sim.cli.options.catalogue import LayersModel, SourceDevice
from adadecode.sim.cli.options.form import HeadFormOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json, SweepDirectory
from adadecode.sim.cli.options.scenario import (
    DATASHEET,
    HeadMap,
    LaunchRegime,
    ProfileOrDatasheet,
    TraceProfile,
    WeightDtype,
    read_latencies,
)
from adadecode.sim.cli.options.sweep import Domain, SearchOptions, SpaceOptions
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.progress import showing_progress
from adadecode.sim.cli.say import say
from adadecode.sim.prediction.scenario import ScenarioOptions
from adadecode.sim.sweep.design_sweep import sweep as sweep_designs
from adadecode.sim.sweep.plan import RECORDED


@takes_option_sets
def sweep(
    path: ProfileOrDatasheet,
    *,
    out: SweepDirectory,
    space: SpaceOptions,
    heads: HeadFormOptions,
    domain: Domain = None,
    trace: TraceProfile = None,
    source: SourceDevice = None,
    model: LayersModel = None,
    dtype: WeightDtype = None,
    regime: LaunchRegime = None,
    head_map: HeadMap = None,
    search: SearchOptions,
    as_json: Json = False,
) -> None:
    """Predict a whole design space and find the best design on each device.

    Says how sure that is, and whether the design is proven to be the best of the space.
    """
    space.check_forms(heads.form())
    if path == DATASHEET:
        _check_datasheet(trace, search.devices)
    options = ScenarioOptions(
        source=source, model=model, dtype=dtype, form=heads.form(), regime=regime
    )
    profile = read_latencies(path)
    measured = profile if search.devices == (RECORDED,) else None
    with (
        explaining_cap(measured, max(space.caps), "--caps"),
        showing_progress("designs") as progress,
    ):
        done = sweep_designs(
            profile,
            space.space(),
            devices=search.devices,
            objectives=search.objectives,
            options=options,
            trace=None if trace is None else read_profile(trace),
            heads_at=head_map,
            domain=domain,
            out=out,
            method=search.method,
            trials=search.trials,
            scheduler=search.scheduler,
            threads=search.threads,
            progress=progress,
            note=partial(say, stderr=True),
        )
    if as_json:
        print_json(done.about)
        return
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.sweep import sweep_tables

    for part in sweep_tables(done):
        console().print(part)
    say(f"{done.path}: next, adadecode-sim report {done.path} --out report.html")


def _check_datasheet(trace: Path | None, devices: Sequence[str]) -> None:
    """Check that there is a text and a device where nothing was measured.

    Raises:
        ProfileError: If no text is named.
        DeviceError: If the recorded device is meant, which there is not.
    """
    if trace is None:
        raise ProfileError(
            "a datasheet holds no text to replay: give a profile that adadecode-profile recorded "
            "as --trace"
        )
    if RECORDED in devices:
        raise DeviceError(
            "a datasheet is of a device: name one or several with --devices, like --devices "
            "h100-sxm,l4"
        )
