"""Many designs on many devices at once: counted by the compiled replay, priced by a dot product for each device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.errors import DeviceError, ProfileError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.memory import Deployment, capacity, peak_memory
from adadecode.sim.prediction.accounting import CostPrices, energy_bounds
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.replay.price_list import TIME_PARTS, PriceList
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.work_columns import CHECK, RUN
from adadecode.sim.replay.work_histogram import WorkHistogram

COLUMNS = (
    "design", "policy", "placement", "gammas", "cap", "verify", "device", "tpot_s", "tokens_per_s", "speedup", "speedup_low", "speedup_high",
    "tpot_low", "tpot_high", "ttft_s", "early_rate", "reject_rate", "tokens_per_round", "modelled_share", "flops_per_token", "bytes_per_token", "memory_bytes",
    "energy_j_per_token", "fits", "speedup_first", "speedup_second",
)  # fmt: skip
"""Of a row of `Evaluator.evaluate`: as in `adadecode.sim.prediction.predictor.Prediction`, and per output token after the first; the speedup on every other prompt and on the
rest; NaN where unknown. fits: whether the memory suffices, where anybody knows."""

_DRAWS = 2000

_SECONDS = len(TIME_PARTS) - 1  # what the parts of the time add up from


@dataclass(frozen=True, kw_only=True, eq=False)
class PricedDevice:
    """A device with its price lists.

    vanilla: by corner, seconds per token; vanilla_by_half: on either half of the prompts. spread: of a measured table,
    how far its speedups were seen to miss.

    watts: mean power where it was measured; else energy is bounded by the catalogue's figures, where it has some. flops, moved: price lists of what work
    costs in the numbers the model runs in there. run: how it is deployed, heads aside.
    """

    latencies: DeviceLatencies
    prices: Mapping[str, PriceList]
    vanilla: Mapping[str, float]
    vanilla_by_half: tuple[float, ...]
    spread: float
    device: Device | None
    watts: float | None
    flops: PriceList | None
    moved: PriceList | None
    run: Deployment | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """Evaluates designs on the prompts chosen. Holds arrays and tables alone, so that it can be sent to another process. Build with `of`."""

    replay: CompiledReplay
    prompts: tuple[int, ...]
    contexts: tuple[int, ...]
    devices: tuple[PricedDevice, ...]

    @classmethod
    def of(
        cls,
        replay: CompiledReplay,
        devices: Sequence[DeviceLatencies],
        *,
        prompts: Sequence[int] | None = None,
        max_tokens: int,
        costs: Sequence[ModelCost] | None = None,
        runs: Sequence[Deployment] | None = None,
        known: Mapping[str, Device] | None = None,
        spread: float = float("nan"),
        watts: float | None = None,
    ) -> Evaluator:
        """The devices, priced for these prompts (all, by default).

        max_tokens: 1 + the largest cap. costs: the model's on each device, for FLOPs, bytes and joules. runs: how it is deployed on each, heads aside, for
        memory. known: catalogue entries by the names of ``devices``.

        spread and watts: of the measured device. Raises LatencyError where vanilla cannot be priced, ProfileError where no prompt has a second token,
        DeviceError where a device is there twice.
        """
        if repeated := [
            name for name, count in Counter(one.device for one in devices).items() if count > 1
        ]:
            raise DeviceError(
                f"wanted every device once, got {repeated[0]} more than once: leave the others out"
            )
        chosen = replay.prompts if prompts is None else tuple(prompts)
        bends = {
            context
            for one in devices
            for table in one.tables.values()
            for context in table.contexts
        }
        bends |= {cost.shape.sliding_window for cost in costs or () if cost.shape.sliding_window}
        shortest, longest = replay.contexts
        contexts = tuple(sorted(context for context in bends if shortest < context < longest))
        halves = [
            replay.count([Design(policy=Policy.VANILLA)], part, contexts=contexts)
            for part in (chosen[::2], chosen[1::2])
        ]
        vanilla = halves[0] + halves[1]
        if vanilla.tally("tokens")[0] <= len(chosen):
            raise ProfileError(
                f"nothing to predict: none of {len(chosen)} prompts has a second output token: profile longer outputs"
            )

        def listed(latency: Latencies) -> PriceList:
            return PriceList(
                latency=latency,
                n_layers=replay.n_layers,
                marks=vanilla.marks,
                max_tokens=max_tokens,
            )

        bills = {
            cost: (listed(CostPrices(cost, "flops")), listed(CostPrices(cost, "bytes")))
            for cost in costs or ()
        }

        def priced(place: int, one: DeviceLatencies) -> PricedDevice:
            flops, moved = bills[costs[place]] if costs else (None, None)
            prices = {corner: listed(table) for corner, table in one.tables.items()}
            measured = one.basis == "measured"
            return PricedDevice(
                latencies=one,
                prices=prices,
                vanilla={
                    corner: float(_tpot(prices[corner].price(vanilla), vanilla)[0])
                    for corner in prices
                },
                vanilla_by_half=tuple(
                    float(_tpot(prices["middle"].price(half), half)[0]) for half in halves
                ),
                spread=spread if measured else float("nan"),
                device=(known or {}).get(one.device),
                watts=watts if measured else None,
                flops=flops,
                moved=moved,
                run=runs[place] if runs else None,
            )

        return cls(
            replay=replay,
            prompts=chosen,
            contexts=contexts,
            devices=tuple(priced(place, one) for place, one in enumerate(devices)),
        )

    def count(
        self, designs: Sequence[Design], prompts: Sequence[int] | None = None
    ) -> WorkHistogram:
        """The work of these designs on the prompts chosen, or on some of them."""
        return self.replay.count(
            designs, self.prompts if prompts is None else prompts, contexts=self.contexts
        )

    def evaluate(self, designs: Sequence[Design]) -> pd.DataFrame:
        """One row of COLUMNS for each device and design, devices one after the other. Raises DesignError, LatencyError."""
        return self.priced(self.halves(designs))

    def halves(self, designs: Sequence[Design]) -> tuple[WorkHistogram, WorkHistogram]:
        """The work of these designs on every other prompt, and on the rest."""
        return self.count(designs, self.prompts[::2]), self.count(designs, self.prompts[1::2])

    def priced(self, halves: tuple[WorkHistogram, WorkHistogram]) -> pd.DataFrame:
        """As `evaluate`, of work that was counted."""
        work = halves[0] + halves[1]
        shared = {**_described(work.designs), **_rates(work)}
        known: dict[
            object, NDArray[np.float64]
        ] = {}  # many devices cost the same: in FLOPs all of them
        rows = []
        for one in self.devices:
            costs = self._costs(one, work, known)
            rows.append(
                {**shared, **costs, **self._on(one, work, costs), **self._by_half(one, halves)}
            )
        return pd.concat([pd.DataFrame(row)[list(COLUMNS)] for row in rows], ignore_index=True)

    @staticmethod
    def _costs(
        one: PricedDevice, work: WorkHistogram, known: dict[object, NDArray[np.float64]]
    ) -> dict[str, NDArray[Any]]:
        """FLOPs and bytes per token, peak memory, and whether it is there. known: what was worked out already, by price list and by deployment."""
        nothing = np.full(len(work.designs), np.nan)

        def per_token(listed: PriceList | None) -> NDArray[np.float64]:
            if listed is None:
                return nothing
            if listed not in known:
                known[listed] = _tpot(listed.price(work), work)
            return known[listed]

        def memory(run: Deployment | None) -> NDArray[np.float64]:
            if run is None:
                return nothing
            if run not in known:
                known[run] = np.array(
                    [
                        peak_memory(replace(run, heads=d.placement, n_tokens=d.cap + 1)).total
                        for d in work.designs
                    ]
                )
            return known[run]

        taken = memory(one.run)
        there = (
            np.inf
            if one.device is None or one.latencies.basis == "measured"
            else capacity(one.device)
        )
        return {
            "flops_per_token": per_token(one.flops),
            "bytes_per_token": per_token(one.moved),
            "memory_bytes": taken,
            "fits": ~(taken > there),
        }

    def _on(
        self, one: PricedDevice, work: WorkHistogram, costs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What depends on the device."""
        prices = {corner: listed.price(work) for corner, listed in one.prices.items()}
        tpots = {corner: _tpot(price, work) for corner, price in prices.items()}
        speedups = {corner: one.vanilla[corner] / tpots[corner] for corner in tpots}
        tpot, speedup, middle = tpots["middle"], speedups["middle"], prices["middle"]
        if len(tpots) > 1:
            low, high = (
                np.minimum.reduce(list(speedups.values())),
                np.maximum.reduce(list(speedups.values())),
            )
            fast, slow = tpots["low"], tpots["high"]
        else:
            low, high = speedup / (1 + one.spread), speedup * (1 + one.spread)
            fast, slow = tpot / (1 + one.spread), tpot * (1 + one.spread)
        return {
            "device": one.latencies.device,
            "tpot_s": tpot,
            "tokens_per_s": 1 / tpot,
            "speedup": speedup,
            "speedup_low": low,
            "speedup_high": high,
            "tpot_low": fast,
            "tpot_high": slow,
            "ttft_s": one.prices["middle"].prefill(work),
            "modelled_share": middle[:, _SECONDS] / middle[:, :_SECONDS].sum(axis=1),
            "energy_j_per_token": self._joules(one, tpot, costs),
        }

    @staticmethod
    def _by_half(
        one: PricedDevice, halves: Sequence[WorkHistogram]
    ) -> dict[str, NDArray[np.float64]]:
        """Speedups on either half of the prompts, as expected."""
        names = ("speedup_first", "speedup_second")
        prices = one.prices["middle"]
        return {
            name: vanilla / _tpot(prices.price(work), work)
            for name, vanilla, work in zip(names, one.vanilla_by_half, halves, strict=True)
        }

    @staticmethod
    def _joules(
        one: PricedDevice, tpot: NDArray[np.float64], costs: Mapping[str, Any]
    ) -> NDArray[np.float64]:
        """By measured power, or the middle of what the catalogue's figures allow."""
        if one.watts is not None:
            return one.watts * tpot
        if one.device is None or np.isnan(costs["flops_per_token"]).any():
            return np.full(len(tpot), np.nan)
        each = zip(
            tpot.tolist(),
            costs["flops_per_token"].tolist(),
            costs["bytes_per_token"].tolist(),
            strict=True,
        )
        bounds = [energy_bounds(one.device, *amounts) for amounts in each]
        return np.array([np.nan if bound is None else bound.middle for bound in bounds])

    def details(self, design: Design, device: str) -> dict[str, Any]:
        """One design in full: seconds per token by part (`adadecode.sim.replay.price_list.TIME_PARTS`), and by head, shallowest first, drafts and how many of them held.

        Raises DesignError, and KeyError for a device that is not among ``devices``.
        """
        one = self._device(device)
        work = self.count([design])
        tokens = _tokens(work)[0]
        price = one.prices["middle"].price(work)[0] / tokens
        heads = design.boundaries(self.replay.n_layers)[1:-1]
        return {
            "design": design.label,
            "device": device,
            "seconds_per_token": dict(zip(TIME_PARTS, price.tolist(), strict=True)),
            "vanilla_s": one.vanilla["middle"],
            "tokens": int(tokens),
            "rounds": int(work.tally("rounds")[0]),
            "checks": int(work.total(CHECK)[0]),
            "runs": int(work.total(RUN)[0]),
            "heads": [
                {"depth": depth, "drafts": drafts, "accepted": accepted}
                for depth, drafts, accepted in zip(heads, *work.drafted[0].tolist(), strict=True)
            ],
        }

    def over_prompts(self, design: Design, device: str) -> dict[str, float | None]:
        """How far the speedup would differ with other prompts like these: low and high of 90 % of bootstrap samples over prompts.

        None of a single prompt, which says nothing of others. Only of what was drawn: prompts unlike these, and the choice of the best
        of many designs on them, may differ more.
        """
        if len(self.prompts) < 2:
            return {"speedup_low": None, "speedup_high": None, "count": len(self.prompts)}
        one = self._device(device)
        together = [Design(policy=Policy.VANILLA), design]
        seconds = np.array(
            [
                one.prices["middle"].price(self.count(together, [p]))[:, :_SECONDS].sum(axis=1)
                for p in self.prompts
            ]
        )
        draws = np.random.default_rng(0).integers(len(seconds), size=(_DRAWS, len(seconds)))
        sums = seconds[draws].sum(axis=1)
        low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.05, 0.95])
        return {"speedup_low": float(low), "speedup_high": float(high), "count": len(seconds)}

    def _device(self, device: str) -> PricedDevice:
        return {priced.latencies.device: priced for priced in self.devices}[device]


