"""A recording that was stopped, and goes on: its settings and its finished pieces."""

from __future__ import annotations

from pathlib import Path

from scripts.fuzz.interrupted import until_opened
from scripts.fuzz.reader import Reader
from scripts.fuzz.readers.heads import tiny_heads
from scripts.fuzz.readers.tiny_model import tiny_model
from scripts.fuzz.seals import seal_recording

SLOWEST_S = 30.0
"""Seconds of the longest piece of work; a piece that is damaged is timed again."""

TIMED = ["seconds", "prefill_s", "decode_s", "energy_j"]


def _record(*, resume: bool) -> str:
    from adadecode.engine.profiling.options import RecordingOptions
    from adadecode.engine.profiling.recording import record

    model, tokenizer = tiny_model()
    done = record(
        model,
        tokenizer,
        ["w5 w6 w7", "w10 w11"],
        heads=tiny_heads(),
        out="profile",
        resume=resume,
        options=RecordingOptions(
            max_new_tokens=5,
            gammas=(0.02,),
            placements=((2, 4),),
            cap=2,
            fixed_drafts=0,
            repeats=1,
            samples=1,
            contexts=(3, 9),
        ),
    )
    times = [*done.latency["seconds"], *done.runs["decode_s"], *done.runs["prefill_s"]]
    frames = (done.latency, done.prompts, done.trace, done.branches, done.runs, done.rounds)
    return f"{0 < min(times) <= max(times) < SLOWEST_S}\n" + "".join(
        frame.drop(columns=[name for name in TIMED if name in frame]).to_csv() for frame in frames
    )


def _resume_as_command() -> str:
    """Return the request that ``adadecode-profile --resume`` finds, as text."""
    from adadecode.engine.profiling.piece_store import PieceStore
    from adadecode.engine.profiling.request import RecordingRequest

    request = RecordingRequest.from_settings(PieceStore.settings(Path("profile")))
    return repr(request)


RECORDING = Reader(
    name="recording, resumed",
    build=lambda: until_opened("manifest.json", lambda: _record(resume=False)),
    seal=seal_recording,
    actions={
        "resume": lambda: _record(resume=True),
        "settings": _resume_as_command,
    },
)
