"""``adadecode-load``: serve many users with the model of a profile, in real time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.interruption import InterruptibleCommand
from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import Check, TextCheck, at_least
from adadecode.sim.cli.options.design import HeadDepths, cap, gammas, gates
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import new_directory
from adadecode.sim.cli.options.scenario import ProfileDirectory
from adadecode.sim.cli.plain_console import PlainConsole
from adadecode.sim.cli.progress import showing_stages
from adadecode.sim.cli.version import version_option
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.batching.batcher import DEFAULT_MAX_BATCHED_TOKENS, DEFAULT_MAX_NUM_SEQS
from adadecode.sim.serving.batching.block_pool import DEFAULT_BLOCK_SIZE
from adadecode.sim.serving.batching.segment_order import ORDERS

if TYPE_CHECKING:
    from adadecode.sim.serving.batching.recorded_load import EngineSettings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

VANILLA = Design.of("vanilla")


def _order(option: str, name: str) -> str:
    """Return the name of an order that is known. Raises InputError."""
    if name not in ORDERS:
        raise InputError(f"wanted {option} as one of {', '.join(ORDERS)}, got {name!r}")
    return name


NewProfile = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIRECTORY",
        help="The directory of the new profile: all of PROFILE, and the load.",
        show_default=False,
        rich_help_panel=panels.OUTPUT,
    ),
    TextCheck(new_directory),
]


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What requests come, and how often."""

    arrivals: Annotated[
        str,
        typer.Option(
            "--arrivals",
            metavar="SPEC|FILE",
            help="When requests arrive, like poisson:5,count=200; or a file of requests. Their "
            "prompts are those of the profile; output=32 bounds their texts.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
    ]
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="Seed of arrivals and prompts; 0 where nobody says.",
            show_default=False,
            rich_help_panel=panels.LOAD,
        ),
        at_least(0),
    ] = None
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats",
            help="How often each design serves the load; two tell by how much runs differ.",
            rich_help_panel=panels.LOAD,
        ),
        at_least(1),
    ] = 2


