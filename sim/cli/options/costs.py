"""Options of ``adadecode-sim account``: the model to count, and the device that takes energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.catalogue import (
    DEVICE_NAMES,
    MODEL_NAMES,
    SourceDevice,
    device,
    model,
)
from adadecode.sim.cli.options.checks import Check
from adadecode.sim.cli.options.scenario import (
    HeadMap,
    LaunchRegime,
    TraceProfile,
    weight_format,
)
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.memory import WEIGHT_BYTES
from adadecode.sim.prediction.scenario import ScenarioOptions


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """The model whose work is counted, and the device that it is priced on."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help=f"Count the work of another model: {MODEL_NAMES}. By default the recorded one.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
        Check(model),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="DTYPE",
            help=f"Number format of the weights: {', '.join(WEIGHT_BYTES)}. By default as "
            "recorded, and bf16 for another model.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
        Check(weight_format),
    ] = None
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DEVICE",
            help=f"Also give the joules of a token on this device: {DEVICE_NAMES}.",
            show_default=False,
            rich_help_panel=panels.RUN,
        ),
        Check(device),
    ] = None
    source: SourceDevice = None
    trace: TraceProfile = None
    regime: LaunchRegime = None
    head_map: HeadMap = None

    def options(self, form: HeadForm | None) -> ScenarioOptions:
        """Return whose work is counted, with heads of this form; None for the recorded one."""
        return ScenarioOptions(
            device=self.to,
            source=self.source,
            model=self.model,
            dtype=self.dtype,
            form=form,
            regime=self.regime,
        )
