"""The latencies of a model on a device: measured, carried there, or from a datasheet.

Every table is an ordinary `adadecode.profiles.latency.LatencyTable`, linear between its points, so
that only points are carried. What was not measured (imported operator times lack heads,
verification, prefill and attention) is estimated from bytes, FLOPs and kernels. Beyond what was
measured the efficiency of the last measured point is held for a while, and ``notes`` say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DesignError, LatencyError, ProfileError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.kernel_interval import kernel_tables
from adadecode.sim.hardware.kernel_parts import kernel_parts
from adadecode.sim.hardware.kernel_power import kernel_joules
from adadecode.sim.hardware.launch_regime import KINDS, Regime
from adadecode.sim.hardware.launching import recorded_limits
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.roofline import Carrier
from adadecode.sim.hardware.timed_heads import TimedHeads


@dataclass(frozen=True, kw_only=True)
class DeviceLatencies:
    """Latencies of one model on one device.

    Attributes:
        device: Its name in the catalogue, or what the profile calls its machine.
        basis: ``measured``, ``carried`` or ``datasheet``.
        tables: The tables by corner (`adadecode.sim.hardware.latency_points.CORNERS`): always
            ``middle``, and all of them where work was carried, estimated or put together from
            kernels.
        notes: What was estimated or assumed, a sentence each.
        rate_notes: Why its figures may surprise next to those of another device
            (`adadecode.sim.hardware.precision.rate_notes`). Not part of ``--json``.
        regime: How kernels are started; None where the latencies are assumed, and of no engine.
        limits: ``host`` or ``device`` by kind of work: which decides how long it takes, as far as
            that is known.
        joules: What the work draws, by end (`adadecode.sim.hardware.kernel_power.ENDS`), as tables
            that hold joules in the place of seconds; empty where no kernel's power was measured.
    """

    device: str
    basis: str
    tables: Mapping[str, LatencyTable]
    notes: tuple[str, ...] = ()
    rate_notes: tuple[str, ...] = ()
    regime: Regime | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    joules: Mapping[str, LatencyTable] = field(default_factory=dict)

    @property
    def has_ends(self) -> bool:
        """Whether the latencies have ends of their own, and not the middle alone."""
        return len(self.tables) > 1

    @property
    def middle(self) -> LatencyTable:
        """The table that is expected."""
        return self.tables["middle"]


def measured_latencies(
    profile: Profile, origin: Provenance | None = None, form: HeadForm | None = None
) -> DeviceLatencies:
    """Return the latencies of a recording, on the machine it was made on.

    Args:
        profile: The recording.
        origin: Its provenance, where the caller has it.
        form: Form of the heads, which was timed; that of the heads that decoded by default.

    Raises:
        ProfileError: If the profile holds imported operator times, which price no design, or does
            not say what its kernels rest on.
    """
    origin = origin or Provenance.of(profile)
    if not origin.attends:
        raise ProfileError(
            f"{profile.path} holds times of single operators, without attention, heads and "
            "verification: name a device to carry them to with --to"
        )
    timed = TimedHeads.of(profile, origin, form or origin.timed_form)
    return as_timed(profile, origin, timed, timed.table)


def as_timed(
    profile: Profile, origin: Provenance, timed: TimedHeads, table: LatencyTable
) -> DeviceLatencies:
    """Return latencies as they were measured.

    Args:
        profile: The recording.
        origin: Its provenance.
        timed: What was measured.
        table: The latencies of it.

    Raises:
        ProfileError: If the profile does not say what its kernels rest on.
    """
    pieces = kernel_parts(profile)
    limit = None if origin.device is None else origin.device.tdp_watts
    joules = kernel_joules(pieces, table, limit, origin.n_devices)
    notes = list(timed.notes(origin))
    if origin.n_devices > 1:
        notes.append(f"{origin.machine} share every layer (tensor parallel)")
    if joules:
        notes.append("the power of kernels was measured, each alone and again and again")
    return DeviceLatencies(
        device=origin.machine,
        basis="measured",
        tables=kernel_tables(pieces, table),
        notes=tuple(notes),
        regime=origin.regime,
        limits=timed_limits(timed, origin),
        joules=joules,
    )


def timed_limits(timed: TimedHeads, origin: Provenance) -> dict[str, str]:
    """Return what decided how long the work of a recording took; empty where nobody knows.

    Args:
        timed: What was measured.
        origin: Its provenance.
    """
    if origin.regime is None or origin.on_cpu:
        return {}
    if origin.regime is not Regime.EAGER:
        return dict.fromkeys(KINDS, "device")
    if origin.device is None or origin.shape is None or origin.precision is None:
        return {}
    dtype = origin.precision.activations
    carrier = Carrier(
        source=origin.device,
        target=origin.device,
        source_dtype=dtype,
        target_dtype=dtype,
        eager=True,
    )
    cost = origin.precision.cost(origin.shape, timed.form)
    return recorded_limits(timed.table, carrier, cost, attends=origin.attends)


def round_down_note(now: Precision) -> str:
    """Return a remark on quantised weights; empty where there are none."""
    return "; quantised weights take fewer bytes and no other time" if now.narrow else ""


def head_form_note(timed: HeadForm, heads: HeadForm) -> str:
    """Return a remark on heads of another form than those that were timed."""
    if heads == timed:
        return "" if heads.is_full else f"; heads {heads.label}"
    return f"; heads {heads.label}, which took {timed.label} ones' time for each byte and kernel"


def check_range(
    shape: ModelShape, max_context: int, max_tokens: int, depths: Iterable[int]
) -> None:
    """Raise LatencyError or DesignError for a context, batch or head that makes no sense."""
    if max_context < 1 or max_tokens < 1:
        raise LatencyError(
            f"wanted a context and a batch of 1 or more, got {max_context} and {max_tokens}: "
            "give those that will run"
        )
    if wrong := [depth for depth in depths if not 1 <= depth < shape.n_layers]:
        raise DesignError(
            f"no head can be at depth {wrong[0]} of {shape.name}: "
            f"depths run from 1 to {shape.n_layers - 1}"
        )


def doubling_sizes(start: int, largest: int, before: Sequence[int] = ()) -> list[int]:
    """Return ``before``, and then sizes above ``start``, each twice the last, up to the largest."""
    marks = list(before)
    while start < largest:
        start = min(2 * start, largest)
        marks.append(start)
    return marks


def context_marks(shape: ModelShape, max_context: int) -> list[int]:
    """Return contexts between which the time to attend is linear; a window bends it."""
    return sorted({1, max_context, *(one for one in shape.windows if one < max_context)})
