"""What one committed token costs whatever the device: FLOPs and bytes.

FLOPs and bytes are split into what came of them. The paper leaves open what drafts cost that are
thrown away. A rejection drops every position after the last one that held: the layers already run
on these positions, the rows verified beyond them, and the heads checked there were for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal

from adadecode.profiles.errors import ProfileError, ShapeError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Gate, Run, Verify, Work
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.measurements.runs import timed_runs
from adadecode.sim.prediction.gate_use import GateUse, gate_use
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.pricer import Pricer
from adadecode.sim.replay.simulation import ReplayedRun, replay

Measure = Literal["flops", "bytes", "weights", "cache", "activations"]
"""What of a `adadecode.sim.hardware.cost_model.Cost` is counted."""


class CostPrices:
    """Prices of work in FLOPs or bytes instead of seconds, each layer's by its own numbers.

    It has the form of `adadecode.sim.replay.pricer.Latencies`, so that whatever prices a replay can
    count these too. Nothing outside the model costs anything, and a layer costs the same however
    soon it runs again.
    """

    reuses: tuple[int, ...] = ()
    """See `adadecode.profiles.latency.LatencyTable.reuses`: none makes a difference."""

    def __init__(self, cost: ModelCost, measure: Measure) -> None:
        self.cost, self.measure = cost, measure
        self._groups = lru_cache(maxsize=None)(lambda start, stop: tuple(cost.groups(start, stop)))

    def layers(
        self,
        start: int,
        stop: int,
        n_tokens: int,
        context: int,
        reuse: int,  # noqa: ARG002 - part of the protocol
    ) -> float:
        """Price layers start..stop-1 on n_tokens, the last at position context - 1."""
        return sum(
            count * self._of(self.cost.layer(n_tokens, context, at))
            for at, count in self._groups(start, stop)
        )

    def head(self, depth: int, reuse: int) -> float:  # noqa: ARG002 - part of the protocol
        """Return the cost of one check of a head."""
        return self._of(self.cost.head())

    def gate(self, depth: int) -> float:  # noqa: ARG002 - part of the protocol
        """Return the cost of one question to a gate."""
        return self._of(self.cost.gate())

    def verify(self, n_tokens: int) -> float:
        """Price the last norm, LM head and argmax over n_tokens rows."""
        return self._of(self.cost.verify(n_tokens))

    def embed(self, n_tokens: int) -> float:
        """Price the embedding of n_tokens."""
        return self._of(self.cost.embed(n_tokens))

    def prefill(self, n_tokens: int) -> float:
        """Price the prefill of a prompt of n_tokens."""
        return self._of(self.cost.prefill(n_tokens))

    def host(self) -> float:
        """Return 0: the host does no work of the model."""
        return 0.0

    def _of(self, cost: Cost) -> float:
        return float(getattr(cost, self.measure))


@dataclass(frozen=True, kw_only=True)
class Split:
    """An amount of work by what came of it.

    Attributes:
        useful: Layers and embedding on positions that stayed.
        discarded: The same on positions that a rejection dropped.
        heads: Checks on positions that stayed.
        heads_discarded: Checks on positions that were dropped.
        verify: Rows of the last norm and LM head, up to the one that gave the extra token.
        verify_discarded: Rows beyond it.
        gates: Questions to gates on positions that stayed.
        gates_discarded: Questions to gates on positions that were dropped.
    """

    useful: float = 0.0
    discarded: float = 0.0
    heads: float = 0.0
    heads_discarded: float = 0.0
    verify: float = 0.0
    verify_discarded: float = 0.0
    gates: float = 0.0
    gates_discarded: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return float(sum(asdict(self).values()))

    @property
    def wasted(self) -> float:
        """The sum of the parts that nothing came of."""
        asked = self.heads_discarded + self.gates_discarded
        return self.discarded + asked + self.verify_discarded

    def parts(self, *, gates: bool) -> dict[str, float]:
        """Return the parts by name, those of gates where ``gates`` are asked."""
        parts = asdict(self)
        return parts if gates else {k: v for k, v in parts.items() if not k.startswith("gates")}

    def __add__(self, other: Split) -> Split:
        return Split(
            **{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        )

    def __truediv__(self, by: float) -> Split:
        return Split(**{one.name: getattr(self, one.name) / by for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """FLOPs and bytes per committed token of one design, decoding alone.

    Attributes:
        design: The design.
        prompts: Number of prompts.
        tokens: Committed tokens: all outputs but the first of each prompt.
        flops: FLOPs per committed token.
        bytes: Bytes per committed token.
        modelled_share: Share of the FLOPs in rounds that rest on branches that were not recorded.
        gates: What its gates did; None for a design that asks none.
    """

    design: Design
    prompts: int
    tokens: int
    flops: Split
    bytes: Split
    modelled_share: float
    gates: GateUse | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the account as JSON holds it, per committed token."""
        return {
            "design": self.design.label,
            "prompts": self.prompts,
            "tokens": self.tokens,
            "modelled_share": self.modelled_share,
            **{
                f"{name}_per_token": {
                    **split.parts(gates=bool(self.design.gates)),
                    "total": split.total,
                    "wasted": split.wasted,
                }
                for name, split in (("flops", self.flops), ("bytes", self.bytes))
            },
            **({} if self.gates is None else {"gates": self.gates.to_dict()}),
        }


