"""Traces, which other threads do not meet."""

from __future__ import annotations

import threading

import torch
from torch import nn

from adadecode.engine.model.tracing import tracing_alone


def test_other_threads_call_modules_while_one_traces() -> None:
    """Torch would take their modules for part of the trace; those of this thread are."""
    model, one, found = nn.Linear(2, 2), torch.ones(2), []

    class Traced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            thread = threading.Thread(target=lambda: found.append(model(one)))
            thread.start()
            thread.join()
            return self.inner(x)

    plain = nn.Module.__call__
    with tracing_alone():
        graph = torch.fx.symbolic_trace(Traced())
    assert [node.op for node in graph.graph.nodes] == ["placeholder", "call_module", "output"]
    assert torch.equal(found[0], model(one))
    assert nn.Module.__call__ is plain
