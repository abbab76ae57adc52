"""`ModelSource`: which model, heads and prompts a command loads, and where it puts them."""

from __future__ import annotations

from dataclasses import dataclass

from adadecode.engine.demo import bundle
from adadecode.engine.loading.prompt_source import PromptSource
from adadecode.engine.runtime.choices import MODELS, Dtype, PackedWeights
from adadecode.engine.runtime.notations import HEAD_MAP
from adadecode.engine.runtime.option_fields import check_counts, option
from adadecode.profiles.errors import InputError

MODEL, SCRIPTED, PLACE, HEADS = "Model", "Decisions of another recording", "Device", "Heads"


@dataclass(frozen=True, kw_only=True)
class ModelSource(PromptSource):
    """Which model, heads and prompts a recording loads, and where the model runs.

    Each field is an option of ``adadecode-profile``, whose ``--help`` describes it. A recording
    made from Python is given these as objects, and keeps only what they are called.

    Raises:
        InputError: An option is none of its choices, or out of range.
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
    shortlist_from: str | None = option(
        "Where the frequent tokens of shortlists are counted: a profile (its outputs), or a file "
        "of texts. Prompts of this recording are skipped there.",
        shown="the heads' training texts",
        panel=HEADS,
    )
    scripted: str | None = option(
        "Take exits, accepts and tokens from this profile; all work is still done, and timed.",
        panel=SCRIPTED,
    )
    shape: str | None = option(
        "With --scripted: a model of this shape with random weights, like llama-3.1-8b, or a "
        "config.json.",
        panel=SCRIPTED,
    )
    layers: int | None = option("Use only this many layers of the --shape.", panel=SCRIPTED)
    mapping: tuple[tuple[int, int], ...] | None = option(
        "At which depths of this model the heads of the --scripted profile stand, like 3:6,7:14.",
        shown="at their own depths",
        flag="--map",
        notation=HEAD_MAP,
        panel=SCRIPTED,
    )
    device: str = option("auto, cpu, cuda or cuda:N.", default="auto", panel=PLACE)
    device_map: str | None = option(
        "Spread the --model over several GPUs: auto, balanced, sequential, or a JSON file of "
        "modules and devices.",
        shown="one device",
        panel=PLACE,
    )
    dtype: Dtype = option(
        "The format of weights and activations; 'auto' is the checkpoint's own on a GPU and "
        "float32 on a CPU.",
        default=Dtype.FLOAT32,
        panel=PLACE,
    )
    weights: PackedWeights | None = option(
        "Pack the layers' matrices with torchao or bitsandbytes.", shown="as --dtype", panel=PLACE
    )
    threads: int = option("CPU threads of the model.", default=1, panel=PLACE)
    draft_model: str | None = option(
        "The second model of the baseline 'draft', named as --model is.",
        panel="Baselines",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "threads")

    def check_named(self) -> None:
        """Check that exactly one model is named, with its heads and prompts.

        Raises:
            InputError: None is, more than one is, or something is missing.
        """
        named_once(demo=self.demo, model=self.model, shape=self.shape)
        if not (self.demo or self.model or self.shape or self.scripted):
            raise InputError(
                "name a model with --model (and its --heads and --prompts), "
                "or use the bundled one with --demo"
            )
        if not self.model or bundle(self.model):
            return
        if not self.heads:
            raise InputError(
                "wanted the model's exit heads: --heads FOLDER from adadecode-train, "
                "or --heads identity:4,8 for its own LM head at those depths"
            )
        if not self.prompts:
            raise InputError("wanted prompts to run: --prompts FILE, JSON or text with one a line")


def named_once(*, demo: bool, model: str | None, shape: str | None = None) -> None:
    """Check that at most one of --demo, --model and --shape is given.

    Raises:
        InputError: More than one is.
    """
    named = [
        *(["--demo"] if demo else []),
        *([f"--model {model}"] if model else []),
        *([f"--shape {shape}"] if shape else []),
    ]
    if len(named) > 1:
        raise InputError(
            f"{' and '.join(named)} each name a model to run: not both, leave one of them out"
        )
