"""The work and the energy of an output token, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group

from adadecode.sim.cli.tables.layout import notes, table, titled
from adadecode.sim.cli.tables.regime import regime_lines
from adadecode.sim.core.number_format import Scale, percent, times
from adadecode.sim.prediction.accounting import Split
from adadecode.sim.prediction.token_account import TokenAccount
from adadecode.sim.prediction.token_energy import TokenEnergy

_PARTS = {
    "useful": "layers, positions that stayed",
    "discarded": "layers, positions dropped",
    "heads": "heads, positions that stayed",
    "heads_discarded": "heads, positions dropped",
    "gates": "gates, positions that stayed",
    "gates_discarded": "gates, positions dropped",
    "verify": "verification, rows of use",
    "verify_discarded": "verification, rows dropped",
    "total": "all",
    "wasted": "of which wasted",
}
"""The parts of a `adadecode.sim.prediction.accounting.Split`, for people."""


def account_table(account: TokenAccount) -> Group:
    """Return the FLOPs and bytes of an output token by part, and the joules in a line."""
    ours, plain = account.design, account.vanilla
    flops, moved = Scale.of(ours.flops.total, "FLOP"), Scale.of(ours.bytes.total, "B")
    body = table("per output token", flops.unit, "share", moved.unit, "share")
    for part, label in _PARTS.items():
        if part.startswith("gates") and not ours.design.gates:
            continue
        body.add_row(
            label,
            *_cells(ours.flops, part, flops),
            *_cells(ours.bytes, part, moved),
            end_section=part == "verify_discarded",
        )
    body.add_row(
        "over vanilla's",
        times(ours.flops.total / plain.flops.total),
        "",
        times(ours.bytes.total / plain.bytes.total),
        "",
    )
    title = f"{account.model}, {ours.design.label}, {ours.tokens:,} tokens"
    lines = list(account.notes)
    if account.measured_watts is not None:
        lines.append(f"measured: {account.measured_watts:.1f} W while it ran")
    return Group(
        titled(title, body, _captions(account), hypothetical=account.hypothetical), *notes(lines)
    )


def _cells(split: Split, part: str, scale: Scale) -> tuple[str, str]:
    """Return an amount in the unit of its column, and its share of all."""
    amount = float(getattr(split, part))
    return scale.text(amount), percent(amount / split.total, 1)


def _captions(account: TokenAccount) -> Iterator[str]:
    share = account.design.modelled_share
    if share:
        yield f"{share:.1%} of the FLOPs rest on modelled branches"
    gates = account.design.gates
    if gates is not None:
        recall = "" if gates.recall is None else f" ({gates.recall:.0%} were found)"
        yield (
            f"{gates.asked:,} questions to gates saved {gates.saved:,} checks and missed "
            f"{gates.missed:,} good exits{recall}"
        )
    if account.energy is not None:
        yield from _energy(account.energy)


def _energy(energy: TokenEnergy) -> Iterator[str]:
    joules, ratio = energy.joules, energy.over_vanilla
    scale = Scale.of(joules.middle, "J")
    low, middle, high = (scale.text(one) for one in (joules.low, joules.middle, joules.high))
    yield (
        f"on {energy.device}: {energy.seconds_per_token * 1e3:.2f} ms a token ({energy.basis}), "
        f"{middle} {scale.unit} ({low} .. {high})"
    )
    yield (
        f"energy over vanilla's: {times(ratio.middle)} ({ratio.low:.2f} .. {ratio.high:.2f}), for "
        f"{scale.text(energy.vanilla_joules.middle)} {scale.unit}"
    )
    yield from regime_lines(energy.regime, energy.limited_by)
