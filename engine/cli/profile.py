"""``adadecode-profile``: record what AdaDecode does with a model, on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from adadecode.engine.cli.derived_options import takes_options
from adadecode.engine.cli.progress import shown_progress
from adadecode.engine.cli.version import VersionOption
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.runtime.choices import GraphMode
from adadecode.profiles.output_path import check_output_directory

if TYPE_CHECKING:
    from adadecode.engine.cli.progress import Report
    from adadecode.engine.profiling.request import RecordingRequest
    from adadecode.profiles.store import Profile

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _path(text: str) -> Path:
    return check_output_directory(text)


OutOption = Annotated[
    Path,
    typer.Option("--out", parser=_path, metavar="DIRECTORY", help="The directory of the profile."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Finish the recording that was begun in --out.")
]


@app.command()
@takes_options(ModelSource, RecordingOptions)
def profile(
    out: OutOption, *, resume: ResumeOption = False, version: VersionOption = False, **given: Any
) -> None:
    """Record a profile: latencies in place, exit and accept traces, and measured runs.

    It can be stopped at any time, and goes on with --resume.

    With several GPUs, use --device-map in one process. Or start a process for each GPU, which
    share the model by its own tp_plan (tensor parallelism):
    torchrun --nproc-per-node N --no-python adadecode-profile ...
    """
    # Imported here, so that --help does not wait for torch.
    from adadecode.engine.cli.tables import print_recording
    from adadecode.engine.profiling.piece_store import PieceStore
    from adadecode.engine.profiling.recording import begun_request
    from adadecode.engine.runtime.distributed import command, decide_together, is_first, join, leave
    from adadecode.engine.runtime.environment import set_threads

    join(str(given.get("device", "auto")))
    console = Console(stderr=True, quiet=not is_first())
    if resume and decide_together(PieceStore(out).killed_at_the_end):
        console.print(
            f"the recording in {out} was whole; what it no longer needs was left, and is removed"
        )
        return
    request = settled(begun_request(out, given, resume=resume), console)
    set_threads(request.source.threads)
    request.check()
    started = time.monotonic()
    try:
        with shown_progress(console) as report:
            done = _record(request, out, resume=resume, console=console, report=report)
    except KeyboardInterrupt:
        store = PieceStore(out)
        sentence = "stopped; nothing was recorded yet: run the same command again"
        if store.has_begun():
            sentence = (
                f"stopped; {store.n_finished()} finished pieces are kept. "
                f"Go on with: {command('adadecode-profile')} --out {out} --resume"
            )
        console.print(sentence, soft_wrap=True, highlight=False)
        raise typer.Exit(130) from None
    leave()
    print_recording(Console(quiet=console.quiet), done, out, seconds=time.monotonic() - started)


def _record(
    request: RecordingRequest, out: Path, *, resume: bool, console: Console, report: Report
) -> Profile:
    """Load what a request names, and record it."""
    from adadecode.engine.profiling.recording import record, record_scripted
    from adadecode.engine.profiling.setup import load_named, load_scripted

    def notice(sentence: str) -> None:
        console.print(sentence, highlight=False)

    def progress(done: int, count: int) -> None:
        report("recording", done, count)

    if request.source.scripted is not None:
        return record_scripted(
            load_scripted(request, notice),
            out=out,
            source=request.source,
            options=request.options,
            resume=resume,
            progress=progress,
            notice=notice,
        )
    loaded = load_named(request, notice)
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


def settled(request: RecordingRequest, console: Console) -> RecordingRequest:
    """Return the request with ``graphs`` decided where it is left open, and print why."""
    from adadecode.engine.profiling.execution_options import choose_graphs
    from adadecode.engine.runtime.environment import torch_device

    if request.options.graphs != GraphMode.AUTO:
        return request
    source = request.source
    graphs, reason = choose_graphs(
        torch_device(source.device).type,
        request.options.numerics,
        spread=source.device_map is not None,
    )
    console.print(f"layers are run with --graphs {graphs}: {reason}")
    return request.with_graphs(graphs)
