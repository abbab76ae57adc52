"""``adadecode-profile``: record what AdaDecode does with a model, on this machine."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from adadecode.engine.cli.derived_options import takes_options
from adadecode.engine.cli.output_options import ProfileDirectory
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.runtime.choices import GraphMode
from adadecode.engine.runtime.given_options import GivenOptions
from adadecode.engine.runtime.torchrun import launched
from adadecode.profiles.folder_lock import lock_folder
from adadecode.sim.cli.interruption import INTERRUPTED, InterruptibleCommand
from adadecode.sim.cli.plain_console import PlainConsole
from adadecode.sim.cli.progress import showing_stages
from adadecode.sim.cli.version import version_option
from adadecode.sim.core.shown_text import shown

if TYPE_CHECKING:
    from adadecode.engine.profiling.request import RecordingRequest
    from adadecode.profiles.store import Profile
    from adadecode.sim.cli.plain_console import PlainConsole
from adadecode.sim.cli.progress import ShowStages

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Finish the recording that was begun in --out.")
]


@app.command(cls=InterruptibleCommand)
@takes_options
def profile(
    *,
    out: ProfileDirectory,
    resume: ResumeOption = False,
    _version: Annotated[bool, version_option("adadecode-profile")] = False,
    source: GivenOptions[ModelSource],
    options: GivenOptions[RecordingOptions],
) -> None:
    """Record a profile: latencies in place, exit and accept traces, and measured runs.

    It can be stopped at any time, and goes on with --resume.

    With several GPUs, use --device-map in one process. Or start a process for each GPU, which
    share the model by its own tp_plan (tensor parallelism):

    torchrun --nproc-per-node N --no-python adadecode-profile ...
    """
    # Already while torch is loaded: that alone would disturb a recording that runs in the folder.
    with lock_folder(out) if launched() == 1 else nullcontext():
        _profile(out, source, options, resume=resume)


def _profile(
    out: Path,
    source: GivenOptions[ModelSource],
    options: GivenOptions[RecordingOptions],
    *,
    resume: bool,
) -> None:
    """Record what is given, or go on with what was, and print what was measured."""
    # Imported here, so that --help does not wait for torch.
    from adadecode.engine.cli.tables import print_recording
    from adadecode.engine.profiling.piece_store import PieceStore
    from adadecode.engine.profiling.recording import begun_request, writing_into
    from adadecode.engine.runtime.distributed import command, decide_together, is_first, join, leave
    from adadecode.engine.runtime.environment import set_threads

    join(source.build().device)
    console = PlainConsole(stderr=True, quiet=not is_first())
    started = time.monotonic()
    try:
        with writing_into(out):
            if resume and decide_together(PieceStore(out).killed_at_the_end):
                console.print(
                    f"the recording in {out} was whole; what it no longer needs was left, "
                    "and is removed"
                )
                return
            request, reason = settled(begun_request(out, source, options, resume=resume))
            set_threads(request.source.threads)
            request.check()
            with showing_stages(console) as show:
                done = _record(request, out, reason, resume=resume, console=console, show=show)
    except KeyboardInterrupt:
        store = PieceStore(out)
        sentence = "nothing was recorded yet; run the same command again"
        if store.has_begun():
            sentence = (
                f"{store.n_finished()} finished pieces are kept. "
                f"Go on with: {command('adadecode-profile')} --out {out} --resume"
            )
        if console.quiet:  # the first process says it for all
            raise typer.Exit(INTERRUPTED) from None
        raise KeyboardInterrupt(sentence) from None
    leave()
    print_recording(
        PlainConsole(quiet=console.quiet), done, out, seconds=time.monotonic() - started
    )


def _record(
    request: RecordingRequest,
    out: Path,
    reason: str,
    *,
    resume: bool,
    console: Console,
    show: ShowStages,
) -> Profile:
    """Load what a request names, say how its layers are run, and record it."""
    from adadecode.engine.profiling.recording import record, record_scripted
    from adadecode.engine.profiling.setup import load_named, load_scripted

    def notice(sentence: str) -> None:
        console.print(shown(sentence))

    def progress(done: int, count: int) -> None:
        show("recording", done, count)

    if request.source.scripted is not None:
        script = load_scripted(request, notice)
        if reason:
            notice(reason)
        return record_scripted(
            script,
            out=out,
            source=request.source,
            options=request.options,
            resume=resume,
            progress=progress,
            notice=notice,
        )
    loaded = load_named(request, notice)
    if reason:
        notice(reason)
    return record(
        loaded.model,
        loaded.tokenizer,
        loaded.prompts,
        heads=loaded.heads,
        out=out,
        options=request.options,
        resume=resume,
        progress=progress,
        notice=notice,
        source=request.source,
        draft=loaded.draft,
    )


def settled(request: RecordingRequest) -> tuple[RecordingRequest, str]:
    """Return the request with ``graphs`` decided, and in a sentence why; empty where it was."""
    from adadecode.engine.profiling.execution_options import choose_graphs
    from adadecode.engine.runtime.environment import torch_device

    if request.options.graphs != GraphMode.AUTO:
        return request, ""
    source = request.source
    graphs, reason = choose_graphs(
        torch_device(source.device).type,
        request.options.numerics,
        spread=source.device_map is not None,
    )
    return request.with_graphs(graphs), f"layers are run with --graphs {graphs}: {reason}"
