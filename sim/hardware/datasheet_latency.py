"""Latency tables estimated from a datasheet alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.hardware.device_latency import (
    DeviceLatencies,
    check_range,
    context_marks,
    doubling_sizes,
    head_form_note,
    round_down_note,
)
from adadecode.sim.hardware.latency_points import Points
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.launching import (
    SMALL_KERNELS_NOTE,
    check_regime,
    hidden_limits,
    host_of,
)
from adadecode.sim.hardware.precision import Precision, ordinary, rate_notes
from adadecode.sim.hardware.roofline import (
    Interval,
    estimate,
    scatter_notes,
    unmeasured_words,
)

EVERY = 16
"""Every batch up to this is a point of its own; beyond, each is twice the last."""


def datasheet_latencies(
    shape: ModelShape,
    target: Device,
    *,
    dtype: str,
    max_context: int,
    max_tokens: int,
    depths: Sequence[int],
    form: HeadForm = FULL,
    gates: bool = False,
    regime: Regime | None = None,
) -> DeviceLatencies:
    """Estimate a model's latencies on a device from its datasheet and public benchmarks alone.

    Args:
        shape: The model.
        target: The device.
        dtype: Format of the weights.
        max_context: Longest context (and prompt) that will be needed.
        max_tokens: Largest batch that will be needed.
        depths: Depths of the heads.
        form: Form of the heads.
        gates: Whether the heads have gates.
        regime: How kernels are started; by default by a production engine, and on a CPU by itself.

    Raises:
        DeviceError: If the device lacks the format, or is a CPU and has another regime.
        DesignError: If a head lies outside the model.
        LatencyError: If a context or batch is below 1.
    """
    check_range(shape, max_context, max_tokens, depths)
    now = Precision.of(dtype, ordinary(target))
    check_regime(target, regime)
    regime = regime or (Regime.EAGER if target.is_cpu else Regime.ENGINE)
    fused = Regime.ENGINE if target.is_cpu else regime
    guess = EstimatedLatencies(
        cost=now.cost(shape, form, fused), device=target, dtype=now.activations
    )
    host = host_of(target, shape.n_layers, regime)
    points = Points(n_layers=shape.n_layers, host=host)
    for n_tokens in _batches(max_tokens):
        for context in context_marks(shape, max_context):
            seconds = {
                one: guess.of(guess.cost.layer(n_tokens, context, shape.each_layer.index(one)))
                for one in shape.kinds
            }
            for layer, one in enumerate(shape.each_layer):
                points.add(
                    "layer",
                    seconds[one],
                    layer=layer,
                    n_tokens=n_tokens,
                    context=context,
                    reuse=shape.n_layers,
                )
    for depth in depths:
        points.add("head", guess.of(guess.cost.head()), layer=depth, reuse=shape.n_layers)
        if gates:
            points.add("gate", guess.of(guess.cost.gate()), layer=depth)
    for kind in ("verify", "embed", "prefill"):
        guess.add(points, kind, max_context if kind == "prefill" else max_tokens)
    points.add("host", Interval.exactly(0.0))
    notes = (
        f"{shape.name} in {now} on {target.name}, estimated from bytes, FLOPs and kernels, by "
        f"datasheet and public benchmarks, {unmeasured_words(target)}: nothing was measured"
        + round_down_note(now)
        + head_form_note(form, form),
        host.note if host else _HIDDEN[fused],
        *scatter_notes(target),
    )
    return DeviceLatencies(
        device=target.name,
        basis="datasheet",
        tables=points.tables(),
        notes=notes,
        rate_notes=rate_notes(target, now.activations),
        regime=regime,
        limits=host.limits if host else hidden_limits(target),
    )


_HIDDEN = {
    Regime.ENGINE: "no time of the host: an engine that hides it",
    Regime.GRAPHS: f"no time of the host: graphs. {SMALL_KERNELS_NOTE}",
}


def _batches(largest: int) -> list[int]:
    """Return 1, 2, 3 ... ``EVERY``, then each twice the last, and the largest."""
    return doubling_sizes(min(largest, EVERY), largest, list(range(1, min(largest, EVERY) + 1)))


@dataclass(frozen=True, kw_only=True)
class EstimatedLatencies:
    """Estimates of work on a device where none was measured.

    Attributes:
        cost: The cost of each piece of work.
        device: The device.
        dtype: The format that products run in.
    """

    cost: ModelCost
    device: Device
    dtype: str

    def of(self, cost: Cost) -> Interval:
        """Return the seconds of work with this cost."""
        return estimate(cost, self.device, self.dtype)

    def attention(self, n_tokens: int, context: int, layer: int) -> Interval:
        """Return the seconds that a layer attends to its context."""
        whole, without = (self.cost.layer(n_tokens, seen, layer) for seen in (context, 0))
        return self.of(
            Cost(
                cache=whole.cache,
                flops=whole.flops - without.flops,
                kernels=whole.kernels - without.kernels,
                small_kernels=whole.small_kernels - without.small_kernels,
            )
        )

    def add(self, points: Points, kind: str, largest: int) -> None:
        """Add the points of a kind of work that depends on the number of tokens alone."""
        for n_tokens in _batches(largest):
            points.add(kind, self.of(getattr(self.cost, kind)(n_tokens)), n_tokens=n_tokens)
