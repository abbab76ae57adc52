"""The first screen of a report on a sweep: headline, sentences below it, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.sim.core.number_format import known
from adadecode.sim.prediction.caveats import ONE_PROMPT
from adadecode.sim.report import formatting
from adadecode.sim.report.document import Fact
from adadecode.sim.report.profile.headline import error_facts, machine_facts
from adadecode.sim.report.profile.run_tables import fastest
from adadecode.sim.report.sweep import design_tables, wording
from adadecode.sim.report.sweep.sweep_data import SweepData

BASES = {
    "measured": "predicted from latencies measured there",
    "carried": "predicted from latencies carried there from the recording",
    "datasheet": "predicted from a datasheet alone",
}
"""What the headline rests on, by the basis of its device."""

LEAN = (
    "such a winner leans high: on the bundled model, measured speedups were 1 to 3 % below the "
    "predicted ones for 12 designs that were not recorded, and off by 5.7 % in the median, "
    "mostly below, for 20 designs of a sweep"
)
"""The winner's curse as it was measured: benchmarks/results/off_design.json and best.json."""


def headline(data: SweepData) -> tuple[str, str]:
    """Return the headline, and the sentences below it."""
    table = data.table
    if table.empty:
        return "No design of this sweep could be priced.", "See the limits below."
    first = dict(table.iloc[0])
    device = str(first["device"])
    if first["speedup"] <= 1 or not len(first["placement"]):
        answer = f"On {device}, no design of this sweep is faster than vanilla."
    else:
        are = "are" if formatting.is_plural(first) else "is"
        gain = wording.gain(first)
        answer = f"On {device}, {wording.describe(first)} {are} predicted to give {gain}."
    if data.about.get("hypothetical"):
        answer = f"Hypothetical, with heads of another model: on{answer[2:]}"
    sentences = [
        *_basis_sentences(data, first),
        *_prompt_sentences(data.best(device), str(first["design"])),
        _measured_sentence(data, first),
        _devices_sentence(data),
    ]
    return answer, " ".join(filter(None, sentences))


def _basis_sentences(data: SweepData, first: Mapping[str, Any]) -> list[str]:
    """Return the times of the best design and of vanilla, and why the speedup leans high."""
    basis = formatting.sentence(BASES.get(str(first["basis"]), "predicted")).rstrip(".")
    times = (
        f"{basis}: {formatting.milliseconds(first['tpot_s'])} for a token, against "
        f"{formatting.milliseconds(first['vanilla_s'])} predicted for vanilla."
    )
    if not len(first["placement"]):
        return [times]
    predictions = formatting.plural(int(data.about["designs"]), "prediction")
    return [times, f"It is the best of {predictions}, and {LEAN}."]


def _prompt_sentences(best: Mapping[str, Any], design: str) -> list[str]:
    """Return how far other prompts would move the speedup, and a design chosen on half of them."""
    sentences = []
    prompts = best.get("prompts")
    if best.get("design") == design and isinstance(prompts, dict):
        if prompts.get("count", 0) == 1:
            sentences.append(formatting.sentence(ONE_PROMPT))
        elif prompts.get("speedup_low"):
            sentences.append(
                f"With {formatting.count(prompts['count'])} other prompts like these it would lie "
                f"within {prompts['speedup_low']:.2f} .. {prompts['speedup_high']:.2f}, nine times "
                "in ten."
            )
    halves = best.get("held_out")
    if isinstance(halves, dict) and halves.get("elsewhere"):
        chosen = formatting.times(float(halves["chosen"]))
        elsewhere = formatting.times(float(halves["elsewhere"]))
        sentences.append(
            f"A design chosen in the same way on half of the prompts gives {chosen} there and "
            f"{elsewhere} on the other half."
        )
    return sentences


def _measured_sentence(data: SweepData, first: Mapping[str, Any]) -> str:
    """Return what the fastest design that was run gave; empty if none was run on this device."""
    if data.runs.empty or first["device"] != data.measured:
        return ""
    best = fastest(data.runs)
    gain = formatting.gain(best["speedup"], best["low"], best["high"])
    if best["design"] == first["design"]:
        return f"The best design was run: {best['design']}, measured at {gain}."
    return (
        f"Of the designs that were run there, the fastest was {best['design']}, measured at {gain}."
    )


def _devices_sentence(data: SweepData) -> str:
    """Return the range of the best speedups on the other devices; empty if there are none."""
    others = data.table.iloc[1:]
    if others.empty:
        return ""
    ends = [others["speedup"].min(), others["speedup"].max()]
    speedups = " to ".join(dict.fromkeys(map(formatting.times, ends)))
    return f"On {formatting.plural(len(others), 'other device')}: {speedups}."


def facts(data: SweepData) -> list[Fact]:
    """Return the numbers to read first."""
    table = data.table
    if table.empty:
        return []
    first = dict(table.iloc[0])
    interval = formatting.span(first["speedup_low"], first["speedup_high"])
    numbers = [
        Fact(
            label="best design, predicted",
            value=formatting.times(first["speedup"]),
            note=f"{first['design']} {interval}".rstrip(),
        ),
        Fact(
            label="time for a token, predicted",
            value=formatting.milliseconds(first["tpot_s"]),
            note=(
                f"{first['tokens_per_s']:,.1f} tokens a second; vanilla "
                f"{formatting.milliseconds(first['vanilla_s'])}"
            ),
        ),
    ]
    most = _oracle_speedup(data, str(first["device"]))
    if known(most):
        numbers.append(
            Fact(
                label="oracle",
                value=formatting.times(most),
                note="leaving at the earliest right depth: room left above",
            )
        )
    if data.recording is not None and first["device"] == data.measured and data.is_own:
        numbers += [*error_facts(data.recording), *machine_facts(data.recording)]
    return numbers


def _oracle_speedup(data: SweepData, device: str) -> float:
    """Return the highest speedup of any oracle on a device; NaN if there was none."""
    oracles = data.best(device).get("oracle") or {}
    ceiling = design_tables.ceiling(data.designs)
    speedups = [float(oracle["speedup"]) for oracle in oracles.values()]
    return max([*speedups, *ceiling[ceiling.index == device].tolist()], default=float("nan"))
