"""Ways to run segments: ``eager``, in ``static`` shapes, ``compile``d, captured as ``cuda`` graphs, or captured after compiling (``cuda+compile``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from engine.attention import KeyValues
from engine.compiled import Compiler, reason_of, why_not
from engine.segments import SegmentedModel
from engine.static import SIZES, StaticModel, Step, bucket_of, size_of
from profiles.errors import InputError

GRAPHS = ("eager", "static", "compile", "cuda", "cuda+compile")


def take_apart_static(model: PreTrainedModel, graphs: str, numerics: str = "native") -> StaticModel:
    """The model's parts, in static shapes. graphs: one of GRAPHS but ``eager``. Raises InputError, UnsupportedModel."""
    if graphs not in GRAPHS[1:]:
        raise InputError(f"wanted graphs as one of {', '.join(GRAPHS)}, got {graphs!r}")
    if numerics != "native":
        raise InputError(f"{numerics} numerics have static shapes of their own and run eagerly: leave graphs out, or use native numerics")
    device = next(model.parameters()).device
    if graphs.startswith("cuda") and device.type != "cuda":
        raise InputError(f"graphs={graphs!r} captures on a CUDA device, this model is on the {device.type}: use compile, static or eager")
    if graphs == "static":
        return StaticModel(model)
    return CapturedModel(model, compiling=graphs == "cuda+compile") if graphs.startswith("cuda") else CompiledModel(model)


class CompiledModel(StaticModel):
    """Layers and heads compiled where that is possible, else in static shapes; ``fallbacks`` tells what is not."""

    def __init__(self, model: PreTrainedModel, *, compiling: bool = True) -> None:
        self.compiler: Compiler | None = None
        super().__init__(model)
        if not compiling:
            return
        why = why_not(self.device)
        if why is not None:
            self.fall_back(f"nothing is compiled: {why}")
        elif self.static:
            self.compiler = Compiler(self, self.fall_back)

    def layer(self, index: int, hidden: torch.Tensor, step: Step) -> torch.Tensor:
        """One layer on hidden (1, N, d)."""
        if self.compiler is not None:
            out = self.compiler.layer(index, hidden, step, self.arguments_of(self.kv))
            if out is not None:
                return out
        return super().layer(index, hidden, step)

    def normed(self, hidden: torch.Tensor) -> torch.Tensor:
        """The final norm, and whatever else stands between the last layer and the LM head."""
        out = self._tail_of("normed", hidden)
        return super().normed(hidden) if out is None else out

    def unembed(self, normed: torch.Tensor) -> torch.Tensor:
        """Logits (1, n, V) in FP32 from what ``normed`` returns."""
        out = self._tail_of("unembed", normed)
        return super().unembed(normed) if out is None else out

    def logits(self, hidden: torch.Tensor, start: int = 0) -> torch.Tensor:
        """The model's own logits (1, n, V) in FP32 from hidden states (1, n, d) at depth L."""
        out = self._tail_of("logits", hidden)
        return SegmentedModel.unembed(self, SegmentedModel.normed(self, hidden)) if out is None else out

    def _tail_of(self, what: str, hidden: torch.Tensor) -> torch.Tensor | None:
        n = hidden.shape[1]
        if self.compiler is None or n > SIZES[-1]:
            return None
        size = size_of(n)
        padded = hidden.contiguous() if size == n else torch.nn.functional.pad(hidden, (0, 0, 0, size - n))
        out = self.compiler.tail(what, padded)
        return out if out is None or size == n else out[:, :n]


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """One CUDA graph. given, out: its input and output, outside the graphs' memory pool."""

    graph: Any
    given: torch.Tensor
    out: torch.Tensor

    def replay(self, given: torch.Tensor) -> torch.Tensor:
        """Its output for this input: a copy, since the next replay overwrites it."""
        self.given.copy_(given)
        self.graph.replay()
        return self.out.clone()


