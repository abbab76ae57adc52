"""What a gate costs: a row of weights and the final norm, whatever the vocabulary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.sim.hardware.cost_model import GATE_BYTES, ModelCost
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.gate_latency import EMBEDDINGS, with_gates
from adadecode.sim.hardware.uniform import uniform_latencies

LLAMA = find_model("llama-3.1-8b")


def test_a_gate_reads_a_row_and_a_norm() -> None:
    """So it is a thousandth of a check of the head, and the same for any vocabulary."""
    cost = ModelCost(shape=LLAMA)
    gate = cost.gate()
    assert gate.weights == GATE_BYTES * (4096 + 1) + 2 * 4096
    assert gate.flops == 2 * (4096 + 1)
    assert gate.bytes < 1e-4 * cost.head().bytes
    small = ModelCost(shape=replace(LLAMA, vocab_size=1000))
    assert small.gate() == gate


def test_a_datasheet_has_gates_where_heads_have_them() -> None:
    """Start-up alone: three kernels, and hardly a byte."""
    device = find_device("h100-sxm")
    plain, gated = (
        datasheet_latencies(
            LLAMA, device, dtype="bf16", max_context=64, max_tokens=2, depths=(8,), gates=gates
        )
        for gates in (False, True)
    )
    assert plain.middle.gate_depths == ()
    assert plain.notes == gated.notes
    table = gated.middle
    assert table.gate(8) == pytest.approx(3 * table.embed(1), rel=0.05)
    assert gated.tables["low"].gate(8) < table.gate(8) < gated.tables["high"].gate(8)


def test_missing_gates_are_taken_for_embeddings() -> None:
    device = find_device("h100-sxm")
    latencies = datasheet_latencies(
        LLAMA, device, dtype="bf16", max_context=64, max_tokens=2, depths=(8, 16)
    )
    filled = with_gates(latencies, (8, 16))
    assert filled.middle.gate(16) == EMBEDDINGS * latencies.middle.embed(1)
    assert len(filled.notes) == len(latencies.notes) + 1
    assert with_gates(filled, (8, 16)) is filled


def test_uniform_gates_cost_what_is_said() -> None:
    table = uniform_latencies(4, (2,), head=0.5, gate=0.25, max_tokens=2, max_context=8)
    assert (table.gate(2), table.head(2, 4)) == (0.25, 0.5)
