"""Ways to run segments of layers.

=================  ===========================================================================
``eager``          as the model has them
``static``         in static shapes
``compile``        compiled by inductor
``cuda``           captured as CUDA graphs
``cuda+compile``   compiled, then captured
=================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from adadecode.engine.model.graph_capture import Capture, Computation, Graphs, TimedCapture, capture
from adadecode.engine.model.inductor import Compiler, reason_of, why_uncompilable
from adadecode.engine.model.padding import SIZES, bucket_of, padded, size_of
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.static_pass import StaticPass
from adadecode.engine.model.static_shapes import StaticModel
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import InputError

GRAPHS = ("eager", "static", "compile", "cuda", "cuda+compile")


def room_size(positions: int) -> int:
    """Return the size of the captured room that holds ``positions`` positions."""
    step = min(max(256, 1 << (positions - 1).bit_length()), 2048)
    return -(-positions // step) * step


def check_captures(graphs: str, device: torch.device) -> None:
    """Raise InputError where CUDA graphs are wanted of another device."""
    if graphs.startswith("cuda") and device.type != "cuda":
        raise InputError(
            f"graphs={graphs!r} captures on a CUDA device, this model is on the {device.type}: use "
            "compile, static or eager"
        )


def take_apart_static(model: PreTrainedModel, graphs: str, numerics: str = "native") -> StaticModel:
    """Take a model apart into parts of static shapes.

    Args:
        model: The model.
        graphs: One of `GRAPHS` but ``eager``.
        numerics: Must be ``native``.

    Raises:
        InputError: ``graphs`` is unknown, or does not go with the device or the numerics.
        UnsupportedModel: The model cannot be taken apart exactly.
    """
    if graphs not in GRAPHS[1:]:
        raise InputError(
            f"wanted graphs as one of {', '.join(GRAPHS)}, got {graphs!r}: leave it out for eager"
        )
    if numerics != "native":
        raise InputError(
            f"{numerics} numerics have static shapes of their own and run eagerly: leave graphs "
            "out, or use native numerics"
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
    """Layers and heads compiled where that is possible, else in static shapes.

    Its ``fallbacks`` say what is not compiled.

    Args:
        model: The model.
        compiling: Whether to compile at all.
    """

    def __init__(self, model: PreTrainedModel, *, compiling: bool = True) -> None:
        self.compiler: Compiler | None = None
        super().__init__(model)
        if not compiling:
            return
        why = why_uncompilable(self.device)
        if why is not None:
            self.fall_back(f"nothing is compiled: {why}")
        elif self.static:
            self.compiler = Compiler(self, self.fall_back)

    def layer(self, index: int, hidden: torch.Tensor, step: StaticPass) -> torch.Tensor:
        """Run one layer on hidden states ``(1, N, d)``."""
        if self.compiler is not None:
            out = self.compiler.layer(index, hidden, step, self.arguments_of(self.kv))
            if out is not None:
                return out
        return super().layer(index, hidden, step)

    def normed(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the final norm, and whatever else stands between the last layer and the LM head."""
        out = self._tail_of("normed", hidden)
        return super().normed(hidden) if out is None else out

    def unembed(self, normed: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(1, n, V)`` in FP32 of what ``normed`` returns."""
        out = self._tail_of("unembed", normed)
        return super().unembed(normed) if out is None else out

    def logits(self, hidden: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Return the model's own logits ``(1, n, V)`` in FP32; see `SegmentedModel`."""
        out = self._tail_of("logits", hidden)
        return (
            SegmentedModel.unembed(self, SegmentedModel.normed(self, hidden))
            if out is None
            else out
        )

    def _tail_of(self, what: str, hidden: torch.Tensor) -> torch.Tensor | None:
        """Return what follows the layers by its compiled function; None where there is none."""
        n = hidden.shape[1]
        if self.compiler is None or n > SIZES[-1]:
            return None
        out = self.compiler.tail(what, padded(hidden).contiguous())
        return None if out is None else out[:, :n]


class CapturedModel(CompiledModel):
    """One CUDA graph for each segment, number of rows and bucket, captured when first needed.

    All numbers of rows are captured at once, the largest first, and further graphs for what follows
    the layers. Where layers are timed, the segment is one graph all the same: another one, with
    events before the first layer and after each. Where a graph can hold no events, each layer is a
    graph of its own and the marks stand between them.

    Graphs of segments live as long as the buffers they work on, those of exit heads as long as the
    heads. Each such group shares a memory pool: all that outlives a replay lies outside it. A
    capture that fails ends capturing, of its kind or altogether, with a message.
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
        """Bytes in the memory pools of all graphs."""
        return sum(group.nbytes for group in self._groups.values())

    @property
    def timing(self) -> str:
        """How marked layers are timed."""
        return (
            "events in graphs" if self.capturing and "timed" not in self._ended else super().timing
        )

    def capacity_for(self, capacity: int) -> int:
        """Return the positions that a new room gets.

        It is seldom outgrown: with a room go its graphs.
        """
        if not self.static:
            return super().capacity_for(capacity)
        rounded = min(
            [room_size(capacity), *(limit - 1 for limit in self.limits if limit >= capacity)]
        )
        return super().capacity_for(max(capacity, rounded))

    # -- layers --------------------

    def run_padded(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None
    ) -> torch.Tensor:
        """Run layers [first, last) on hidden states ``(1, N, d)``, N one of `SIZES`."""
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
        """Run a segment by its graph, captured for these numbers of rows if need be."""
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
        """Return a segment's graph with events in it; None where it cannot be captured."""
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
        """Run what is captured: the pass from the position in ``_start`` on.

        Args:
            first: The first layer.
            last: The layer after the last one.
            bucket: How many slots are attended over.
            hidden: Hidden states ``(1, N, d)``.
            events: Recorded before the first layer and after each.
        """
        stream = torch.cuda.current_stream(self.device)
        step = self.step_at(self._start + self._offsets[hidden.shape[1]], bucket)
        for event in events[:1]:
            event.record(stream)
        for number, index in enumerate(range(first, last), 1):
            hidden = self.layer(index, hidden, step)
            for event in events[number : number + 1]:
                event.record(stream)
        return hidden

    # -- after the layers --------------------

    def read(self, work: Computation, hidden: torch.Tensor, owner: object, name: str) -> list[Any]:
        """Return numbers by one graph and one read; see `SegmentedModel.read`."""
        n = hidden.shape[1]
        if n > SIZES[-1]:
            return super().read(work, hidden, owner, name)
        given = padded(hidden)
        found = self._made(
            owner, (name, size_of(n)), partial(self._capture, owner, work, given), name, "read"
        )
        return super().read(work, hidden, owner, name) if found is None else found.read(given)[:n]

    def _tail_of(self, what: str, hidden: torch.Tensor) -> torch.Tensor | None:
        """Return what follows the layers by its graph, or by the compiled function."""
        n = hidden.shape[1]
        if self._within or n > SIZES[-1]:
            return super()._tail_of(what, hidden)
        given = padded(hidden)
        found = self._graph(self, (what, size_of(n)), partial(self._uncaptured, what), given, what)
        return super()._tail_of(what, hidden) if found is None else found.replay(given)[:, :n]

    def _uncaptured(self, what: str, hidden: torch.Tensor) -> torch.Tensor:
        """Return what follows the layers, compiled where that is possible."""
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

    # -- graphs --------------------

    def _group(self, owner: object) -> Graphs:
        """Return the graphs that live as long as ``owner``."""
        found = self._groups.get(owner)
        if found is None:
            found = self._groups[owner] = Graphs(pool=torch.cuda.graph_pool_handle())
        return found

    def _graph(
        self, owner: object, key: Hashable, work: Computation, example: torch.Tensor, what: str
    ) -> Capture | None:
        """Return the graph of a computation, captured where needed; None where it cannot be."""
        return self._made(owner, key, partial(self._capture, owner, work, example), what, "any")

    def _made(
        self, owner: object, key: Hashable, make: Callable[[], Capture], what: str, kind: str
    ) -> Capture | None:
        """Return a graph, made where there is none yet; None where it cannot be.

        The first graph of a kind that fails is the last one of it that is tried.

        Args:
            owner: The graph lives as long as it.
            key: The key of the graph among those of the owner.
            make: Makes it.
            what: What is captured, for the message.
            kind: A key of `_THEN`.
        """
        held = self._group(owner).held
        if key not in held and self.capturing and kind not in self._ended:
            try:
                held[key] = make()
            except Exception as error:  # noqa: BLE001 -- whatever it is, it becomes a fallback
                self._ended.add(kind)
                self.capturing = kind != "any"
                # a broken capture may leave the pool as if it were still under way
                self._group(owner).pool = torch.cuda.graph_pool_handle()
                self.fall_back(
                    f"{what} of {self.name} could not be captured as a CUDA graph "
                    f"({reason_of(error)}): {_THEN[kind]}"
                )
        return held.get(key)

    def _capture(self, owner: object, work: Computation, example: torch.Tensor) -> Capture:
        """Capture a computation, within which no other graph is replayed."""
        self._within = True
        try:
            return capture(work, example, pool=self._group(owner).pool, side=self._side)
        finally:
            self._within = False


_THEN = {
    "any": "this and all that is not captured yet runs without; where memory ran out, ask for "
    "fewer tokens or shorter prompts",
    "timed": "from here on layers are timed in graphs of single layers, with events between them",
    "read": "from here on what follows the layers is several graphs, and what lies between them "
    "runs without",
}
"""What is done where graphs of a kind cannot be captured.

The kinds: all graphs, those with events in them, those whose output is read at once.
"""


def _named(first: int, last: int) -> str:
    return f"layers {first} to {last}"
