"""A stand-in for CUDA on a CPU.

Graphs do again what was computed within them, and events tell the time of a scripted device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

PIECE = 4096
"""Bytes that a pool grows by in each capture."""

ATEN = torch.ops.aten
WAITING = {
    ATEN._local_scalar_dense,
    ATEN.nonzero,
    ATEN.masked_select,
    ATEN._unique2,
    ATEN.lift_fresh,
}
"""What no capture takes: reads, outputs whose size the data decide, copies from the host.

``torch.tensor`` is such a copy.
"""
READS = ("tolist", "cpu", "numpy")
"""Methods of tensors that read them."""


class Recorded(TorchDispatchMode):
    """A CUDA graph: its operations are done again on whatever their tensors hold then."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        chosen = args[1] if func is ATEN.index.Tensor else ()
        if func.overloadpacket in WAITING or any(
            by is not None and by.dtype == torch.bool for by in chosen
        ):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        out = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Results go where they went before."""
        for func, args, kwargs, out in self.done:
            again = func(*args, **kwargs)
            for before, now in zip(
                *((x,) if isinstance(x, torch.Tensor) else x for x in (out, again)), strict=True
            ):
                if isinstance(before, torch.Tensor) and before.data_ptr() != now.data_ptr():
                    before.copy_(now)


class Device:
    """What the stand-ins saw: graphs, pools, streams made and used, bytes reserved.

    ``open`` is the graph that is being captured. The device is also its only stream.
    """

    def __init__(self) -> None:
        self.graphs: list[Recorded] = []
        self.open: Recorded | None = None
        self.pools: list[str] = []
        self.streams: list[Any] = []
        self.used: list[Any] = []
        self.reserved = 0
        self.waits = 0
        self.moments = 0
        self.refusing = False  # whether a capture takes no external events
        # whether the end of a failed capture raises an error of its own
        self.breaking = False
        self.cleared: list[
            str
        ] = []  # what had been done when the workspaces of products were cleared

    def stream(self, _device: torch.device) -> Device:
        self.streams.append(self)
        return self

    def wait_stream(self, _other: Any) -> None:
        """All is done in order here."""

    def clear_workspaces(self) -> None:
        assert self.open is None
        self.cleared.append(f"{len(self.graphs)} graphs, {len(self.used)} captures")

    def synchronize(self, _device: torch.device | None = None) -> None:
        self.waits += 1

    def pool(self) -> str:
        self.pools.append(f"pool {len(self.pools)}")
        return self.pools[-1]

    def graph(self) -> Recorded:
        self.graphs.append(Recorded())
        return self.graphs[-1]

    @contextmanager
    def capturing(
        self, graph: Recorded, *, pool: str, stream: Any, capture_error_mode: str
    ) -> Iterator[None]:
        assert pool in self.pools
        assert capture_error_mode == "thread_local"  # others go on meanwhile
        self.used.append(stream)
        self.reserved -= 10 * PIECE  # as the real one, which frees what the pool does not hold
        with graph:
            self.open = graph
            try:
                yield
            except Exception:
                if self.breaking:
                    raise RuntimeError("capture failed due to a previous error") from None
                raise
            finally:
                self.open = None

    def event(self, *, enable_timing: bool, external: bool = False) -> Event:
        assert enable_timing
        return Event(self, external=external)


class Event:
    """An event; the device's k-th moment is at k * k seconds, so no two intervals are alike.

    An external event within a graph has its moment at every replay.
    """

    def __init__(self, device: Device, *, external: bool) -> None:
        self.device, self.external, self.at = device, external, 0

    def record(self, stream: Any) -> None:
        assert stream is self.device
        if self.device.open is None:
            self.happen()
        elif self.device.refusing or not self.external:
            raise RuntimeError("this event cannot be captured")
        else:
            self.device.open.done.append((self.happen, (), {}, ()))

    def happen(self) -> tuple[()]:
        self.device.moments += 1
        self.at = self.device.moments**2
        return ()

    def elapsed_time(self, other: Event) -> float:
        """Return milliseconds."""
        assert min(self.at, other.at) > 0, "never recorded"
        return 1e3 * (other.at - self.at)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Put a stand-in in the place of ``torch.cuda``."""
    made = Device()

    def reserved(_device: torch.device) -> int:
        made.reserved += (
            PIECE  # more each time it is asked: one piece from the first asking to the second
        )
        return made.reserved

    stand_ins = {
        "graph_pool_handle": made.pool,
        "Stream": made.stream,
        "current_stream": lambda _device: made,
        "CUDAGraph": made.graph,
        "Event": made.event,
        "synchronize": made.synchronize,
        "stream": lambda _stream: nullcontext(),
        "graph": made.capturing,
        "memory_reserved": reserved,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(
        torch._C, "_cuda_clearCublasWorkspaces", made.clear_workspaces, raising=False
    )
    for name in READS:
        monkeypatch.setattr(torch.Tensor, name, _refused_within(made, getattr(torch.Tensor, name)))
    return made


def _refused_within(device: Device, read: Callable[..., Any]) -> Callable[..., Any]:
    """A method that reads a tensor, which no capture takes."""

    def reading(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if device.open is not None:
            raise RuntimeError("operation not permitted when stream is capturing: a read")
        return read(self, *args, **kwargs)

    return reading
