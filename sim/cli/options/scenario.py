"""Options that say whose text is replayed, on which layers, and on which device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.catalogue import LayersModel, SourceDevice, ToDevice
from adadecode.sim.cli.options.checks import Check, TextCheck
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.core.parsing import parse_head_map
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.memory import WEIGHT_BYTES
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.prediction.scenario import ScenarioOptions

DATASHEET = "datasheet"
"""In the place of a profile: predict from the device's datasheet, as nothing was measured."""


def read_latencies(typed: str) -> Profile | None:
    """Read the profile that latencies come from; None where they come from a datasheet.

    Raises:
        ProfileError: If it cannot be read.
    """
    return None if typed == DATASHEET else read_profile(typed)


ProfileDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="PROFILE", help="A directory that adadecode-profile wrote.", show_default=False
    ),
]

ProfileOrDatasheet = Annotated[
    str,
    typer.Argument(
        metavar="PROFILE",
        help="A directory that adadecode-profile or `adadecode-sim import` wrote; or the word "
        f"{DATASHEET}, to predict where nothing was measured (with --to and --trace).",
        show_default=False,
    ),
]

Domains = Annotated[
    list[str] | None,
    typer.Option(
        "--domain",
        metavar="NAME",
        help="Replay only prompts of this domain. May be repeated.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
]

TraceProfile = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="PROFILE",
        help="The profile whose text is replayed, where it is another one.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
]


def weight_format(_option: str, name: str) -> str:
    """Return the name of a number format of weights. Raises DeviceError."""
    Precision.of(name, "bf16")
    return name


WeightDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help=f"Keep the weights in another number format: {', '.join(WEIGHT_BYTES)}.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
    Check(weight_format),
]


def launch_regime(_option: str, name: str) -> str:
    """Return the name of a launch regime. Raises DeviceError."""
    return str(Regime.named(name))


LaunchRegime = Annotated[
    str | None,
    typer.Option(
        "--regime",
        metavar="REGIME",
        help="How kernels are started: eager (the host starts each, as Hugging Face does), graphs "
        "(the same kernels without the host) or engine (fewer, fused ones). By default as in "
        "PROFILE, and engine where nothing was measured.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
    Check(launch_regime),
]

HeadMap = Annotated[
    dict[int, int] | None,
    typer.Option(
        "--map",
        metavar="MAP",
        help="Where the heads of the text stand in another model: 3:8,7:16 puts the head "
        "recorded at depth 3 at depth 8, and the one at 7 at 16.",
        show_default=False,
        rich_help_panel=panels.RUN,
    ),
    TextCheck(lambda _option, typed: parse_head_map(typed)),
]


@dataclass(frozen=True, kw_only=True)
class ScenarioArguments:
    """What a design is predicted on."""

    domain: Domains = None
    trace: TraceProfile = None
    to: ToDevice = None
    source: SourceDevice = None
    model: LayersModel = None
    dtype: WeightDtype = None
    regime: LaunchRegime = None
    head_map: HeadMap = None

    def options(self, form: HeadForm | None = None) -> ScenarioOptions:
        """Return what to predict for, with heads of this form; None for the recorded one."""
        return ScenarioOptions(
            device=self.to,
            source=self.source,
            model=self.model,
            dtype=self.dtype,
            form=form,
            regime=self.regime,
        )

    def read_trace(self) -> Profile | None:
        """Read the profile whose text is replayed; None where it is that of the latencies."""
        return None if self.trace is None else read_profile(self.trace)
