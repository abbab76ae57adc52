"""The kernels that the points of a profile were put together from, as its manifest says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.manifest import section
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.kernel_tables.products import BASES, KernelTime
from adadecode.sim.hardware.latency_points import Points
from adadecode.sim.hardware.roofline import Interval

Place = tuple[str, int, int]
"""Kind, tokens and context of a piece of work."""

Parts = tuple[KernelTime, ...]


def kernel_parts(profile: Profile) -> dict[Place, Parts]:
    """Return the kernels of each piece of work; nothing where a profile is of no kernels.

    Raises:
        ProfileError: If the manifest says of its points what cannot be read.
    """
    pieces = section(profile.manifest, "settings").get("rests_on")
    if pieces is None:
        return {}
    try:
        return {
            (str(one["kind"]), int(one["n_tokens"]), int(one["context"])): tuple(
                map(_part, one["parts"])
            )
            for one in pieces
        }
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ProfileError(
            f"{profile.path} does not say what its latencies rest on (settings.rests_on of the "
            f"manifest: {error!r}): import it again"
        ) from error


def _part(found: Mapping[str, Any]) -> KernelTime:
    """Return a part. Raises KeyError, TypeError or ValueError where it is none."""
    watts = found.get("watts")
    part = KernelTime(
        str(found["part"]),
        float(found["seconds"]),
        str(found["basis"]),
        watts=None if watts is None else float(watts),
    )
    numbers = (part.seconds, 1.0 if part.watts is None else part.watts)
    if part.basis not in BASES or not all(math.isfinite(one) and one > 0 for one in numbers):
        raise ValueError(f"no part of a piece of work: {dict(found)}")
    return part


def points_of(
    table: LatencyTable,
    pieces: Mapping[Place, Parts],
    interval: Callable[[Parts, float], Interval],
) -> Points:
    """Return a point for each of a table, with the ends that its kernels give it.

    Args:
        table: The latencies.
        pieces: Their kernels.
        interval: Takes the kernels of a point, none where nothing is known of them, and its
            seconds; returns the figure of the point and its ends.
    """
    points = Points(n_layers=table.n_layers)
    columns = ("kind", "layer", "n_tokens", "context", "reuse", "seconds")
    for kind, layer, n_tokens, context, reuse, seconds in zip(
        *(table.points[name].tolist() for name in columns), strict=True
    ):
        points.add(
            kind,
            interval(pieces.get((kind, n_tokens, context), ()), seconds),
            layer=layer,
            n_tokens=n_tokens,
            context=context,
            reuse=reuse,
        )
    return points
