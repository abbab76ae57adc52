"""Ways to run segments: ``eager``, in ``static`` shapes, ``compile``d, captured as ``cuda`` graphs, or captured after compiling (``cuda+compile``)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from adadecode.engine.model.graph_capture import Capture, Graphs, TimedCapture, Work, captured
from adadecode.engine.model.inductor import Compiler, reason_of, why_not
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.static_shapes import (
    SIZES,
    StaticModel,
    Step,
    bucket_of,
    padded,
    size_of,
)
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import InputError

GRAPHS = ("eager", "static", "compile", "cuda", "cuda+compile")


def roomy(positions: int) -> int:
    """How many positions a captured room has where so many are needed, as far as the model has as many."""
    step = min(max(256, 1 << (positions - 1).bit_length()), 2048)
    return -(-positions // step) * step


def check_captures(graphs: str, device: torch.device) -> None:
    """Raises InputError where CUDA graphs are wanted of another device."""
    if graphs.startswith("cuda") and device.type != "cuda":
        raise InputError(
            f"graphs={graphs!r} captures on a CUDA device, this model is on the {device.type}: use compile, static or eager"
        )


def take_apart_static(model: PreTrainedModel, graphs: str, numerics: str = "native") -> StaticModel:
    """The model's parts, in static shapes. graphs: one of GRAPHS but ``eager``. Raises InputError, UnsupportedModel."""
    if graphs not in GRAPHS[1:]:
        raise InputError(f"wanted graphs as one of {', '.join(GRAPHS)}, got {graphs!r}")
    if numerics != "native":
        raise InputError(
            f"{numerics} numerics have static shapes of their own and run eagerly: leave graphs out, or use native numerics"
        )
    device = next(model.parameters()).device
    check_captures(graphs, device)
    if graphs == "static":
        return StaticModel(model)
    return (
        CapturedModel(model, compiling=graphs == "cuda+compile")
        if graphs.startswith("cuda")
        else CompiledModel(model)
    )


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
        return (
            SegmentedModel.unembed(self, SegmentedModel.normed(self, hidden))
            if out is None
            else out
        )

    def _tail_of(self, what: str, hidden: torch.Tensor) -> torch.Tensor | None:
        n = hidden.shape[1]
        if self.compiler is None or n > SIZES[-1]:
            return None
        out = self.compiler.tail(what, padded(hidden).contiguous())
        return None if out is None else out[:, :n]


