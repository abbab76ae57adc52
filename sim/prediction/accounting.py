"""What one committed token costs whatever the device: FLOPs and bytes, split into what came of them. And joules, between honest ends.

The paper leaves open what drafts that are thrown away cost. A rejection drops every position after the last one that held: the layers already run on these
positions, the rows verified beyond them, and the heads asked there were for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.errors import ProfileError, ShapeError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Run, Verify
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.measurements.runs import timed_runs
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.pricer import Pricer
from adadecode.sim.replay.simulation import ReplayedRun, replay

Measure = Literal["flops", "bytes", "weights", "cache", "activations"]
"""What of a `adadecode.sim.hardware.cost_model.Cost` is counted."""

IDLE_SHARE = 0.04
"""Share of its board power that a device draws doing nothing, at the least: 17 of 425 W on an RTX 4090 D (https://github.com/hongping-zh/ecocompute); 17.5 of 350 W on
an RTX 3090 and 62 of 400 W on an A100 (https://github.com/chuyishang/inference-energy)."""

JOULES_PER_BYTE = 8 * 3.9e-12
"""The least for a byte from or to memory, the DRAM alone: 3.9 pJ a bit for HBM2 (O'Connor et al., Fine-Grained DRAM, MICRO 2017). Micron tells 6.0 for HBM2E, 7.25 for
GDDR6X, 7.5 for GDDR6 (https://www.micron.com/products/ultra-bandwidth-solutions); the way through a GPU is not in these."""

JOULES_PER_FLOP = 0.1e-12
"""The least for a FLOP in a tensor core: half of the 0.22 pJ that FP16 was measured to add on an RTX 3090 (https://github.com/bang001/gpupower0701), for
narrower types and newer chips. An assumption; decoding hardly depends on it."""


class CostPrices:
    """Prices work in FLOPs or bytes instead of seconds: a `adadecode.sim.replay.pricer.Latencies`, so that whatever prices a replay counts these too.

    Nothing outside the model costs anything, and a layer costs the same however warm it is.
    """

    reuses: tuple[int, ...] = ()
    """As `adadecode.profiles.latency.LatencyTable.reuses`: none makes a difference."""

    def __init__(self, cost: ModelCost, measure: Measure) -> None:
        self.cost, self.measure = cost, measure

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """Of decoder layers start..stop-1 on n_tokens, the last at position context - 1."""
        return (stop - start) * self._of(self.cost.layer(n_tokens, context))

    def head(self, depth: int, reuse: int) -> float:
        """Of one check."""
        return self._of(self.cost.head())

    def verify(self, n_tokens: int) -> float:
        """Of the last norm, LM head and argmax over n_tokens rows."""
        return self._of(self.cost.verify(n_tokens))

    def embed(self, n_tokens: int) -> float:
        """Of the embedding of n_tokens."""
        return self._of(self.cost.embed(n_tokens))

    def prefill(self, n_tokens: int) -> float:
        """Of a prompt of n_tokens."""
        return self._of(self.cost.prefill(n_tokens))

    def host(self) -> float:
        """Nothing."""
        return 0.0

    def _of(self, cost: Cost) -> float:
        return float(getattr(cost, self.measure))


@dataclass(frozen=True, kw_only=True)
class Split:
    """An amount by what came of it.

    useful: layers and embedding on positions that stayed. discarded: the same on positions that a rejection dropped. heads, heads_discarded: checks on
    either. verify, verify_discarded: rows of the last norm and LM head, up to the one that gave the extra token, and beyond it.
    """

    useful: float = 0.0
    discarded: float = 0.0
    heads: float = 0.0
    heads_discarded: float = 0.0
    verify: float = 0.0
    verify_discarded: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(asdict(self).values()))

    @property
    def wasted(self) -> float:
        """What nothing came of."""
        return self.discarded + self.heads_discarded + self.verify_discarded

    def __add__(self, other: Split) -> Split:
        return Split(
            **{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        )

    def __truediv__(self, by: float) -> Split:
        return Split(**{one.name: getattr(self, one.name) / by for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """One design on some prompts, decoding alone: FLOPs and bytes per committed token, all outputs but the first of each prompt.

    tokens: how many these are. modelled_share: of the FLOPs, in rounds that rest on branches nobody recorded.
    """

    design: Design
    prompts: int
    tokens: int
    flops: Split
    bytes: Split
    modelled_share: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON: per committed token."""
        return {
            "design": self.design.label,
            "prompts": self.prompts,
            "tokens": self.tokens,
            "modelled_share": self.modelled_share,
            **{
                f"{name}_per_token": {**asdict(split), "total": split.total, "wasted": split.wasted}
                for name, split in (("flops", self.flops), ("bytes", self.bytes))
            },
        }


def accounting(
    trace: Trace,
    design: Design,
    cost: ModelCost,
    prompts: Iterable[int] | None = None,
    *,
    model: BranchModel | None = None,
) -> Accounting:
    """Replay a design on prompts (all, by default) and say what became of every FLOP and byte.

    Of a batch of which some positions were dropped, each position is charged the same: so it is with FLOPs; of the bytes, the weights would have been
    read without the dropped ones too. Raises DesignError, ShapeError where model and trace differ in layers, ProfileError without a second output.
    """
    if cost.shape.n_layers != trace.n_layers:
        raise ShapeError(
            f"{cost.shape.name} has {cost.shape.n_layers} layers, the trace {trace.n_layers}: name the model that was recorded"
        )
    runs = replay(trace, CostPrices(cost, "flops"), design, prompts, model=model, events=True)
    tokens = sum(run.n_tokens - 1 for run in runs)
    if tokens == 0:
        raise ProfileError(
            f"nothing to account for: none of {len(runs)} prompts has a second output token: profile longer outputs"
        )
    boundaries = design.boundaries(trace.n_layers)
    flops, moved = (
        split_costs(runs, boundaries, CostPrices(cost, measure)) / tokens for measure in _MEASURES
    )
    return Accounting(
        design=design,
        prompts=len(runs),
        tokens=tokens,
        flops=flops,
        bytes=moved,
        modelled_share=sum(run.modelled_seconds for run in runs)
        / sum(run.seconds for run in runs),  # "seconds" are FLOPs here
    )


_MEASURES: tuple[Measure, ...] = ("flops", "bytes")


def split_costs(
    runs: Sequence[ReplayedRun], boundaries: Sequence[int], prices: CostPrices
) -> Split:
    """What became of all work of these runs, which must hold their events. boundaries: the design's segments, 0..L."""
    pricer = Pricer(prices, boundaries)
    sums = dict.fromkeys((one.name for one in fields(Split)), 0.0)
    for run in runs:
        for kind, work, dropped in _fates(run):
            amount = pricer(work)
            sums[kind] += amount * (1 - dropped)
            sums[_DISCARDED[kind]] += amount * dropped
    return Split(**sums)


_DISCARDED = {"useful": "discarded", "heads": "heads_discarded", "verify": "verify_discarded"}


def _fates(run: ReplayedRun) -> Iterator[tuple[str, Run | Check | Verify, float]]:
    """Each piece of work in order: its kind as `Split` names it, and the share of its positions that were dropped.

    Of a round from position p with a drafts accepted, positions p..p + a stay: the a-th draft stands on the last of them, and the extra token comes of it.
    """
    rounds = iter(run.rounds)
    kept = 0  # positions below it stay; 0: the next round has not begun
    for event in run.events:
        if not kept:
            done = next(rounds)
            kept = done.start + done.accepted + 1
        work = event.work
        if isinstance(work, Check):
            yield "heads", work, float(work.position >= kept)
            continue
        yield (
            "useful" if isinstance(work, Run) else "verify",
            work,
            max(0, work.stop - max(work.start, kept)) / (work.stop - work.start),
        )
        if isinstance(work, Verify):
            kept = 0


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Joules between two ends; middle: their geometric mean, for want of anything better founded."""

    low: float
    middle: float
    high: float


def energy_bounds(
    device: Device, seconds: float, flops: float, bytes_moved: float
) -> Energy | None:
    """Joules of work that takes so long and does so much; None where the device's watts are unknown.

    high: board power all the time. low: what it draws idle, and the least that memory and tensor cores are known to take; never above high. Decoding lies
    in between: an H200 of 700 W draws 137 to 300 W in it (https://arxiv.org/abs/2605.11999); the middle is 170 W at a tenth of its bandwidth, 350 W at all of it.
    """
    if device.tdp_watts is None:
        return None
    high = device.tdp_watts * seconds
    low = min(high, IDLE_SHARE * high + bytes_moved * JOULES_PER_BYTE + flops * JOULES_PER_FLOP)
    return Energy(low=low, middle=math.sqrt(low * high), high=high)


def measured_power(profile: Profile) -> dict[str, float]:
    """Watts of each design, by its label: the joules of its timed runs, prefill included, over their seconds. Empty where the device did not tell."""
    joules: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for (design, _), runs in timed_runs(profile).items():
        told = runs[runs["energy_j"].notna()]
        if len(told):
            joules[design.label] = joules.get(design.label, 0.0) + float(told["energy_j"].sum())
            seconds[design.label] = seconds.get(design.label, 0.0) + float(
                (told["prefill_s"] + told["decode_s"]).sum()
            )
    return {label: joules[label] / seconds[label] for label in joules}
