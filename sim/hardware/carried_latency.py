"""Carry latency tables from the device they were measured on to another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.datasheet_latency import EstimatedLatencies
from adadecode.sim.hardware.device_latency import (
    DeviceLatencies,
    as_timed,
    check_range,
    context_marks,
    doubling_sizes,
    head_form_note,
    round_down_note,
    timed_limits,
)
from adadecode.sim.hardware.gate_latency import gate_note, gate_seconds
from adadecode.sim.hardware.host_time import HostTime
from adadecode.sim.hardware.latency_points import Points
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.launching import RegimeShift, check_regime, hidden_limits
from adadecode.sim.hardware.precision import rate_notes
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.roofline import Carrier, Interval, scatter_notes, unmeasured_words
from adadecode.sim.hardware.timed_heads import TimedHeads

REACH = 8
"""An efficiency is held up to this many times the largest batch or context that was measured.

These are three doublings, within which a product that reads its weights still reads them, and
beyond which it may not.
"""

LARGER = "record larger batches with --max-tokens, or lower the cap"


CARRIED_KINDS = ("embed", "verify", "prefill", "host")
"""Kinds of work that a complete recording holds besides layers and heads."""


def carried_latencies(
    profile: Profile,
    target: Device,
    *,
    origin: Provenance | None = None,
    dtype: str | None = None,
    max_context: int,
    max_tokens: int,
    depths: Sequence[int],
    form: HeadForm | None = None,
    gates: bool = False,
    regime: Regime | None = None,
) -> DeviceLatencies:
    """Carry a profile's latencies to ``target``.

    The device and number format of the recording, with all of that measured, give the recording
    itself.

    Args:
        profile: The recording.
        target: The device to carry them to.
        origin: The provenance of the recording, where the caller has it.
        dtype: Format of the weights on the target; as recorded by default.
        max_context: Longest context (and prompt) that will be needed.
        max_tokens: Largest batch that will be needed.
        depths: Depths of the heads.
        form: Form of the heads; as timed by default.
        gates: Whether the heads have gates.
        regime: How kernels are started on the target; by default as in the recording.

    Raises:
        DeviceError: If a device is unknown or lacks the format, or one is a CPU and the other none;
            or if there is no such regime on the target, or the recording is of none, or of several
            devices that share every layer.
        ShapeError: If the shape of the model is unknown.
        DesignError: If a head lies outside the model.
        LatencyError: If something lies farther than `REACH` times beyond what was measured.
    """
    origin = origin or Provenance.of(profile)
    here, shape, was = origin.require_device(), origin.require_shape(), origin.require_precision()
    origin.check_carries_to(target)
    origin.check_regime(regime)
    check_regime(target, regime)
    check_range(shape, max_context, max_tokens, depths)
    now = was.with_weights(dtype)
    heads = origin.timed_form if form is None else form
    heard = TimedHeads.of(profile, origin, heads)
    timed = heard.form
    was_regime = origin.regime or Regime.ENGINE
    shift = RegimeShift(was=was_regime, now=regime or was_regime)
    carrier = Carrier(
        source=here,
        target=target,
        source_dtype=was.activations,
        target_dtype=now.activations,
        eager=origin.is_eager or shift.unhosts,
        hides_host=shift.unhosts,
    )
    work = CarriedLatencies(
        table=heard.table,
        attends=origin.attends,
        carrier=carrier,
        cost=was.cost(shape, timed, shift.was_fused),
        target_cost=now.cost(shape, heads, shift.now_fused),
        host=HostTime(n_layers=shape.n_layers, target=target) if shift.hosts else None,
        max_context=max_context,
        max_tokens=max_tokens,
        depths=tuple(depths),
        gates=gates,
    )
    alike = here.name == target.name and now == was and heads == timed and not shift.changes
    limits = hidden_limits(target) if shift.changes else timed_limits(heard, origin)
    if alike and work.is_complete:
        found = as_timed(profile, origin, heard, work.table)
        name = found.device if origin.n_devices > 1 else target.name
        return replace(found, device=name, limits=limits)
    origin.check_alone()
    carried = work.latencies(
        how=f"carried from {here.name} ({was}) to {target.name} ({now})"
        + round_down_note(now)
        + head_form_note(timed, heads)
    )
    return replace(
        carried,
        notes=(*carried.notes, *shift.notes, *([work.host.note] if work.host else [])),
        regime=regime or origin.regime,
        limits=carried.limits or limits,
    )


@dataclass(kw_only=True)
class CarriedLatencies:
    """Carries the points of a table to another device, and takes notes of what it assumes.

    Attributes:
        table: The measured latencies.
        attends: Whether the measured layers attend to their context.
        carrier: Carries single times.
        cost: The cost of work where it was measured.
        target_cost: The cost of work on the target.
        host: The host that starts the work of the target; None where that is in what was measured.
        max_context: Longest context that will be needed.
        max_tokens: Largest batch that will be needed.
        depths: Depths of the heads.
        gates: Whether the heads have gates.
        notes: What was estimated or assumed so far.
    """

    table: LatencyTable
    attends: bool
    carrier: Carrier
    cost: ModelCost
    target_cost: ModelCost
    host: HostTime | None
    max_context: int
    max_tokens: int
    depths: tuple[int, ...]
    gates: bool = False
    notes: list[str] = field(default_factory=list, init=False)

    def latencies(self, how: str) -> DeviceLatencies:
        """Return the latencies on the target; ``how`` is the first note."""
        self.notes.append(how)
        points = Points(n_layers=self.table.n_layers, host=self.host)
        self._layers(points)
        self._heads(points)
        self._gates(points)
        for kind in ("verify", "embed"):
            self._by_tokens(points, kind)
        self._prefill(points)
        host = self._rows("host").get(1)
        if host is None:
            self.notes.append(
                "no time of the host was measured, and none is counted: an engine that hides it"
            )
        outside = host or 0.0
        least = 0.0 if self.carrier.hides_host else outside
        points.add("host", Interval(low=least, middle=outside, high=outside))
        return DeviceLatencies(
            device=self.carrier.target.name,
            basis="carried",
            tables=points.tables(),
            notes=tuple(self.notes),
            rate_notes=rate_notes(self.carrier.target, self.carrier.target_dtype),
            limits={} if self.host is None else self.host.limits,
        )

    @property
    def is_complete(self) -> bool:
        """Whether all that will be needed was measured."""
        kinds, contexts = set(self.table.points["kind"]), self.table.contexts
        measured = (
            self.attends
            and kinds >= {"layer", *CARRIED_KINDS}
            and set(self.depths) <= set(self._measured_heads)
            and (not self.gates or set(self.depths) <= set(self.table.gate_depths))
        )
        return measured and contexts[-1] >= self.max_context and self._largest >= self.max_tokens

    @cached_property
    def _guess(self) -> EstimatedLatencies:
        return EstimatedLatencies(
            cost=self.target_cost, device=self.carrier.target, dtype=self.carrier.target_dtype
        )

    @cached_property
    def _lines(self) -> dict[int, dict[int, dict[int, dict[int, float]]]]:
        """Measured seconds of layers, by layer, reuse, n_tokens and context."""
        lines: dict[int, dict[int, dict[int, dict[int, float]]]] = {}
        measured = self.table.points[self.table.points["kind"] == "layer"]
        columns = (
            measured[name].tolist() for name in ("layer", "reuse", "n_tokens", "context", "seconds")
        )
        for layer, reuse, n_tokens, context, seconds in zip(*columns, strict=True):
            lines.setdefault(layer, {}).setdefault(reuse, {}).setdefault(n_tokens, {})[context] = (
                seconds
            )
        if missing := sorted(set(range(self.table.n_layers)) - set(lines)):
            known = ", ".join(map(str, sorted(lines))) or "none"
            raise LatencyError(
                f"no latency for layer {missing[0]} (measured {known}): profile again"
            )
        return lines

    @cached_property
    def _largest(self) -> int:
        """The largest batch that every layer was measured with after a walk of the whole stack."""
        return min(max(walks[max(walks)]) for walks in self._lines.values())

    @cached_property
    def _measured_heads(self) -> dict[int, dict[int, float]]:
        """Measured seconds of heads, by depth and reuse."""
        measured = self.table.points[self.table.points["kind"] == "head"]
        heads: dict[int, dict[int, float]] = {}
        for depth, reuse, seconds in zip(
            *(measured[name].tolist() for name in ("layer", "reuse", "seconds")), strict=True
        ):
            heads.setdefault(depth, {})[reuse] = seconds
        return heads

    def _rows(self, kind: str) -> dict[int, float]:
        """Return the measured seconds of a kind of work by number of tokens."""
        measured = self.table.points[self.table.points["kind"] == kind]
        return dict(zip(measured["n_tokens"].tolist(), measured["seconds"].tolist(), strict=True))

    def _layers(self, points: Points) -> None:
        if self.attends:
            self._reach(
                "positions of context",
                self.table.contexts[-1],
                self.max_context,
                "record longer contexts, or take shorter prompts",
            )
        else:
            self._note_estimate("attention")
        self._reach("tokens at once", self._largest, self.max_tokens, LARGER)
        waited = measured = 0
        for layer, walks in self._lines.items():
            for reuse, lines in walks.items():
                for n_tokens, measured_at in self._batches(
                    lines, whole_walk=reuse == max(walks)
                ).items():
                    line = lines[measured_at]
                    self._line(points, line, measured_at, layer, n_tokens, reuse)
                    if n_tokens == measured_at:
                        waited += sum(
                            self.carrier.waits(seconds, self.cost.layer(n_tokens, context, layer))
                            for context, seconds in line.items()
                        )
                        measured += len(line)
        source = self.carrier.source.name
        if waited:
            stays = (
                "what the device took is estimated, and was all of that time at most"
                if self.carrier.hides_host
                else "they stay as long"
            )
            self.notes.append(
                f"{waited} of {measured} times of layers were taken for waiting on the host, "
                f"{source} needing far less: {stays}"
            )
        if self.carrier.starts_itself:
            self.notes.append(
                f"{source} starts its work itself, in a share of the time that nobody measured: "
                "the interval holds all of it, which stays as long, and none of it"
            )
        if source != self.carrier.target.name:
            self.notes.extend(scatter_notes(self.carrier.source, self.carrier.target))
        if source != self.carrier.target.name and len(self.table.reuses) > 1:
            self.notes.append(
                f"a layer that runs again soon gains as much as on {source}, "
                "whose caches are others"
            )

    def _batches(self, lines: Iterable[int], *, whole_walk: bool) -> dict[int, int]:
        """Return the batches of points, and the measured batch that stands for each.

        Args:
            lines: The batches that were measured.
            whole_walk: Whether they were measured in a walk of the whole stack, which stands for
                shorter walks where these were not measured.
        """
        tokens = _needed(lines, self.max_tokens)
        wanted = {n_tokens: n_tokens for n_tokens in tokens}
        if whole_walk:
            larger = doubling_sizes(tokens[-1], self.max_tokens)
            wanted |= dict.fromkeys(larger, tokens[-1])
            if tokens[0] > 1:
                wanted[1] = tokens[0]
        return wanted

    def _line(
        self,
        points: Points,
        line: Mapping[int, float],
        measured_at: int,
        layer: int,
        n_tokens: int,
        reuse: int,
    ) -> None:
        """Add the points of one layer and batch at every context."""
        for context, seen in self._contexts(line).items():
            seconds = self._layer(layer, line[seen], (measured_at, seen), (n_tokens, context))
            points.add(
                "layer",
                seconds,
                layer=layer,
                n_tokens=n_tokens,
                context=context,
                reuse=reuse,
            )

    def _reach(self, what: str, most: int, needed: int, todo: str) -> None:
        """Note that an efficiency is held. Raise LatencyError for what lies too far beyond."""
        if needed > REACH * most:
            raise LatencyError(
                f"no latency for {needed} {what} on {self.carrier.target.name}: "
                f"measured up to {most}, and held up to {REACH} times that: {todo}"
            )
        if needed > most:
            self.notes.append(
                f"beyond {most} {what}, up to {needed}, the efficiency at {most} is held: "
                "none were measured"
            )

    def _contexts(self, line: Mapping[int, float]) -> dict[int, int]:
        """Return the contexts of points, and the measured context that stands for each."""
        shape = self.target_cost.shape
        if not self.attends:
            return dict.fromkeys(context_marks(shape, self.max_context), 0)
        measured = _needed(line, self.max_context)
        beyond = [
            context for context in context_marks(shape, self.max_context) if context > measured[-1]
        ]
        return (
            {context: context for context in measured}
            | dict.fromkeys(beyond, measured[-1])
            | ({1: measured[0]} if measured[0] > 1 else {})
        )

    def _layer(
        self, layer: int, seconds: float, measured: tuple[int, int], wanted: tuple[int, int]
    ) -> Interval:
        """Return the seconds of a layer on the target; measured and wanted: (n_tokens, context)."""
        if self.attends:
            return self.carrier.carry(
                seconds, self.cost.layer(*measured, layer), self.target_cost.layer(*wanted, layer)
            )
        bare = self.carrier.carry(
            seconds,
            self.cost.layer(measured[0], 0, layer),
            self.target_cost.layer(wanted[0], 0, layer),
        )
        return bare + self._guess.attention(*wanted, layer)

    def _heads(self, points: Points) -> None:
        measured, elsewhere, nowhere = self._measured_heads, [], []
        for depth in self.depths:
            walks = measured.get(depth)
            if walks is None and measured:
                walks = measured[min(measured, key=lambda other: abs(other - depth))]
                elsewhere.append(depth)
            for reuse, seconds in (walks or {}).items():
                carried = self.carrier.carry(seconds, self.cost.head(), self.target_cost.head())
                points.add("head", carried, layer=depth, reuse=reuse)
            if walks is None:
                points.add(
                    "head",
                    self._guess.of(self.target_cost.head()),
                    layer=depth,
                    reuse=self.table.n_layers,
                )
                nowhere.append(depth)
        if elsewhere:
            self.notes.append(
                f"no head was measured at {_listed(elsewhere)}: "
                "the nearest measured one stands for each"
            )
        if nowhere:
            self._note_estimate(f"heads at {_listed(nowhere)}")

    def _gates(self, points: Points) -> None:
        """Add the points of gates, as `gate_seconds` prices those that were not timed."""
        if not self.gates:
            return
        cost, target_cost = self.cost.gate(), self.target_cost.gate()
        if not self.table.gate_depths and 1 not in self._rows("embed"):
            for depth in self.depths:
                points.add("gate", self._guess.of(target_cost), layer=depth)
            self._note_estimate("gates")
            return
        for depth in self.depths:
            carried = self.carrier.carry(gate_seconds(self.table, depth), cost, target_cost)
            points.add("gate", carried, layer=depth)
        if note := gate_note(self.table, self.depths):
            self.notes.append(note)

    def _by_tokens(self, points: Points, kind: str) -> None:
        """Add the points of verification or embedding."""
        measured = self._rows(kind)
        if not measured:
            self._guess.add(points, kind, self.max_tokens)
            self._note_estimate({"verify": "verification", "embed": "the embedding"}[kind])
            return
        self._reach(f"tokens at once ({kind})", max(measured), self.max_tokens, LARGER)
        self._held(points, kind, measured, doubling_sizes(max(measured), self.max_tokens))

    def _prefill(self, points: Points) -> None:
        """Add the points of prompts up to the longest context.

        A prompt is no part of the time per token: beyond reach it is estimated, not refused.
        """
        measured = self._rows("prefill")
        if not measured:
            self._guess.add(points, "prefill", self.max_context)
            self._note_estimate("prefill")
            return
        longest = max(measured)
        within = min(self.max_context, REACH * longest)
        self._held(points, "prefill", measured, doubling_sizes(longest, within))
        for n_tokens in doubling_sizes(within, self.max_context):
            points.add(
                "prefill", self._guess.of(self.target_cost.prefill(n_tokens)), n_tokens=n_tokens
            )
        if self.max_context > longest:
            self.notes.append(
                f"prefill: beyond {longest} tokens the efficiency is held"
                + (f", beyond {within} estimated" if within < self.max_context else "")
            )

    def _held(
        self, points: Points, kind: str, measured: Mapping[int, float], beyond: Sequence[int]
    ) -> None:
        """Add measured points, one token, and larger ones by the efficiency of the last."""
        least, most = min(measured), max(measured)
        for n_tokens, at in (
            {n: n for n in measured}
            | dict.fromkeys(beyond, most)
            | ({1: least} if least > 1 else {})
        ).items():
            cost, target_cost = (
                getattr(self.cost, kind)(at),
                getattr(self.target_cost, kind)(n_tokens),
            )
            points.add(kind, self.carrier.carry(measured[at], cost, target_cost), n_tokens=n_tokens)

    def _note_estimate(self, what: str) -> None:
        self.notes.append(
            f"{what}: not measured, estimated from bytes and FLOPs, "
            f"{unmeasured_words(self.carrier.target)}"
        )


def _needed(measured: Iterable[int], largest: int) -> list[int]:
    """Return the measured sizes, rising, up to the first that reaches the largest."""
    rising = sorted(measured)
    return [n for i, n in enumerate(rising) if i == 0 or rising[i - 1] < largest]


def _listed(depths: Sequence[int]) -> str:
    return f"depth{'s' if len(depths) > 1 else ''} {', '.join(map(str, depths))}"