def accounting(
    trace: Trace,
    design: Design,
    cost: ModelCost,
    prompts: Iterable[int] | None = None,
    *,
    model: BranchModel | None = None,
) -> Accounting:
    """Replay a design and account for every FLOP and byte.

    Of a batch of which some positions were dropped, each position is charged the same. So it is
    with FLOPs; of the bytes, the weights would have been read without the dropped ones too.

    Args:
        trace: The text.
        design: The design.
        cost: What work costs in the model.
        prompts: What to replay; by default all.
        model: The model of branches that were not recorded.

    Raises:
        DesignError: If the design needs a head that was not trained.
        ShapeError: If the model and the trace differ in layers.
        ProfileError: If no prompt has a second output token.
    """
    if cost.shape.n_layers != trace.n_layers:
        raise ShapeError(
            f"{cost.shape.name} has {cost.shape.n_layers} layers, the trace {trace.n_layers}: name "
            "the model that was recorded"
        )
    runs = replay(trace, CostPrices(cost, "flops"), design, prompts, model=model, events=True)
    tokens = sum(run.n_tokens - 1 for run in runs)
    if tokens == 0:
        raise ProfileError(
            f"nothing to account for: none of {len(runs)} prompts has a second output token: "
            "profile longer outputs"
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
        gates=gate_use(trace, design, runs) if design.gates else None,
    )


_MEASURES: tuple[Measure, ...] = ("flops", "bytes")


def split_costs(
    runs: Sequence[ReplayedRun], boundaries: Sequence[int], prices: CostPrices
) -> Split:
    """Split the work of some runs by what became of it.

    Args:
        runs: Replayed runs, which must hold their events.
        boundaries: The design's segments, 0..L.
        prices: What work costs.
    """
    pricer = Pricer(prices, boundaries)
    sums = dict.fromkeys((one.name for one in fields(Split)), 0.0)
    for run in runs:
        for kind, work, dropped in _fates(run):
            amount = pricer(work)
            sums[kind] += amount * (1 - dropped)
            sums[_DISCARDED[kind]] += amount * dropped
    return Split(**sums)


_DISCARDED = {
    "useful": "discarded",
    **{kind: f"{kind}_discarded" for kind in ("heads", "gates", "verify")},
}


def _fates(run: ReplayedRun) -> Iterator[tuple[str, Work, float]]:
    """Yield each piece of work in order, with its kind and the share of positions dropped.

    The kind is named as in `Split`. Of a round from position p with a drafts accepted, positions
    p..p + a stay: the a-th draft stands on the last of them, and the extra token comes of it.
    """
    rounds = iter(run.rounds)
    kept = 0  # positions below it stay; 0: the next round has not begun
    for event in run.events:
        if not kept:
            done = next(rounds)
            kept = done.start + done.accepted + 1
        work = event.work
        if isinstance(work, Gate | Check):
            kind = "gates" if isinstance(work, Gate) else "heads"
            yield kind, work, float(work.position >= kept)
            continue
        yield (
            "useful" if isinstance(work, Run) else "verify",
            work,
            max(0, work.stop - max(work.start, kept)) / (work.stop - work.start),
        )
        if isinstance(work, Verify):
            kept = 0


def measured_power(profile: Profile) -> dict[str, float]:
    """Return the mean watts of each design, by its label.

    They are the joules of its timed runs, prefill included, over their seconds. The result is empty
    where the device did not measure energy.
    """
    joules: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for (design, _), runs in timed_runs(profile).items():
        known = runs[runs["energy_j"].notna()]
        if len(known):
            joules[design.label] = joules.get(design.label, 0.0) + float(known["energy_j"].sum())
            seconds[design.label] = seconds.get(design.label, 0.0) + float(
                (known["prefill_s"] + known["decode_s"]).sum()
            )
    return {label: joules[label] / seconds[label] for label in joules}
