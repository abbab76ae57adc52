"""The bookkeeping of captures, on a CPU: a stand-in for a CUDA graph records what is computed within it and computes it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engine.decode import AdaDecoder
from engine.graphs import CapturedModel
from engine.heads import ExitHeads
from engine.static import StaticModel
from tests.models import N_LAYERS, greedy_text, random_prompt, tiny_model

PIECE = 4096
"""Bytes that the stand-in's pool grows by in each capture."""


class Recorded(TorchDispatchMode):
    """Stands in for a CUDA graph: each operation with the tensors it was given, done again on whatever these hold then."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        out = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Results go where they went before."""
        for func, args, kwargs, out in self.done:
            again = func(*args, **kwargs)
            for before, now in zip(*((x,) if isinstance(x, torch.Tensor) else x for x in (out, again)), strict=True):
                if isinstance(before, torch.Tensor) and before.data_ptr() != now.data_ptr():
                    before.copy_(now)


class Device:
    """What the stand-ins saw: graphs captured, streams made and used, bytes reserved, and whether a capture is under way."""

    def __init__(self) -> None:
        self.graphs: list[Recorded] = []
        self.streams: list[Any] = []
        self.used: list[Any] = []
        self.reserved = 0
        self.busy = False

    def stream(self, _device: torch.device) -> Device:
        self.streams.append(self)
        return self

    def wait_stream(self, _other: Any) -> None:
        """All is done in order here."""

    def graph(self) -> Recorded:
        self.graphs.append(Recorded())
        return self.graphs[-1]

    @contextmanager
    def capturing(self, graph: Recorded, *, pool: str, stream: Any) -> Iterator[None]:
        assert pool == "pool"
        self.used.append(stream)
        self.reserved -= 10 * PIECE  # as the real one, which frees what the pool does not hold
        with graph:
            self.busy = True
            try:
                yield
            finally:
                self.busy = False


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()

    def reserved(_device: torch.device) -> int:
        made.reserved += PIECE  # more each time it is asked: one piece from the first asking to the second
        return made.reserved

    stand_ins = {
        "graph_pool_handle": lambda: "pool",
        "Stream": made.stream,
        "current_stream": lambda _device: made,
        "CUDAGraph": made.graph,
    }
    stand_ins |= {"stream": lambda _stream: nullcontext(), "graph": made.capturing, "memory_reserved": reserved}
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return made


def captured() -> tuple[AdaDecoder, CapturedModel]:
    model = tiny_model("llama")
    decoder = AdaDecoder(model, ExitHeads.identity(model, range(1, N_LAYERS)))
    parts = CapturedModel(model, compiling=False)
    decoder.parts = parts
    return decoder, parts


def test_the_text_is_the_models_own_and_each_graph_is_captured_once(device: Device) -> None:
    """Replayed at other positions than it was captured at, drafts rolled back in between; again without any capture."""
    decoder, parts = captured()
    prompt = random_prompt(13)
    text = greedy_text(parts.model, prompt, 14)
    designs: list[dict[str, Any]] = [{"policy": "vanilla"}, {"gamma": 0.0, "placement": (2, 4)}]
    for design in designs:
        assert decoder.generate(prompt, 14, eos_token_id=(), **design).tokens == text
    held = sum(map(len, parts._segments.values())) + len(parts._tails)
    assert len(device.graphs) == held > 0
    for design in designs:
        assert decoder.generate(prompt, 14, eos_token_id=(), **design).tokens == text
    assert parts.fallbacks == []


def test_one_stream_captures_all_and_the_pool_is_counted(device: Device) -> None:
    """By what it grew within captures alone."""
    decoder, parts = captured()
    decoder.generate(random_prompt(13), 4, policy="vanilla", eos_token_id=())
    assert len(device.streams) == 1
    assert len(device.used) == len(device.graphs) > 1
    assert parts.graphs_bytes == PIECE * len(device.graphs)


def test_a_capture_that_fails_on_its_way_falls_back_with_a_message(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer breaks within the third capture: what was captured before is replayed, the rest runs without."""
    decoder, parts = captured()
    prompt = random_prompt(7)
    text = greedy_text(parts.model, prompt, 8)
    layer = StaticModel.layer

    def breaking(self: StaticModel, index: int, hidden: torch.Tensor, step: Any) -> torch.Tensor:
        if device.busy and len(device.graphs) == 3 and index == 2:
            raise torch.OutOfMemoryError("no room for the graph")
        return layer(self, index, hidden, step)

    monkeypatch.setattr(StaticModel, "layer", breaking)
    with pytest.warns(UserWarning, match="could not be captured as a CUDA graph .*no room"):
        assert decoder.generate(prompt, 8, policy="vanilla", eos_token_id=()).tokens == text
    assert sum(map(len, parts._segments.values())) == len(parts._tails) == 1
    assert parts.graphs_bytes == 2 * PIECE
    monkeypatch.undo()
    assert decoder.generate(prompt, 8, policy="vanilla", eos_token_id=()).tokens == text
