"""Record a profile from Python: `record`, and `record_scripted` with another recording's text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.baselines.factory import DraftModel, make_baselines
from adadecode.engine.baselines.generate import GenerateBaseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.model_loader import enough_memory
from adadecode.engine.loading.prompts import Prompt, as_prompts
from adadecode.engine.profiling.execution_options import (
    check_shared_heads,
    choose_graphs,
    smaller_settings,
)
from adadecode.engine.profiling.head_forms import form_heads
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import DEFAULTS, RecordingOptions
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.plan import RecordingPlan, choose_prompts, make_plan
from adadecode.engine.profiling.recorder import Recorder, record_all
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.profiling.scripted_recorder import ScriptedRecorder
from adadecode.engine.profiling.setup import LoadedScript, Notice, silent
from adadecode.engine.runtime import fingerprints
from adadecode.engine.runtime.choices import GraphMode
from adadecode.engine.runtime.distributed import decide_together, is_first
from adadecode.engine.runtime.given_options import GivenOptions
from adadecode.engine.runtime.timing_lock import timing_alone
from adadecode.profiles.folder_lock import lock_folder
from adadecode.profiles.output_path import check_output_directory
from adadecode.profiles.store import Profile

IN_PYTHON = "given in Python"
"""What the manifest calls heads that were no folder."""

Progress = Callable[[int, int], None]
"""Called with how many pieces are finished, and how many there are."""


def record(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Prompt],
    *,
    heads: ExitHeads,
    out: str | Path,
    options: RecordingOptions = DEFAULTS,
    resume: bool = False,
    progress: Progress | None = None,
    notice: Notice = silent,
    source: ModelSource | None = None,
    draft: DraftModel | None = None,
) -> Profile:
    """Record what AdaDecode does with a model, on this machine, on these prompts.

    Every piece is kept as soon as it is finished. A recording that was stopped is finished by the
    same call with ``resume=True``.

    Args:
        model: A causal LM, where it is to run.
        tokenizer: The model's own.
        prompts: Texts to continue. A `Prompt` also names its domain and its own length.
        heads: The model's exit heads.
        out: The directory of the profile: missing, empty, or with ``resume`` an unfinished one.
        options: What to record, and how often.
        resume: Whether to go on with the recording in ``out``, which must have the same options.
        progress: Called with how many pieces are finished, and how many there are.
        notice: Called with sentences that a user should read.
        source: What the model, its heads and its prompts are called, for the manifest.
        draft: The second model of the baseline ``draft``.

    Returns:
        The finished profile.

    Raises:
        InputError: The options do not fit the model or the prompts, ``out`` holds something else
            or cannot be written into, or memory runs out.
        HeadsError: A placement has a depth without a head, or no heads can have the form.
        DesignError: A placement is impossible in this model.
        UnsupportedModel: The model cannot be run layer by layer.
    """
    source = named_source(model) if source is None else source
    options = settle_graphs(model, options)
    available = as_prompts(prompts)
    chosen = choose_prompts(available, options.domains, options.limit)
    with writing_into(out) as folder, _timing(notice):
        decoder = _decoder(model, heads, options)
        decoder.heads = form_heads(
            decoder.heads,
            model,
            tokenizer,
            chosen,
            options=options,
            shortlist_from=source.shortlist_from,
            field=source.prompt_field,
            notice=notice,
        )
        check_shared_heads(decoder.heads)
        plan = make_plan(decoder, tokenizer, available, options, source=source)
        if draft is not None:
            plan.settings["draft_digest"] = fingerprints.of_weights(draft.model)
        baselines = _baselines(options, decoder, plan, tokenizer=tokenizer, draft=draft)
        store = _store(folder, plan, resume=resume, notice=notice)
        notice(_announcement(plan, baselines, folder))
        with enough_memory(_advice(source, options)):
            told = None if notice is silent else notice
            return record_all(Recorder(decoder, plan, store, baselines, notice=told), progress)


def record_scripted(
    loaded: LoadedScript,
    *,
    out: str | Path,
    source: ModelSource,
    options: RecordingOptions = DEFAULTS,
    resume: bool = False,
    progress: Progress | None = None,
    notice: Notice = silent,
) -> Profile:
    """Record runs of a model that follow another recording's decisions.

    Args:
        loaded: The model with its heads, and the script.
        out: See `record`.
        source: What the model and the script are called, for the manifest.
        options: See `record`.
        resume: See `record`.
        progress: See `record`.
        notice: See `record`.

    Raises:
        InputError: See `record`.
        HeadsError: See `record`.
        DesignError: See `record`.
    """
    options, script = settle_graphs(loaded.model, options), loaded.script
    with writing_into(out) as folder, _timing(notice):
        decoder = _decoder(loaded.model, loaded.heads, options)
        decoder.heads = form_heads(
            decoder.heads, loaded.model, None, script.prompts, options=options, notice=notice
        )
        plan = make_plan(decoder, None, script.prompts, options, source=source, script=script)
        baselines = _baselines(options, decoder, plan, scripted=True)
        store = _store(folder, plan, resume=resume, notice=notice)
        notice(_announcement(plan, baselines, folder))
        told = None if notice is silent else notice
        recorder = ScriptedRecorder(
            decoder, plan, store, script, loaded.shape, baselines, notice=told
        )
        with enough_memory(_advice(source, options)):
            return record_all(recorder, progress)


def settle_graphs(model: PreTrainedModel, options: RecordingOptions) -> RecordingOptions:
    """Return the options with ``graphs`` decided where it is left to the recorder."""
    if options.graphs != GraphMode.AUTO:
        return options
    spread = len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1
    graphs, _ = choose_graphs(model.device.type, options.numerics, spread=spread)
    return replace(options, graphs=graphs)


def named_source(model: PreTrainedModel) -> ModelSource:
    """Return what a model that was given as an object is called in a manifest."""
    return ModelSource(
        model=getattr(model.config, "name_or_path", None) or type(model).__name__,
        heads=IN_PYTHON,
        device=str(model.device),
    )


@contextmanager
def writing_into(out: str | Path) -> Iterator[Path]:
    """Hold the directory of a recording, which the first of several processes alone touches.

    Raises:
        InputError: It cannot be written into, or another process writes into it.
    """
    folder = Path(out)
    with ExitStack() as stack:
        decide_together(lambda: check_output_directory(out))
        decide_together(lambda: stack.enter_context(lock_folder(folder)))
        yield folder


def _decoder(model: PreTrainedModel, heads: ExitHeads, options: RecordingOptions) -> AdaDecoder:
    check_shared_heads(heads)
    with enough_memory(
        "use a device with more memory (--device), a 16-bit --dtype, or --graphs eager"
    ):
        return AdaDecoder(model, heads, graphs=str(options.graphs), numerics=str(options.numerics))


def _baselines(
    options: RecordingOptions,
    decoder: AdaDecoder,
    plan: RecordingPlan,
    *,
    tokenizer: Any = None,
    draft: DraftModel | None = None,
    scripted: bool = False,
) -> tuple[GenerateBaseline, ...]:
    if options.baselines is None:
        return ()
    with enough_memory("leave --baselines out, or use a device with more memory"):
        return make_baselines(
            ",".join(options.baselines),
            decoder,
            longest=plan.longest,
            draft=draft,
            tokenizer=tokenizer,
            scripted=scripted,
        )


def _timing(notice: Notice) -> AbstractContextManager[None]:
    """Hold the machine for timing; the first of several processes does it for all."""
    return timing_alone(notice) if is_first() else nullcontext()


def _store(folder: Path, plan: RecordingPlan, *, resume: bool, notice: Notice) -> PieceStore:
    """Begin or go on with the recording in a folder, and say which pieces were damaged."""
    store = PieceStore.open(folder, plan.settings, resume=resume)
    if store.damaged:
        notice(f"damaged, and made again: {', '.join(store.damaged)}")
    return store


def _announcement(plan: RecordingPlan, baselines: Sequence[GenerateBaseline], folder: Path) -> str:
    also = f" and {len(baselines)} baselines" if baselines else ""
    return (
        f"recording {len(plan.designs)} designs{also} on {len(plan.prompts)} prompts, "
        f"{plan.repeats} times, into {folder}"
    )


def _advice(source: ModelSource, options: RecordingOptions) -> Callable[[], str]:
    return lambda: (
        "what was finished is kept; free memory and go on with --resume, "
        f"or record anew with {smaller_settings(source, options)}"
    )


def begun_request(
    out: Path,
    source: GivenOptions[ModelSource],
    options: GivenOptions[RecordingOptions],
    *,
    resume: bool,
) -> RecordingRequest:
    """Return what to record: as given, else as the recording was begun, else the defaults.

    Args:
        out: The directory of the recording.
        source: What was given of the model and its place.
        options: What was given of the other options.
        resume: Whether the recording in ``out`` goes on.

    Raises:
        InputError: ``out`` cannot be recorded into, or holds a recording with other options.
    """
    store = PieceStore(out)
    if not resume:
        decide_together(store.check_new)
        return RecordingRequest(source=source.build(), options=options.build())
    begun = decide_together(lambda: PieceStore.settings(out))
    before = RecordingRequest.from_settings(begun)
    request = before.changed(source, options)
    if request.options.graphs == GraphMode.AUTO:
        request = request.with_graphs(before.options.graphs)
    store.check_same(before.to_settings(), request.to_settings())
    return request
