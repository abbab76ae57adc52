"""``adadecode-train``: train exit heads for a causal LM, on a file of prompts."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from adadecode.engine.cli.derived_options import takes_options
from adadecode.engine.cli.output_options import HeadsDirectory
from adadecode.engine.demo import DEMO
from adadecode.engine.loading.prompt_source import PromptSource
from adadecode.engine.runtime.choices import MODELS, Dtype
from adadecode.engine.runtime.option_fields import option, settle_values
from adadecode.engine.training.options import TrainingOptions
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import lock_folder
from adadecode.sim.cli.interruption import InterruptibleCommand, on_interrupt
from adadecode.sim.cli.plain_console import PlainConsole
from adadecode.sim.cli.progress import showing_stages
from adadecode.sim.cli.version import version_option
from adadecode.sim.core.shown_text import shown

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from adadecode.engine.loading.conversation import Conversation
    from adadecode.engine.loading.prompts import Prompt


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

MODEL = "Model"


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """Which model the heads are trained for. Each field is an option of the command.

    Raises:
        InputError: No model is named, or two are.
    """

    demo: bool = option(
        "Use the bundled demo model, instead of --model.", default=False, panel=MODEL
    )
    model: str | None = option(MODELS, panel=MODEL)
    device: str = option("auto, cpu, cuda or cuda:N.", default="auto", panel=MODEL)
    dtype: Dtype = option(
        "The format of weights and activations; 'auto' is the checkpoint's own on a GPU and "
        "float32 on a CPU.",
        default=Dtype.AUTO,
        panel=MODEL,
    )
    trust_remote_code: bool = option(
        "Run code that comes with the model.", default=False, panel=MODEL
    )

    def __post_init__(self) -> None:
        settle_values(self)
        if self.demo and self.model:
            raise InputError(
                f"--demo is the model that comes with this program, --model {self.model} another: "
                "not both, leave one of them out"
            )
        if not (self.demo or self.model):
            raise InputError("wanted a model: either --model NAME or --demo")

    @property
    def name(self) -> str:
        """What the model is loaded by."""
        return self.model or DEMO.model

    @property
    def called(self) -> str:
        """What people call the model."""
        return self.model or DEMO.called


Estimate = Annotated[
    str | None,
    typer.Option(
        "--estimate",
        metavar="DEVICE",
        help="Print how long each stage takes at least on this device of the catalogue, by bytes "
        "and FLOPs alone, and train nothing. The model may be a name of the catalogue.",
    ),
]


@app.command(cls=InterruptibleCommand)
@takes_options
def train(
    *,
    out: HeadsDirectory,
    estimate: Estimate = None,
    _version: Annotated[bool, version_option("adadecode-train")] = False,
    named: TrainedModel,
    source: PromptSource,
    options: TrainingOptions,
) -> None:
    """Train exit heads for a causal LM on its own greedy continuations of prompts.

    It can be stopped at any time: the same command goes on where it was.
    """
    if not source.prompts:
        raise InputError("wanted prompts to train on: --prompts FILE, JSON or text with one a line")
    if estimate is not None:
        notice = partial(_say, PlainConsole(stderr=True))
        prompts = source.read(source.prompts, notice).prompts
        print_estimate(estimate, named, prompts, options)
        return
    command = shlex.join(["adadecode-train", *sys.argv[1:]])
    kept = f"what was finished is kept, and the same command goes on where it stopped: {command}"
    with on_interrupt(kept), lock_folder(out):  # before torch is loaded, which takes processors
        from adadecode.engine.cli.tables import print_heads
        from adadecode.engine.cli.training_estimate import in_words
        from adadecode.engine.training.pipeline import holding, train_heads

        console = PlainConsole(stderr=True)
        notice = partial(_say, console)
        found = source.read(source.prompts, notice).prompts
        check_depths(named, options)
        with holding(out), showing_stages(console) as show:
            texts = _settled(found, named, source, notice)
            model, tokenizer = _load(named)
            heads = train_heads(
                model,
                tokenizer,
                texts,
                out=out,
                options=options,
                progress=show,
                announce=lambda found: notice(in_words(found)),
            )
    print_heads(PlainConsole(), heads, out)


def print_estimate(
    device: str,
    named: TrainedModel,
    prompts: Sequence[Prompt | Conversation],
    options: TrainingOptions,
) -> None:
    """Print how long training takes on a device of the catalogue."""
    from adadecode.engine.cli.training_estimate import catalogue_table

    PlainConsole().print(catalogue_table(named.name, device, named.dtype, prompts, options))


def _say(console: PlainConsole, sentence: str) -> None:
    console.print(shown(sentence))


def _settled(
    found: Sequence[Prompt | Conversation],
    named: TrainedModel,
    source: PromptSource,
    notice: Callable[[str], None],
) -> list[Prompt]:
    """Return the prompts as texts, before the model itself is loaded."""
    from adadecode.engine.loading.chat_template import settle_prompts
    from adadecode.engine.loading.model_loader import load_tokenizer

    tokenizer = load_tokenizer(named.name, trust_remote_code=named.trust_remote_code)
    return settle_prompts(found, tokenizer, source, notice, model=named.called)


def check_depths(named: TrainedModel, options: TrainingOptions) -> None:
    """Check the depths of the heads before the model is loaded, by its configuration alone.

    A configuration that cannot be read is no error here: loading the model explains it.

    Raises:
        HeadsError: A depth lies outside the model.
    """
    from adadecode.engine.loading.model_loader import layers_of

    n_layers = layers_of(named.name, trust_remote_code=named.trust_remote_code)
    if n_layers is not None:
        options.depths_in(n_layers)


def _load(named: TrainedModel) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model and its tokenizer."""
    from adadecode.engine.loading.model_loader import load_model

    wide = named.demo and named.dtype == Dtype.AUTO
    return load_model(
        named.name,
        Dtype.FLOAT32 if wide else named.dtype,
        named.device,
        trust_remote_code=named.trust_remote_code,
    )