@dataclass(frozen=True, kw_only=True)
class ServedDesign:
    """The design that is served beside vanilla."""

    gammas: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--gamma",
            metavar="GAMMAS",
            help="Confidence that a draft must exceed: one number for all heads, or one per head. "
            "By default the design that the profile measured to be the fastest.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(gammas),
    ] = None
    gates: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            "--gate",
            metavar="GATES",
            help="Score that the gate before a head must exceed; by default no gate is asked. "
            "Needs --gamma or --heads.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        TextCheck(gates),
    ] = None
    heads: HeadDepths = None
    cap: Annotated[
        int | None,
        typer.Option(
            "--cap",
            help=f"Most tokens to draft before a verification, {DEFAULT_CAP} where nobody says. "
            "Needs --gamma or --heads.",
            show_default=False,
            rich_help_panel=panels.DESIGN,
        ),
        Check(cap),
    ] = None

    def designs(self, profile: Profile) -> list[Design]:
        """Return vanilla and the design. Raises DesignError, InputError, ProfileError."""
        from adadecode.engine.heads.arguments import require_depths
        from adadecode.engine.profiling.load_recording import fastest_design

        if self.gammas is None and self.heads is None:
            others = {"--gate": self.gates, "--cap": self.cap}
            if given := [option for option, value in others.items() if value is not None]:
                raise InputError(
                    f"wanted --gamma or --heads beside {' and '.join(given)}, got neither, so that "
                    "the design would be the fastest one of the profile: give one of them"
                )
            return [VANILLA, fastest_design(profile)]
        thresholds = self.gammas or (0.75,)
        gates = self.gates or (0.0,)
        design = Design.of(
            "adadecode",
            gamma=thresholds[0] if len(thresholds) == 1 else thresholds,
            placement=profile.depths if self.heads is None else self.heads,
            cap=DEFAULT_CAP if self.cap is None else self.cap,
            gate=gates[0] if len(gates) == 1 else gates,
        )
        require_depths(design.placement, profile.depths)
        design.boundaries(profile.n_layers)
        return [VANILLA, design]


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the batched engine is set."""

    max_num_seqs: Annotated[
        int,
        typer.Option(
            "--max-num-seqs", help="Texts that run at once.", rich_help_panel=panels.SERVER
        ),
        at_least(1),
    ] = DEFAULT_MAX_NUM_SEQS
    kv_blocks: Annotated[
        int | None,
        typer.Option(
            "--kv-blocks",
            metavar="N",
            help="Blocks of keys and values. By default enough for all texts that run at once.",
            show_default=False,
            rich_help_panel=panels.SERVER,
        ),
        at_least(1),
    ] = None
    block_size: Annotated[
        int,
        typer.Option("--block-size", help="Positions of a block.", rich_help_panel=panels.SERVER),
        at_least(1),
    ] = DEFAULT_BLOCK_SIZE
    max_batched_tokens: Annotated[
        int,
        typer.Option(
            "--max-batched-tokens", help="Positions of a step.", rich_help_panel=panels.SERVER
        ),
        at_least(1),
    ] = DEFAULT_MAX_BATCHED_TOKENS
    order: Annotated[
        str,
        typer.Option(
            "--order",
            metavar="RULE",
            help=f"Which segment runs next: {', '.join(ORDERS)}.",
            rich_help_panel=panels.SERVER,
        ),
        Check(_order),
    ] = "lockstep"

    def settings(self, design: Design, positions: int) -> EngineSettings:
        """Return the settings of an engine.

        Args:
            design: How texts are decoded.
            positions: Positions of the longest text.
        """
        from adadecode.sim.serving.batching.recorded_load import EngineSettings

        enough = self.max_num_seqs * -(-positions // self.block_size)
        return EngineSettings(
            design=design,
            kv_blocks=enough if self.kv_blocks is None else self.kv_blocks,
            block_size=self.block_size,
            max_num_seqs=self.max_num_seqs,
            max_batched_tokens=self.max_batched_tokens,
            order=self.order,
        )


@app.command(cls=InterruptibleCommand)
@takes_option_sets
def load(
    path: ProfileDirectory,
    *,
    out: NewProfile,
    _version: Annotated[bool, version_option("adadecode-load")] = False,
    requests: LoadOptions,
    design: ServedDesign,
    engine: EngineOptions,
) -> None:
    """Serve many users with the model of a profile, in real time, and keep what was measured.

    Requests are submitted to the batched engine when they arrive, with the prompts of the profile,
    once with vanilla and once with AdaDecode, in turn. The new profile holds every step and the
    times of every request; `adadecode-sim validate` holds the simulator against them.
    """
    profile = read_profile(path)
    from adadecode.engine.profiling.load_recording import check_servable, load_again, record_load
    from adadecode.engine.profiling.planned_load import plan_load

    source = check_servable(profile).source
    budgets = profile.prompts["max_new_tokens"].tolist()
    planned = plan_load(requests.arrivals, budgets, seed=requests.seed)
    longest = max((profile.prompts["n_prompt"] + profile.prompts["max_new_tokens"]).tolist())
    settings = [engine.settings(one, longest) for one in design.designs(profile)]
    lengths = profile.prompts["n_prompt"].tolist()
    for one in settings:
        one.check([(lengths[each.prompt], each.max_new_tokens) for each in planned.requests])
    console = PlainConsole(stderr=True)

    def notice(sentence: str) -> None:
        console.print(shown(sentence))

    from adadecode.engine.runtime.environment import set_threads

    set_threads(source.threads)
    served = load_again(profile, notice)
    notice(
        f"serving {len(planned.requests):,} requests, which arrive within {planned.seconds:,.0f} "
        f"s, {requests.repeats} times with each of {len(settings)} designs"
    )
    with showing_stages(console) as show:
        done = record_load(
            served,
            planned,
            settings,
            out=out,
            repeats=requests.repeats,
            progress=show,
            notice=notice,
        )
    _print(done)


def _print(profile: Profile) -> None:
    from adadecode.sim.cli.tables.loads import load_table
    from adadecode.sim.serving.batching.recorded_load import load_runs

    PlainConsole().print(load_table(load_runs(profile)))
