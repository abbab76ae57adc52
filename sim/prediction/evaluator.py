"""Evaluate many designs on many devices: count their work once, and price it on each device."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
from adadecode.sim.hardware.fit import capacity
from adadecode.sim.hardware.memory import Deployment, peak_memory
from adadecode.sim.prediction.accounting import CostPrices
from adadecode.sim.prediction.device_energy import device_joules
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.replay.price_list import TIME_PARTS, PriceList, told_parts, total_of
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.work_columns import CHECK, GATE, RUN
from adadecode.sim.replay.work_histogram import WorkHistogram

COLUMNS = (
    "design", "policy", "placement", "gammas", "gates", "cap", "verify", "device", "tpot_s",
    "tokens_per_s", "speedup", "speedup_low", "speedup_high", "tpot_low", "tpot_high", "ttft_s",
    "early_rate", "reject_rate", "tokens_per_round", "modelled_share", "flops_per_token",
    "bytes_per_token", "memory_bytes", "energy_j_per_token", "fits", "speedup_first",
    "speedup_second", "energy_low", "energy_high", "energy_over_vanilla", "energy_over_low",
    "energy_over_high",
)  # fmt: skip
"""Columns of `Evaluator.evaluate`.

They are as in `adadecode.sim.prediction.predictor.Prediction`, and per output token after the
first; NaN where unknown. ``fits`` is whether the memory suffices, as far as it is known;
``speedup_first`` and ``speedup_second`` are the speedups on every other prompt and on the rest.
``energy_over_vanilla`` is the energy over vanilla's on the same device, ``energy_over_low`` and
``energy_over_high`` its ends.
"""

ENERGY = COLUMNS[-5:]
"""The columns that the first versions of this program did not have."""

_DRAWS = 2000

_MODELLED = TIME_PARTS.index("modelled")


@dataclass(frozen=True, kw_only=True, eq=False)
class PricedDevice:
    """A device with its price lists.

    Attributes:
        latencies: What work takes there.
        prices: The same as price lists, by corner of its intervals.
        vanilla: Seconds per token of vanilla, by corner.
        vanilla_by_half: The same on either half of the prompts.
        vanilla_work: FLOPs and bytes of vanilla, per token; NaN where the model's are unknown.
        spread: Of a measured table, how far its speedups were seen to miss; else NaN.
        device: The catalogue's entry; None where there is none.
        watts: Mean power where it was measured over whole runs; else energy is bounded by the
            catalogue's figures, where it has some.
        joules: What work draws, by end, where the power of its kernels was measured; else empty.
        vanilla_joules: The same of vanilla, per token.
        flops: Price list in FLOPs, in the number formats that the model runs in there.
        moved: Price list in bytes.
        run: How the model is deployed there, heads aside.
    """

    latencies: DeviceLatencies
    prices: Mapping[str, PriceList]
    vanilla: Mapping[str, float]
    vanilla_by_half: tuple[float, ...]
    vanilla_work: tuple[float, float]
    spread: float
    device: Device | None
    watts: float | None
    joules: Mapping[str, PriceList]
    vanilla_joules: Mapping[str, float]
    flops: PriceList | None
    moved: PriceList | None
    run: Deployment | None


@dataclass(frozen=True, kw_only=True)
class _VanillaWork:
    """The work of vanilla on all prompts and on either half, and price lists for it."""

    replay: CompiledReplay
    halves: tuple[WorkHistogram, WorkHistogram]
    whole: WorkHistogram
    max_tokens: int

    @classmethod
    def of(
        cls,
        replay: CompiledReplay,
        prompts: Sequence[int],
        contexts: tuple[int, ...],
        max_tokens: int,
    ) -> _VanillaWork:
        """Count it. Raises ProfileError where no prompt has a second output token."""
        first, second = (
            replay.count([Design(policy=Policy.VANILLA)], part, contexts=contexts)
            for part in (prompts[::2], prompts[1::2])
        )
        whole = first + second
        if whole.tally("tokens")[0] <= len(prompts):
            raise ProfileError(
                f"nothing to predict: none of {len(prompts)} prompts has a second output token: "
                "profile longer outputs"
            )
        return cls(replay=replay, halves=(first, second), whole=whole, max_tokens=max_tokens)

    def listed(self, latency: Latencies) -> PriceList:
        """Make the price list of a table of latencies."""
        return PriceList(
            latency=latency,
            n_layers=self.replay.n_layers,
            marks=self.whole.marks,
            max_tokens=self.max_tokens,
        )

    def tpot(self, prices: PriceList) -> float:
        """Return vanilla's seconds per token."""
        return float(_tpot(prices.price(self.whole), self.whole)[0])

    def tpots_by_half(self, prices: PriceList) -> tuple[float, ...]:
        """Return vanilla's seconds per token on either half of the prompts."""
        return tuple(float(_tpot(prices.price(half), half)[0]) for half in self.halves)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """Evaluates designs on the prompts chosen. Build with `of`.

    It holds arrays and tables alone, so that it can be sent to another process.

    Attributes:
        replay: The text, compiled.
        prompts: The prompts that are replayed.
        contexts: Contexts at which prices change their slope.
        devices: The devices, priced for these prompts.
    """

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
        """Price devices for some prompts.

        Args:
            replay: The text, compiled.
            devices: What work takes on each device.
            prompts: What to replay; by default all.
            max_tokens: 1 + the largest cap.
            costs: The model's cost on each device, for FLOPs, bytes and joules.
            runs: How it is deployed on each, heads aside, for memory.
            known: Catalogue entries by the names of ``devices``.
            spread: How far speedups on the measured device were seen to miss.
            watts: Mean power of the measured device.

        Raises:
            LatencyError: If vanilla cannot be priced.
            ProfileError: If no prompt has a second output token.
            DeviceError: If a device is there twice.
        """
        _require_different(devices)
        chosen = replay.prompts if prompts is None else tuple(prompts)
        contexts = _slope_changes(replay, devices, costs or ())
        vanilla = _VanillaWork.of(replay, chosen, contexts, max_tokens)
        cost_lists = {
            cost: (
                vanilla.listed(CostPrices(cost, "flops")),
                vanilla.listed(CostPrices(cost, "bytes")),
            )
            for cost in costs or ()
        }
        priced = []
        for place, one in enumerate(devices):
            measured = one.basis == "measured"
            flops, moved = cost_lists[costs[place]] if costs else (None, None)
            plain = [math.nan if each is None else vanilla.tpot(each) for each in (flops, moved)]
            prices = {corner: vanilla.listed(table) for corner, table in one.tables.items()}
            joules = {end: vanilla.listed(table) for end, table in one.joules.items()}
            priced.append(
                PricedDevice(
                    latencies=one,
                    prices=prices,
                    vanilla={corner: vanilla.tpot(listed) for corner, listed in prices.items()},
                    vanilla_by_half=vanilla.tpots_by_half(prices["middle"]),
                    vanilla_work=(plain[0], plain[1]),
                    spread=spread if measured else float("nan"),
                    device=(known or {}).get(one.device),
                    watts=watts if measured else None,
                    joules=joules,
                    vanilla_joules={end: vanilla.tpot(listed) for end, listed in joules.items()},
                    flops=flops,
                    moved=moved,
                    run=runs[place] if runs else None,
                )
            )
        return cls(replay=replay, prompts=chosen, contexts=contexts, devices=tuple(priced))

    def count(
        self, designs: Sequence[Design], prompts: Sequence[int] | None = None
    ) -> WorkHistogram:
        """Count the work of designs on the prompts chosen, or on some of them."""
        return self.replay.count(
            designs, self.prompts if prompts is None else prompts, contexts=self.contexts
        )

    def evaluate(self, designs: Sequence[Design]) -> pd.DataFrame:
        """Predict time, speedup, cost and memory of designs on every device.

        Returns:
            A row of COLUMNS for each device and design, devices one after the other.

        Raises:
            DesignError: If a design needs a head that was not trained.
            LatencyError: If a latency is not known.
        """
        return self.priced(self.halves(designs))

    def halves(self, designs: Sequence[Design]) -> tuple[WorkHistogram, WorkHistogram]:
        """Count the work of designs on every other prompt, and on the rest."""
        return self.count(designs, self.prompts[::2]), self.count(designs, self.prompts[1::2])

    def priced(self, halves: tuple[WorkHistogram, WorkHistogram]) -> pd.DataFrame:
        """Price work that was counted; see `evaluate`."""
        work = halves[0] + halves[1]
        shared = {**_described(work.designs), **_rates(work)}
        # Many devices cost the same: in FLOPs, all of them do.
        known: dict[object, NDArray[np.float64]] = {}
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
        """Return FLOPs and bytes per token, peak memory, and whether the device has that much.

        ``known`` holds what was worked out already, by price list and by deployment.
        """
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
        """Return the columns that depend on the latencies of the device."""
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
            "modelled_share": middle[:, _MODELLED] / total_of(middle),
            **device_joules(
                None if one.device is None else one.device.tdp_watts,
                one.watts,
                tpots if len(tpots) > 1 else _seen_misses(tpot, one.spread),
                one.vanilla,
                (costs["flops_per_token"], costs["bytes_per_token"]),
                one.vanilla_work,
                self._drawn(one, work),
            ),
        }

    @staticmethod
    def _drawn(
        one: PricedDevice, work: WorkHistogram
    ) -> tuple[dict[str, NDArray[np.float64]], Mapping[str, float]] | None:
        """Return joules per token of the designs and of vanilla, by end, where power is known."""
        if not one.joules:
            return None
        drawn = {end: _tpot(listed.price(work), work) for end, listed in one.joules.items()}
        return drawn, one.vanilla_joules

    @staticmethod
    def _by_half(
        one: PricedDevice, halves: Sequence[WorkHistogram]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the speedups on either half of the prompts."""
        names = ("speedup_first", "speedup_second")
        prices = one.prices["middle"]
        return {
            name: vanilla / _tpot(prices.price(work), work)
            for name, vanilla, work in zip(names, one.vanilla_by_half, halves, strict=True)
        }

    def details(self, design: Design, device: str) -> dict[str, Any]:
        """Describe one design in full, as JSON holds it.

        Returns:
            Seconds per token by part (`adadecode.sim.replay.price_list.TIME_PARTS`), counts of
            work, and by head, shallowest first, drafts and how many of them held.

        Raises:
            DesignError: If the design needs a head that was not trained.
            KeyError: If the device is not among ``devices``.
        """
        one = self._device(device)
        work = self.count([design])
        tokens = _tokens(work)[0]
        price = one.prices["middle"].price(work)[0] / tokens
        heads = design.boundaries(self.replay.n_layers)[1:-1]
        return {
            "design": design.label,
            "device": device,
            "seconds_per_token": told_parts(price, design),
            "vanilla_s": one.vanilla["middle"],
            "tokens": int(tokens),
            "rounds": int(work.tally("rounds")[0]),
            "checks": int(work.total(CHECK)[0]),
            **({"gates_asked": int(work.total(GATE)[0])} if design.gates else {}),
            "runs": int(work.total(RUN)[0]),
            "heads": [
                {"depth": depth, "drafts": drafts, "accepted": accepted}
                for depth, drafts, accepted in zip(heads, *work.drafted[0].tolist(), strict=True)
            ],
        }

    def over_prompts(self, design: Design, device: str) -> dict[str, float | None]:
        """Return how far the speedup would differ with other prompts like these.

        Prompts unlike these, and the choice of the best of many designs on them, may differ more.

        Returns:
            Low and high end of 90 % of bootstrap samples over prompts, and the number of prompts.
            The ends are None for a single prompt, which says nothing of others.
        """
        if len(self.prompts) < 2:
            return {"speedup_low": None, "speedup_high": None, "count": len(self.prompts)}
        one = self._device(device)
        together = [Design(policy=Policy.VANILLA), design]
        seconds = np.array(
            [total_of(one.prices["middle"].price(self.count(together, [p]))) for p in self.prompts]
        )
        draws = np.random.default_rng(0).integers(len(seconds), size=(_DRAWS, len(seconds)))
        sums = seconds[draws].sum(axis=1)
        low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.05, 0.95])
        return {"speedup_low": float(low), "speedup_high": float(high), "count": len(seconds)}

    def _device(self, device: str) -> PricedDevice:
        return {priced.latencies.device: priced for priced in self.devices}[device]


def _seen_misses(tpot: NDArray[np.float64], spread: float) -> dict[str, NDArray[np.float64]]:
    """Return a measured time and its ends; without ends where nobody saw how far it misses."""
    if math.isnan(spread):
        return {"middle": tpot}
    return {"low": tpot / (1 + spread), "middle": tpot, "high": tpot * (1 + spread)}


def _tokens(work: WorkHistogram) -> NDArray[np.int64]:
    """Return the outputs but the first of each prompt, shape ``(designs,)``."""
    return work.tally("tokens") - len(work.prefills)


def _tpot(price: NDArray[np.float64], work: WorkHistogram) -> NDArray[np.float64]:
    """Return the price per output token after the first, shape ``(designs,)``."""
    tokens = _tokens(work)
    per_token: NDArray[np.float64] = np.divide(
        total_of(price), tokens, where=tokens > 0, out=np.full(len(tokens), np.nan)
    )
    return per_token


def _described(designs: Sequence[Design]) -> dict[str, list[Any]]:
    return {
        "design": [design.label for design in designs],
        "policy": [str(design.policy) for design in designs],
        "placement": [design.placement for design in designs],
        "gammas": [design.gammas for design in designs],
        "gates": [design.gates for design in designs],
        "cap": [design.cap for design in designs],
        "verify": [design.verify for design in designs],
    }


def _rates(work: WorkHistogram) -> dict[str, NDArray[np.float64]]:
    """Return the rates as `adadecode.sim.prediction.predictor.Prediction` has them.

    They are 0 where nothing was tested or drafted.
    """
    drafts, tested = work.tally("drafts"), work.tally("tested")
    return {
        "early_rate": drafts / np.maximum(tested, 1),
        "reject_rate": (drafts - work.tally("accepted")) / np.maximum(drafts, 1),
        "tokens_per_round": _tokens(work) / np.maximum(work.tally("rounds"), 1),
    }


def _require_different(devices: Iterable[DeviceLatencies]) -> None:
    """Raise DeviceError where a device is there more than once."""
    counts = Counter(one.device for one in devices)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise DeviceError(
            f"wanted every device once, got {repeated[0]} more than once: leave the others out"
        )


def _slope_changes(
    replay: CompiledReplay, devices: Iterable[DeviceLatencies], costs: Iterable[ModelCost]
) -> tuple[int, ...]:
    """Return the contexts within the text at which prices or costs change their slope."""
    changes = {
        context for one in devices for table in one.tables.values() for context in table.contexts
    }
    changes |= {window for cost in costs for window in cost.shape.windows}
    shortest, longest = replay.contexts
    return tuple(sorted(context for context in changes if shortest < context < longest))
