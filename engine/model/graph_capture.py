"""Computations captured as CUDA graphs, plain or with events within them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from adadecode.engine.runtime.timer import Clock

Computation = Callable[[torch.Tensor], torch.Tensor]
"""Takes a tensor and returns another."""


@dataclass(kw_only=True, eq=False)
class Capture:
    """One CUDA graph.

    Attributes:
        graph: The graph.
        given: Its input, outside the graphs' memory pool.
        out: Its output, outside the pool too.
        taken: Bytes that the pool grew by.
        host: Where ``read`` puts the output.
    """

    graph: Any
    given: torch.Tensor
    out: torch.Tensor
    taken: int
    host: torch.Tensor | None = None

    def replay(self, given: torch.Tensor) -> torch.Tensor:
        """Return the output for this input, as a copy, because the next replay overwrites it."""
        self.given.copy_(given)
        self.graph.replay()
        return self.out.clone()

    def read(self, given: torch.Tensor) -> list[Any]:
        """Return the output for this input as numbers, waiting for the device once."""
        if self.host is None:
            self.host = torch.empty(
                self.out.shape, dtype=self.out.dtype, pin_memory=self.out.is_cuda
            )
        self.given.copy_(given)
        self.graph.replay()
        self.host.copy_(self.out, non_blocking=True)
        torch.cuda.current_stream(self.given.device).synchronize()
        found: list[Any] = self.host.tolist()
        return found


@dataclass(kw_only=True, eq=False)
class TimedCapture(Capture):
    """A CUDA graph with events within it.

    Attributes:
        events: The events, in order.
        clock: The clock whose marks the next replay overwrites.
    """

    events: Sequence[Any]
    clock: Clock | None = None

    @classmethod
    def of(cls, made: Capture, events: Sequence[Any]) -> TimedCapture:
        """Return a capture with these events, after a trial.

        Raises:
            RuntimeError: The events do not come in order.
            Exception: Whatever else refuses to give their times.
        """
        made.graph.replay()
        torch.cuda.synchronize(made.given.device)
        times = [a.elapsed_time(b) for a, b in pairwise(events)]
        if min(times) < 0:
            raise RuntimeError("events within a graph do not come in order")
        return cls(
            graph=made.graph, given=made.given, out=made.out, taken=made.taken, events=events
        )

    def timed(self, given: torch.Tensor, clock: Clock) -> torch.Tensor:
        """Return the output for this input; its events are the clock's next marks."""
        if self.clock is not None:
            self.clock.settle()
        out = self.replay(given)
        clock.replayed(self.events)
        self.clock = clock
        return out


@dataclass(kw_only=True, eq=False)
class Graphs:
    """Graphs that live as long as their owner, in a memory pool of their own."""

    pool: Any
    held: dict[Hashable, Capture] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes that the pool holds."""
        return sum(made.taken for made in self.held.values())


def capture(work: Computation, example: torch.Tensor, *, pool: Any, side: Any) -> Capture:
    """Capture a computation, which is done twice before.

    Other threads may use the device meanwhile, and allocate memory on it. They may not draw random
    numbers on it: a capture holds the default generator of the device, so a text that another
    thread samples with it fails with an error of torch. This follows from how torch captures, and
    was not tried.

    Args:
        work: The computation.
        example: An input like those to come.
        pool: The memory pool.
        side: The stream it is done in.

    Raises:
        Exception: Whatever a capture meets.
    """
    device = example.device
    given = example.clone()
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(2):
            out = work(given)
        out = torch.empty_like(out)
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    failed: list[Exception] = []
    try:
        # the outer stream is put back where a capture fails, which leaves its own set
        with (
            _own_workspaces(),
            torch.cuda.stream(side),
            torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"),
        ):
            before = torch.cuda.memory_reserved(device)
            try:
                out.copy_(work(given))
            except Exception as error:
                failed.append(error)
                raise
            taken = torch.cuda.memory_reserved(device) - before
    except Exception:
        if failed:
            raise failed[0] from None
        raise
    return Capture(graph=graph, given=given, out=out, taken=taken)


@contextmanager
def _own_workspaces() -> Iterator[None]:
    """Make matrix products make their workspaces anew, so that a graph's lies in its own pool.

    One made before would be baked into the graph and belong to nobody that the graph keeps alive:
    torch frees them all where its own compiler captures graphs, and one stream's where a graph of
    it goes.
    """
    clear: Callable[[], None] = getattr(
        torch._C, "_cuda_clearCublasWorkspaces", lambda: None
    )  # builds for CPUs have none
    clear()
    try:
        yield
    finally:
        clear()
