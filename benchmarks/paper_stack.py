"""The paper's stack in seconds: what a layer, a head and a verification take there.

The stack is Hugging Face, eager, FP16, one sequence on an A100. There a layer takes as long as its
host takes to start its kernels.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.schema import TABLES
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.importers.vidur import import_vidur
from benchmarks.published import FIGURE_5, OUTPUTS, PLACEMENT, VANILLA

LLAMA, HUMAN_EVAL = "llama-3.1-8b", "HumanEval"
"""Model and task of the paper's figure 5."""

DEVICE = "a100-80gb-sxm"
"""The paper says A100, not which one. CodeLlama-34B in FP16 (67 GB) only fits one of 80 GB."""

OPERATORS = {
    LLAMA: "meta-llama/Meta-Llama-3-8B/mlp.csv",
    "codellama-34b": "codellama/CodeLlama-34b-Instruct-hf/mlp.csv",
}
"""Published operator times on an A100 (Vidur), where there are some.

Llama-3 and 3.1 have one shape.
"""

N_PROMPT = 128
"""Tokens of every prompt. What a prompt costs is not in a speedup per token."""

LONGEST = N_PROMPT + OUTPUTS
NO_HOST_S = 1e-12
"""A host's time is in the layers, but a latency is above 0."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A model in the paper's stack.

    Attributes:
        shape: Of the model.
        depths: Of its heads.
        layer: Seconds of a layer for one token: its host's time, or its kernels'.
        head: Seconds of a head check.
        verify: Seconds of a verification.
        kernels: What the kernels alone take.
    """

    shape: ModelShape
    depths: tuple[int, ...]
    layer: float
    head: float
    verify: float
    kernels: LatencyTable

    @classmethod
    def of(cls, name: str, tokens_per_s: float, data: Path) -> Stack:
        """Return the stack in which vanilla reaches this speed.

        The layers take what the kernels of the verification leave of a token. Heads stand at the
        quarters of the stack, and take what their bytes do.

        Args:
            name: Of the model in the catalogue.
            tokens_per_s: Of vanilla.
            data: Vidur's operator times of an A100.
        """
        shape = find_model(name)
        kernels = kernel_times(name, data)
        verify = kernels.verify(1)
        return cls(
            shape=shape,
            depths=quarters(shape),
            layer=(1 / tokens_per_s - verify) / shape.n_layers,
            head=kernels.head(quarters(shape)[0], shape.n_layers),
            verify=verify,
            kernels=kernels,
        )

    @property
    def table(self) -> LatencyTable:
        """The latencies of this stack.

        A layer on several tokens takes its time for one, or its kernels' if that is more: an eager
        host starts the same kernels for any batch.
        """
        n_layers = self.shape.n_layers
        rows: list[tuple[Any, ...]] = []
        for n in range(1, DEFAULT_CAP + 2):
            for context in (n, LONGEST):
                seconds = max(self.layer, self.kernels.layers(0, 1, n, context, n_layers))
                rows += [
                    ("layer", layer, n, context, n_layers, 0, seconds) for layer in range(n_layers)
                ]
            rows.append(("verify", -1, n, 0, 0, 0, max(self.verify, self.kernels.verify(n))))
            rows.append(("embed", -1, n, 0, 0, 0, self.kernels.embed(n)))
        rows += [("head", depth, 1, 0, n_layers, 0, self.head) for depth in self.depths]
        rows.append(("prefill", -1, N_PROMPT, 0, 0, 0, self.kernels.prefill(N_PROMPT)))
        rows.append(("host", -1, 1, 0, 0, 0, NO_HOST_S))
        columns = TABLES["latency"].names
        return LatencyTable.from_samples(pd.DataFrame(rows, columns=columns), n_layers)


def figure_5_stack(data: Path) -> Stack:
    """Return Llama-3.1-8B on HumanEval, with the head's cost from the speedup at gamma 1.

    There three heads are checked for every token, and none exits.
    """
    tokens_per_s = VANILLA[LLAMA][HUMAN_EVAL]
    return replace(
        Stack.of(LLAMA, tokens_per_s, data),
        head=(1 / FIGURE_5[1.0] - 1) / (len(PLACEMENT) * tokens_per_s),
    )


def quarters(shape: ModelShape) -> tuple[int, ...]:
    """Return the depths at the quarters of the stack, where Llama-3.1-8B has its heads."""
    return tuple(shape.n_layers * quarter // 4 for quarter in (1, 2, 3))


@cache
def kernel_times(name: str, data: Path) -> LatencyTable:
    """Return what the kernels alone take on the A100.

    Layers are by published operator times where there are some, else by bytes and FLOPs, as heads
    and verification always are.
    """
    shape, device = find_model(name), find_device(DEVICE)
    path = data / OPERATORS.get(name, "none")
    if not path.is_file():
        return datasheet_latencies(
            shape,
            device,
            dtype="fp16",
            max_context=LONGEST,
            max_tokens=DEFAULT_CAP + 1,
            depths=quarters(shape),
        ).middle
    with tempfile.TemporaryDirectory() as folder:
        profile = import_vidur(path, shape, device, Path(folder) / "profile")
        return carried_latencies(
            profile,
            device,
            max_context=LONGEST,
            max_tokens=DEFAULT_CAP + 1,
            depths=quarters(shape),
        ).middle
