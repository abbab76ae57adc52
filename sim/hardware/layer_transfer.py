"""The seconds of one decoder layer, carried to another device and compared with measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.errors import DeviceError, LatencyError, ShapeError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.roofline import Carrier


def check_same_layers(
    profile: Profile, measured: Profile, target: Device, model: str | None
) -> None:
    """Check that a measured profile can be compared with what is carried from another one.

    Args:
        profile: Where latencies are carried from.
        measured: The profile to compare with.
        target: The device that latencies are carried to.
        model: The model of ``profile``, where it does not hold its config.

    Raises:
        DeviceError: If the measured profile is of several devices that share every layer.
        LatencyError: If it is of another device.
        ShapeError: If it is of other layers.
    """
    there = Provenance.of(measured)
    there.check_alone()
    with suppress(DeviceError):  # a machine that the catalogue lacks may be the target
        if (device := there.require_device()).name != target.name:
            raise LatencyError(
                f"{measured.path} was measured on {device.name}, the prediction is for "
                f"{target.name}: give one of the same device"
            )
    ours, theirs = (
        (shape.hidden_size, set(shape.kinds))
        for shape in (one.require_shape() for one in (Provenance.of(profile, model=model), there))
    )
    if ours != theirs:
        raise ShapeError(
            f"{measured.path} is of other layers than {profile.path}: give one of the same model"
        )


def layer_rows(
    profile: Profile,
    target: Device,
    measured: Profile | None,
    tokens: Sequence[int],
    *,
    source: str | None = None,
    model: str | None = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """Return one row for each of these batches that was measured.

    Args:
        profile: Where latencies are carried from.
        target: The device that they are carried to.
        measured: A profile of that device to compare with, or None.
        tokens: The batches wanted, in tokens.
        source: As in `adadecode.sim.hardware.provenance.Provenance.of`.
        model: Likewise.
        dtype: Format of the weights on the target; as recorded by default.

    Returns:
        For each batch ``n_tokens``, seconds of the middle layer (``source_s``, ``predicted_s``,
        ``low_s``, ``high_s``) and ``launch_bound``: whether the source waited for its host, and so
        the target will. Where measured, also ``measured_s``, ``error`` (relative) and ``covered``.

    Raises:
        LatencyError: If none of the batches was measured.
        DeviceError: If one of the devices is a CPU and the other none, or several share the layers.
    """
    origin = Provenance.of(profile, source, model)
    device, shape, recorded = (
        origin.require_device(),
        origin.require_shape(),
        origin.require_precision(),
    )
    origin.check_carries_to(target)
    origin.check_alone()
    here = profile.latency_table
    there = None if measured is None else measured.latency_table
    known = _batches(here) if there is None else _batches(here) & _batches(there)
    if not (found := [n for n in tokens if n in known]):
        raise LatencyError(
            f"no batch of {tokens[0]}..{tokens[-1]} tokens was measured: choose others with "
            "--tokens"
        )
    wanted = recorded.with_weights(dtype)
    carrier = Carrier(
        source=device,
        target=target,
        source_dtype=recorded.activations,
        target_dtype=wanted.activations,
        eager=origin.is_eager,
    )
    layer, context = profile.n_layers // 2, here.contexts[0]
    rows: list[dict[str, Any]] = []
    for n in found:
        seconds = here.layer(layer, n, context, profile.n_layers)
        cost = recorded.cost(shape).layer(n, context, layer)
        carried = carrier.carry(seconds, cost, wanted.cost(shape).layer(n, context, layer))
        row = {
            "n_tokens": n,
            "source_s": seconds,
            "predicted_s": carried.middle,
            "low_s": carried.low,
            "high_s": carried.high,
            "launch_bound": carrier.waits(seconds, cost),
        }
        if there is not None:
            truth = there.layer(min(layer, there.n_layers - 1), n, context, there.n_layers)
            row |= {
                "measured_s": truth,
                "error": carried.middle / truth - 1,
                "covered": carried.low <= truth <= carried.high,
            }
        rows.append(row)
    return rows


def _batches(table: LatencyTable) -> set[int]:
    """Return the batches, in tokens, that layers were measured with."""
    return set(table.points.loc[table.points["kind"] == "layer", "n_tokens"])


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return how far the rows of `layer_rows` lie from what was measured.

    Returns:
        ``median_error`` and ``p90_error`` of the errors' magnitudes, and ``coverage``, the share of
        the intervals that hold what was measured; each None without measurements.
    """
    errors = [abs(row["error"]) for row in rows if "error" in row]
    if not errors:
        return {"median_error": None, "p90_error": None, "coverage": None}
    covered = [row["covered"] for row in rows]
    return {
        "median_error": float(np.median(errors)),
        "p90_error": float(np.percentile(errors, 90)),
        "coverage": sum(covered) / len(covered),
    }