def _tokens(work: WorkHistogram) -> NDArray[np.int64]:
    """[designs] outputs but the first of each prompt."""
    return work.tally("tokens") - len(work.prefills)


def _tpot(price: NDArray[np.float64], work: WorkHistogram) -> NDArray[np.float64]:
    """[designs] per output token after the first."""
    tokens = _tokens(work)
    per_token: NDArray[np.float64] = np.divide(
        price[:, :_SECONDS].sum(axis=1), tokens, where=tokens > 0, out=np.full(len(tokens), np.nan)
    )
    return per_token


def _described(designs: Sequence[Design]) -> dict[str, list[Any]]:
    return {
        "design": [design.label for design in designs],
        "policy": [str(design.policy) for design in designs],
        "placement": [design.placement for design in designs],
        "gammas": [design.gammas for design in designs],
        "cap": [design.cap for design in designs],
        "verify": [design.verify for design in designs],
    }


def _rates(work: WorkHistogram) -> dict[str, NDArray[np.float64]]:
    """As `adadecode.sim.prediction.predictor.Prediction` has them; 0 where nothing was tested or drafted."""
    drafts, tested = work.tally("drafts"), work.tally("tested")
    return {
        "early_rate": drafts / np.maximum(tested, 1),
        "reject_rate": (drafts - work.tally("accepted")) / np.maximum(drafts, 1),
        "tokens_per_round": _tokens(work) / np.maximum(work.tally("rounds"), 1),
    }