class CapturedModel(CompiledModel):
    """One CUDA graph for each (segment, rows, bucket), captured when first needed, all numbers of rows at once, the largest first; others for what follows the layers.

    Where layers are timed, the segment is one graph all the same, another one, with events before the first layer and after each; where a graph can hold
    no events, each layer is a graph of its own and the marks stand between them. Graphs of segments live as long as the buffers they work on, those of exit
    heads as long as the heads. Each such group shares a memory pool: all that outlives a replay lies outside it. A capture that fails ends capturing, of its kind or
    altogether, with a message.
    """

    doubling = True

    def __init__(self, model: PreTrainedModel, *, compiling: bool) -> None:
        self.capturing = self._within = False
        self._ended: set[str] = set()
        self._groups: WeakKeyDictionary[Any, Graphs] = WeakKeyDictionary()
        super().__init__(model, compiling=compiling)
        self._side = torch.cuda.Stream(
            self.device
        )  # one for all: what a stream has freed is its own
        self._start = torch.zeros((), dtype=torch.long, device=self.device)
        self._offsets = {size: torch.arange(size, device=self.device) for size in SIZES}
        self.capturing = self.static

    @property
    def graphs_bytes(self) -> int:
        """Bytes in the memory pools of all graphs there are."""
        return sum(group.nbytes for group in self._groups.values())

    @property
    def timing(self) -> str:
        """How marked layers are timed."""
        return (
            "events in graphs" if self.capturing and "timed" not in self._ended else super().timing
        )

    def capacity_for(self, capacity: int) -> int:
        """Rooms are so large that they are seldom outgrown: with a room, its graphs go."""
        if not self.static:
            return super().capacity_for(capacity)
        rounded = min([roomy(capacity), *(limit - 1 for limit in self.limits if limit >= capacity)])
        return super().capacity_for(max(capacity, rounded))

    # -- layers ------------------------------------------------------------------------------------------------------

    def run_padded(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None
    ) -> torch.Tensor:
        """Layers [first, last) on hidden (1, N, d), N one of SIZES."""
        if clock is None:
            return self._segment(first, last, hidden, start, sizes=SIZES[::-1])
        timed = self._timed(first, last, hidden, start)
        if timed is not None:
            return timed.timed(hidden, clock)
        clock.mark()
        for index in range(first, last):
            hidden = self._segment(index, index + 1, hidden, start, sizes=(hidden.shape[1],))
            clock.mark()
        return hidden

    def _segment(
        self, first: int, last: int, hidden: torch.Tensor, start: int, sizes: Sequence[int]
    ) -> torch.Tensor:
        """A segment by its graph, which is captured for these numbers of rows where there is none yet."""
        size = hidden.shape[1]
        bucket = bucket_of(start + size, self.kv.slots, doubling=True)
        held = self._group(self.kv).held
        self._start.fill_(start)
        if (first, last, size, bucket) not in held:
            work = partial(self._layers, first, last, bucket)
            for rows in sizes:
                given = (
                    hidden
                    if rows == size
                    else hidden[:, :1].expand(1, rows, -1)
                    if start + rows <= self.kv.slots
                    else None
                )
                if (
                    given is not None
                    and self._graph(
                        self.kv, (first, last, rows, bucket), work, given, _named(first, last)
                    )
                    is None
                ):
                    break
        found = held.get((first, last, size, bucket))
        return (
            super().run_padded(first, last, hidden, start, None)
            if found is None
            else found.replay(hidden)
        )

    def _timed(
        self, first: int, last: int, hidden: torch.Tensor, start: int
    ) -> TimedCapture | None:
        """A segment's graph with events in it, captured where there is none yet; None where it cannot be."""
        size = hidden.shape[1]
        bucket = bucket_of(start + size, self.kv.slots, doubling=True)
        self._start.fill_(start)

        def make() -> Capture:
            events = [
                torch.cuda.Event(enable_timing=True, external=True) for _ in range(first, last + 1)
            ]
            return TimedCapture.of(
                self._capture(
                    self.kv, partial(self._layers, first, last, bucket, events=events), hidden
                ),
                events,
            )

        found = self._made(
            self.kv,
            ("timed", first, last, size, bucket),
            make,
            f"{_named(first, last)}, with events,",
            "timed",
        )
        return found if isinstance(found, TimedCapture) else None

    def _layers(
        self, first: int, last: int, bucket: int, hidden: torch.Tensor, events: Sequence[Any] = ()
    ) -> torch.Tensor:
        """What is captured: the pass from the position in ``_start`` on. events: recorded before the first layer and after each."""
        stream = torch.cuda.current_stream(self.device)
        step = self.step_at(self._start + self._offsets[hidden.shape[1]], bucket)
        for event in events[:1]:
            event.record(stream)
        for number, index in enumerate(range(first, last), 1):
            hidden = self.layer(index, hidden, step)
            for event in events[number : number + 1]:
                event.record(stream)
        return hidden

    # -- after the layers --------------------------------------------------------------------------------------------

    def read(self, work: Work, hidden: torch.Tensor, owner: object, name: str) -> list[Any]:
        """Numbers that ``work`` makes of hidden (1, n, d), by one graph and one read; see `SegmentedModel.read`."""
        n = hidden.shape[1]
        if n > SIZES[-1]:
            return super().read(work, hidden, owner, name)
        given = padded(hidden)
        found = self._made(
            owner, (name, size_of(n)), partial(self._capture, owner, work, given), name, "read"
        )
        return super().read(work, hidden, owner, name) if found is None else found.read(given)[:n]

    def _tail_of(self, what: str, hidden: torch.Tensor) -> torch.Tensor | None:
        n = hidden.shape[1]
        if self._within or n > SIZES[-1]:
            return super()._tail_of(what, hidden)
        given = padded(hidden)
        found = self._graph(self, (what, size_of(n)), partial(self._uncaptured, what), given, what)
        return super()._tail_of(what, hidden) if found is None else found.replay(given)[:, :n]

    def _uncaptured(self, what: str, hidden: torch.Tensor) -> torch.Tensor:
        out = super()._tail_of(what, hidden)
        if out is not None:
            return out
        if what == "logits":
            return SegmentedModel.unembed(self, SegmentedModel.normed(self, hidden))
        return (
            SegmentedModel.normed(self, hidden)
            if what == "normed"
            else SegmentedModel.unembed(self, hidden)
        )

    # -- graphs ------------------------------------------------------------------------------------------------------

    def _group(self, owner: object) -> Graphs:
        """The graphs that live as long as ``owner``."""
        found = self._groups.get(owner)
        if found is None:
            found = self._groups[owner] = Graphs(pool=torch.cuda.graph_pool_handle())
        return found

    def _graph(
        self, owner: object, key: Hashable, work: Work, example: torch.Tensor, what: str
    ) -> Capture | None:
        """The graph of a piece of work, captured where there is none yet; None where it cannot be."""
        return self._made(owner, key, partial(self._capture, owner, work, example), what, "any")

    def _made(
        self, owner: object, key: Hashable, make: Callable[[], Capture], what: str, kind: str
    ) -> Capture | None:
        """A graph of this kind (of `_THEN`), made where there is none yet; None where it cannot be: the first that fails is the last one tried."""
        held = self._group(owner).held
        if key not in held and self.capturing and kind not in self._ended:
            try:
                held[key] = make()
            except Exception as error:
                self._ended.add(kind)
                self.capturing = kind != "any"
                # a broken capture may leave the pool as if it were still under way
                self._group(owner).pool = torch.cuda.graph_pool_handle()
                self.fall_back(
                    f"{what} of {self.name} could not be captured as a CUDA graph ({reason_of(error)}): {_THEN[kind]}"
                )
        return held.get(key)

    def _capture(self, owner: object, work: Work, example: torch.Tensor) -> Capture:
        """What is called within the work is part of this graph, and replays none of its own."""
        self._within = True
        try:
            return captured(work, example, pool=self._group(owner).pool, side=self._side)
        finally:
            self._within = False


_THEN = {
    "any": "this and all that is not captured yet runs without; where memory ran out, ask for fewer tokens or shorter prompts",
    "timed": "from here on layers are timed in graphs of single layers, with events between them",
    "read": "from here on what follows the layers is several graphs, and what lies between them runs without",
}
"""What is done where graphs of a kind cannot be captured: those with events in them, those whose output is read at once, all."""


def _named(first: int, last: int) -> str:
    return f"layers {first} to {last}"
