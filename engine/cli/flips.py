"""``adadecode-flips``: how often another batch changes a token of this model, on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from adadecode.engine.cli.derived_options import takes_options
from adadecode.engine.cli.output_options import FlipReportFile, Json
from adadecode.engine.loading.prompt_source import PANEL as PROMPTS
from adadecode.engine.loading.prompt_source import PromptSource
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import check_designs
from adadecode.engine.runtime.choices import MODELS, Dtype, GraphMode, Numerics, PackedWeights
from adadecode.engine.runtime.notations import INTEGERS, PLACEMENTS, THRESHOLDS, WORDS
from adadecode.engine.runtime.option_fields import check_counts, option
from adadecode.profiles.atomic_write import write_json
from adadecode.profiles.errors import InputError
from adadecode.sim.cli.interruption import InterruptibleCommand
from adadecode.sim.cli.plain_console import PlainConsole
from adadecode.sim.cli.progress import ShowStages, showing_stages
from adadecode.sim.cli.version import version_option
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.shown_text import shown

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

MODEL, DESIGNS, RUNNING = "Model", "Designs to run", "How layers are run"


@dataclass(frozen=True, kw_only=True)
class FlipOptions(PromptSource):
    """Which texts are compared, and how the model runs. Each field is an option of the command.

    Raises:
        InputError: An option is none of its choices, or out of range.
        DesignError: A threshold, placement or cap makes no design.
    """

    demo: bool = option(
        "Use the bundled demo model, its heads and its prompts.", default=False, panel=MODEL
    )
    model: str | None = option(MODELS, panel=MODEL)
    heads: str | None = option(
        "The model's exit heads: a folder that adadecode-train wrote, or identity:4,8 to use the "
        "model's own LM head at those depths.",
        panel=MODEL,
    )
    trust_remote_code: bool = option(
        "Run code that comes with the model.", default=False, panel=MODEL
    )
    domains: tuple[str, ...] | None = option(
        "Only the prompts of these domains, separated by commas.",
        shown="all",
        notation=WORDS,
        panel=PROMPTS,
    )
    limit: int = option("At most this many prompts of each domain.", default=8, panel=PROMPTS)
    max_new_tokens: int = option("Tokens to generate for each prompt.", default=96, panel=PROMPTS)
    gammas: tuple[float, ...] = option(
        "Confidence thresholds to run, separated by commas.",
        default=(0.3, 0.75),
        notation=THRESHOLDS,
        panel=DESIGNS,
    )
    gates: tuple[float, ...] = option(
        "Gate thresholds to run with every gamma, separated by commas; 0 asks each head without "
        "its gate.",
        default=(0.0,),
        notation=THRESHOLDS,
        panel=DESIGNS,
    )
    placements: tuple[tuple[int, ...], ...] | None = option(
        "Head placements to run, separated by semicolons, like 4;8;4,8.",
        shown="three, from a quarter of the depth",
        notation=PLACEMENTS,
        panel=DESIGNS,
    )
    cap: int = option("Most drafts in a round.", default=DEFAULT_CAP, panel=DESIGNS)
    fixed_drafts: int = option(
        "Drafts in a round of the policy 'fixed', which runs at each single head; 0 leaves it out.",
        default=3,
        panel=DESIGNS,
    )
    batches: tuple[int, ...] = option(
        "Vanilla's texts are also teacher-forced in passes of this many rows, separated by commas.",
        default=(2, 4, 6),
        notation=INTEGERS,
        panel=DESIGNS,
    )
    device: str = option("auto, cpu, cuda or cuda:N.", default="auto", panel=RUNNING)
    dtype: Dtype = option(
        "The format of weights and activations; 'auto' is the checkpoint's own on a GPU and "
        "float32 on a CPU.",
        default=Dtype.BFLOAT16,
        panel=RUNNING,
    )
    weights: PackedWeights | None = option(
        "Pack the layers' matrices with torchao or bitsandbytes.",
        shown="as --dtype",
        panel=RUNNING,
    )
    threads: int = option("CPU threads of the model.", default=1, panel=RUNNING)
    graphs: GraphMode = option("How layers are run.", default=GraphMode.EAGER, panel=RUNNING)
    numerics: Numerics = option(
        "With 'canonical', all designs agree bit for bit in any dtype, at a cost in time.",
        default=Numerics.NATIVE,
        panel=RUNNING,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "limit", "max_new_tokens", "threads")
        if self.graphs == GraphMode.AUTO:
            wanted = ", ".join(mode for mode in GraphMode if mode != GraphMode.AUTO)
            raise InputError(f"wanted --graphs as one of {wanted}, got 'auto'")
        check_designs(self.gammas, self.cap, self.fixed_drafts, self.gates)

    def check_named(self) -> None:
        """Check that a model is named, with its heads and prompts.

        Raises:
            InputError: Something is missing, or two models are named.
        """
        ModelSource(
            demo=self.demo, model=self.model, heads=self.heads, prompts=self.prompts
        ).check_named()


@app.command(cls=InterruptibleCommand)
@takes_options
def flips(
    *,
    out: FlipReportFile = None,
    as_json: Json = False,
    _version: Annotated[bool, version_option("adadecode-flips")] = False,
    options: FlipOptions,
) -> None:
    """Count the tokens that another batch size changes.

    Every design decodes, and each text is compared with the model's own choice of every token,
    one at a time. The exit code is 1 where a token differs by more than a near-tie.
    """
    options.check_named()
    from adadecode.engine.cli.tables import flip_tables

    console = PlainConsole(stderr=True)
    with showing_stages(console) as show:
        report = _flip_report(options, show, lambda sentence: console.print(shown(sentence)))
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        PlainConsole().print(*flip_tables(report))
    if out is not None:
        write_json(out, report)
    if any(row["beyond"] for row in [*report["designs"], *report["batches"]]):
        raise typer.Exit(1)


def _flip_report(
    options: FlipOptions, show: ShowStages, notice: Callable[[str], None]
) -> dict[str, Any]:
    """Load the model and compare its texts."""
    from adadecode.engine.decoding.decoder import AdaDecoder
    from adadecode.engine.demo import DEMO, bundle
    from adadecode.engine.evaluation.token_flips import check_batches, flip_report
    from adadecode.engine.loading.chat_template import settle_prompts
    from adadecode.engine.loading.model_loader import (
        find_dtype,
        layers_of,
        load_model,
        load_tokenizer,
    )
    from adadecode.engine.loading.prompts import encode
    from adadecode.engine.profiling.execution_options import check_running
    from adadecode.engine.profiling.plan import choose_prompts, make_designs
    from adadecode.engine.profiling.setup import check_named_depths, read_heads
    from adadecode.engine.runtime.environment import set_threads, torch_device

    check_batches(options.batches)
    check_running(options.numerics, options.graphs, options.device)
    find_dtype(options.dtype, torch_device(options.device))
    set_threads(options.threads)
    with_it = bundle(options.model) or DEMO  # else heads and prompts are named
    available = options.read(with_it.prompts, notice).prompts
    chosen = choose_prompts(available, options.domains, options.limit)
    name, heads = options.model or with_it.model, options.heads or str(with_it.heads)
    trusted = options.trust_remote_code
    n_layers = layers_of(name, trust_remote_code=trusted)
    check_named_depths(heads, options.placements, n_layers)
    tokenizer = load_tokenizer(name, trust_remote_code=trusted)
    called = options.model or with_it.called
    prompts = settle_prompts(chosen, tokenizer, options, notice, model=called)
    model, _ = load_model(
        name,
        options.dtype,
        options.device,
        trust_remote_code=trusted,
        weights=options.weights,
        tokenizer=tokenizer,
    )
    decoder = AdaDecoder(
        model,
        read_heads(heads, model),
        numerics=str(options.numerics),
        graphs=str(options.graphs),
    )
    designs = make_designs(
        decoder,
        placements=options.placements,
        gammas=options.gammas,
        gates=options.gates,
        cap=options.cap,
        fixed_drafts=options.fixed_drafts,
    )
    ids = [encode(tokenizer, prompt)[0].tolist() for prompt in prompts]
    found = flip_report(decoder, ids, designs[1:], options.max_new_tokens, options.batches, show)
    weights = None if options.weights is None else str(options.weights)
    return found | {
        "weights": weights,
        "graphs": str(options.graphs),
        "device": str(decoder.parts.device),
    }
