"""Walks: what they time, and that they time it all in place."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.static_shapes import StaticModel
from adadecode.engine.profiling.latency_walks import Walking, Walks, host_seconds, walk
from adadecode.engine.runtime.timer import Clock, synchronized_now
from adadecode.sim.core.scheduler import Check, Run, Verify
from tests.support.models import tiny_model

TOKENS = (5, 6, 7)


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama", torch.float32)
    decoder = AdaDecoder(model, ExitHeads.identity(model, [2, 4]))
    with torch.inference_mode():
        decoder.parts.allocate(24)
    return decoder


@pytest.mark.parametrize(
    ("depth", "n_tokens", "kinds"),
    [
        (4, 1, {"layer": 4, "head": 1}),
        (4, 3, {"layer": 4}),
        (3, 1, {"layer": 3}),
        (6, 1, {"layer": 6, "embed": 1, "verify": 1}),
        (6, 3, {"layer": 6, "embed": 1, "verify": 1}),
    ],
)
def test_a_walk_times_each_layer_and_what_ends_it(
    decoder: AdaDecoder, depth: int, n_tokens: int, kinds: dict[str, int]
) -> None:
    """Two laps are counted, a head only where there is one, and only for one token.

    All of it lies within the time that the walk took.
    """
    began = time.perf_counter()
    with decoder.parts.session():
        rows = list(walk(decoder, depth, TOKENS[:n_tokens], 9, 2, 17))
    assert sum(row["seconds"] for row in rows) < time.perf_counter() - began
    assert Counter(row["kind"] for row in rows) == {
        kind: 2 * count for kind, count in kinds.items()
    }
    assert {row["repeat"] for row in rows} == {17}
    layers = [row for row in rows if row["kind"] == "layer"]
    assert [row["layer"] for row in layers] == 2 * list(range(depth))
    assert {(row["n_tokens"], row["context"], row["reuse"]) for row in layers} == {
        (n_tokens, 9, depth)
    }
    assert all(
        (row["layer"], row["reuse"]) == (depth, depth) for row in rows if row["kind"] == "head"
    )


def test_a_walk_is_work_for_the_decode_loop(decoder: AdaDecoder) -> None:
    """Batches at the same positions, checked at an exit and verified at the end."""
    shallow = Walks(4, 6, TOKENS, 9, checked=True, laps=2)
    assert list(shallow.steps()) == [Run(0, 6, 9), Check(4, 8)] * 2
    whole = Walks(6, 6, TOKENS, 9, checked=False, laps=1)
    assert list(whole.steps()) == [Run(0, 6, 9), Verify(6, 9, (6, 7))]


def test_every_lap_makes_its_pass_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As each token of a text does: positions, masks and gathered arguments are timed too."""
    model = tiny_model("llama", torch.float32)
    decoder = AdaDecoder(model, ExitHeads.identity(model, [2]), graphs="static")
    assert isinstance(decoder.parts, StaticModel)
    with torch.inference_mode():
        decoder.parts.allocate(24)
    made = []
    own = decoder.parts.step_at
    monkeypatch.setattr(
        decoder.parts,
        "step_at",
        lambda slots, bucket: made.append(slots.tolist()) or own(slots, bucket),
    )
    with decoder.parts.session():
        list(walk(decoder, 6, TOKENS[:2], 9, 2, 0))
    assert made == [[7, 8]] * 3


def test_a_walk_computes_what_the_model_does(decoder: AdaDecoder) -> None:
    """The hidden states that a walk leaves at its exit are those of the same tokens run at once."""
    ids = torch.tensor([[3, 9, 4, 1, 2, 8, *TOKENS]])
    parts = decoder.parts
    with parts.session():
        expected = parts.run(0, 4, parts.embed(ids, 0), 0)[:, 6:]
        parts.run(
            0, 4, parts.embed(torch.tensor([[1, 1, 1]]), 6), 6
        )  # what the walk must overwrite
        walking = Walking(parts, decoder.heads, Walks(4, 6, TOKENS, 9, checked=True, laps=1))
        for _ in walking.steps():
            pass
    assert torch.allclose(walking.waiting[1][-1], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("depth", "works"), [(0, 4), (4, 26)])
def test_host_time_is_what_a_decode_takes_less_its_layers_and_heads(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch, depth: int, works: int
) -> None:
    """With a clock that ticks once a mark.

    Vanilla does 4 pieces of work in 2 rounds; one interval after each run, and one before the next
    work, is left over.
    """
    ticks = iter(range(10**6))
    monkeypatch.setattr(
        "adadecode.engine.runtime.timer.time.perf_counter", lambda: float(next(ticks))
    )
    with decoder.parts.session():
        decoder.parts.run(0, 6, decoder.parts.embed(torch.tensor([[1]]), 0), 0)
        host = host_seconds(decoder, depth, context=1, rounds=2)
    runs, later = (2, 0) if depth == 0 else (14, 2)  # six shallow runs and one deep one a round
    assert host * works == runs + later + 1


def test_the_models_own_gpu_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one that happens to be current: events are in its stream, and it is waited for."""
    device, calls = torch.device("cuda", 1), []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: Any) -> None:
            calls.append(("record", stream))

        def elapsed_time(self, _other: Event) -> float:
            return 250.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda of: f"stream of {of}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda of: calls.append(("wait", of)))
    clock = Clock(device)
    clock.mark()
    clock.mark()
    assert clock.intervals() == [0.25]
    synchronized_now(device)
    assert calls == [("record", "stream of cuda:1")] * 2 + [("wait", device)] * 2


def test_several_devices_are_all_waited_for_at_every_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their streams have no order between them that events could tell."""
    devices, calls, ticks = (
        (torch.device("cuda", 0), torch.device("cpu"), torch.device("cuda", 1)),
        [],
        iter((1.0, 4.0)),
    )
    monkeypatch.setattr(torch.cuda, "synchronize", calls.append)
    monkeypatch.setattr("adadecode.engine.runtime.timer.time.perf_counter", lambda: next(ticks))
    clock = Clock(*devices)
    clock.mark()
    clock.mark()
    assert clock.intervals() == [3.0]
    assert calls == [devices[0], devices[2]] * 2


def test_the_hosts_clock_has_nothing_to_settle(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its moments are numbers, which no replay overwrites; a recording names this clock."""
    ticks = iter((1.0, 3.0, 7.0))
    monkeypatch.setattr("adadecode.engine.runtime.timer.time.perf_counter", lambda: next(ticks))
    clock = Clock(decoder.parts.device)
    clock.mark()
    clock.mark()
    clock.settle()
    clock.mark()
    assert clock.intervals() == [2.0, 4.0]
    assert decoder.parts.timing == "host clock"