class CapturedModel(CompiledModel):
    """One CUDA graph for each (segment, rows, bucket), captured when first needed, all numbers of rows at once, the largest first; others for what follows the layers.

    Where layers are marked (to be timed in place), each layer is a graph of its own and the marks stand between them. The graphs share one memory pool: all
    that outlives a replay lies outside it. A capture that fails ends capturing, with a message. graphs_bytes: what that pool
    holds.
    """

    doubling = True

    def __init__(self, model: PreTrainedModel, *, compiling: bool) -> None:
        self.capturing = False
        self._segments: WeakKeyDictionary[KeyValues, dict[tuple[int, int, int, int], Capture]] = WeakKeyDictionary()
        self._tails: dict[tuple[str, int], Capture] = {}
        super().__init__(model, compiling=compiling)
        self._pool = torch.cuda.graph_pool_handle()
        self._side = torch.cuda.Stream(self.device)  # one for all: what a stream has freed is its own
        self._start = torch.zeros((), dtype=torch.long, device=self.device)
        self._offsets = {size: torch.arange(size, device=self.device) for size in SIZES}
        self.capturing = self.static

    def run_padded(self, first: int, last: int, hidden: torch.Tensor, start: int, mark: Callable[[], None] | None) -> torch.Tensor:
        """Layers [first, last) on hidden (1, N, d), N one of SIZES."""
        if mark is None:
            return self._segment(first, last, hidden, start, sizes=SIZES[::-1])
        mark()
        for index in range(first, last):
            hidden = self._segment(index, index + 1, hidden, start, sizes=(hidden.shape[1],))
            mark()
        return hidden

    def _segment(self, first: int, last: int, hidden: torch.Tensor, start: int, sizes: Sequence[int]) -> torch.Tensor:
        """A segment by its graph, which is captured for these numbers of rows where there is none yet."""
        size = hidden.shape[1]
        bucket = bucket_of(start + size, self.kv.slots, doubling=True)
        held = self._segments.setdefault(self.kv, {})
        self._start.fill_(start)
        if self.capturing and (first, last, size, bucket) not in held:
            for rows in sizes:
                given = hidden if rows == size else hidden[:, :1].expand(1, rows, -1) if start + rows <= self.kv.slots else None
                if given is not None and (first, last, rows, bucket) not in held:
                    made = self._capture(partial(self._layers, first, last, bucket), given, f"layers {first} to {last}")
                    if made is None:
                        break
                    held[first, last, rows, bucket] = made
        found = held.get((first, last, size, bucket))
        return super().run_padded(first, last, hidden, start, None) if found is None else found.replay(hidden)

    def _layers(self, first: int, last: int, bucket: int, hidden: torch.Tensor) -> torch.Tensor:
        """What is captured: the pass from the position in ``_start`` on."""
        step = self.step_at(self._start + self._offsets[hidden.shape[1]], bucket)
        for index in range(first, last):
            hidden = self.layer(index, hidden, step)
        return hidden

    def _tail_of(self, what: str, hidden: torch.Tensor) -> torch.Tensor | None:
        n = hidden.shape[1]
        if not self.capturing or n > SIZES[-1]:
            return super()._tail_of(what, hidden)
        size = size_of(n)
        padded = hidden if size == n else torch.nn.functional.pad(hidden, (0, 0, 0, size - n))
        if (what, size) not in self._tails:
            made = self._capture(partial(self._uncaptured, what), padded, what)
            if made is None:
                return super()._tail_of(what, hidden)
            self._tails[what, size] = made
        out = self._tails[what, size].replay(padded)
        return out if size == n else out[:, :n]

    def _uncaptured(self, what: str, hidden: torch.Tensor) -> torch.Tensor:
        out = super()._tail_of(what, hidden)
        if out is not None:
            return out
        if what == "logits":
            return SegmentedModel.unembed(self, SegmentedModel.normed(self, hidden))
        return SegmentedModel.normed(self, hidden) if what == "normed" else SegmentedModel.unembed(self, hidden)

    def _capture(self, work: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor, what: str) -> Capture | None:
        """The graph of a piece of work, None where it cannot be captured. The work is done twice before, on the example."""
        side = self._side
        try:
            given = example.clone()
            side.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(side):
                for _ in range(2):
                    out = work(given)
                out = torch.empty_like(out)
            torch.cuda.current_stream(self.device).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # the outer stream is put back where a capture fails, which leaves its own set
            with torch.cuda.stream(side), torch.cuda.graph(graph, pool=self._pool, stream=side):
                before = torch.cuda.memory_reserved(self.device)
                out.copy_(work(given))
                taken = torch.cuda.memory_reserved(self.device) - before
            self.graphs_bytes += taken
            return Capture(graph=graph, given=given, out=out)
        except Exception as error:  # noqa: BLE001 - whatever a capture meets, the same work runs without one
            self.capturing = False
            self.fall_back(
                f"{what} of {self.name} could not be captured as a CUDA graph ({reason_of(error)}): this and all that is not captured yet runs without;"
                " where memory ran out, ask for fewer tokens or shorter prompts"
            )
            return None
