"""The first screen of a report on a profile: headline, sentences below it, numbers, verdict."""

from __future__ import annotations

from typing import Any

from adadecode.sim.core.design import Policy
from adadecode.sim.core.number_format import percent
from adadecode.sim.report import formatting, manifest_text
from adadecode.sim.report.document import Fact, Verdict
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.run_tables import ALL


def verdict(data: ProfileData) -> Verdict | None:
    """Return whether to trust the recording; None for a profile of latencies alone."""
    if data.trust is None:
        return None
    answer, *reasons = data.trust.describe()
    return Verdict(trusted=data.trust.trusted, answer=answer, reasons=tuple(reasons))


def headline(data: ProfileData) -> tuple[str, str]:
    """Return the headline, and the sentences below it."""
    machine = manifest_text.machine(data.profile.manifest)
    place = f"With scripted decisions, on {machine}" if data.provenance.script else f"On {machine}"
    best = data.best()
    if best is None:
        return _without_runs(data, place)
    design = formatting.describe_design(best)
    gain = formatting.gain(best["speedup"], best["low"], best["high"])
    verb = "give" if formatting.is_plural(best) else "gives"
    answer = f"{place}, {design} {verb} {gain}."
    if best["speedup"] <= 1:
        answer = f"{place}, no measured design is faster than vanilla: {design} {verb} {gain}."
    return answer, " ".join([_measured_sentence(data, best), *_text_sentences(data)])


def _measured_sentence(data: ProfileData, best: dict[str, Any]) -> str:
    """Return over how many prompts and repeats the best design was measured, and vanilla's time."""
    speeds = data.speeds
    drafting = speeds[
        (speeds["domain"] == ALL) & (speeds["policy"] != Policy.VANILLA) & speeds["verify"]
    ]
    measured = (
        f"Measured over {formatting.plural(int(best['prompts']), 'prompt')}, each in "
        f"{formatting.plural(int(best['repeats']), 'repeat')} against vanilla in turn: the fastest "
        f"of {formatting.plural(len(drafting), 'design')}, with its slowest and fastest repeat."
    )
    if data.vanilla_s is None:
        return measured
    return f"{measured} Vanilla takes {formatting.milliseconds(data.vanilla_s)} for a token."


def _text_sentences(data: ProfileData) -> list[str]:
    """Return the best design on the domain that gains most, and on the one that gains least."""
    by_text = {
        text: best for text in data.texts if text != ALL and (best := data.best(text)) is not None
    }
    if len(by_text) < 2:
        return []
    ranked = sorted(by_text.items(), key=lambda pair: -pair[1]["speedup"])
    (most, first), (least, last) = ranked[0], ranked[-1]
    return [
        (
            f"It depends on the text: the best measured design gives "
            f"{formatting.times(first['speedup'])} on {most} ({first['design']}) and "
            f"{formatting.times(last['speedup'])} on {least} ({last['design']})."
        )
    ]


def _without_runs(data: ProfileData, place: str) -> tuple[str, str]:
    """Return the headline of a profile in which no design was run against vanilla.

    Args:
        data: The profile.
        place: The machine, as the headline begins with it.
    """
    layer = (
        f"one layer takes {formatting.milliseconds(data.layer_s)} for one token"
        if data.layer_s
        else "no layer was timed for one token"
    )
    if data.predictor is None:
        return (
            f"{place}, {layer}.",
            (
                "This profile holds latencies alone: no text, no heads, no runs. Carry them to "
                "other devices with `adadecode-sim transfer`."
            ),
        )
    return (
        f"{place}, no design was run against vanilla; {layer}.",
        (
            "What designs would give is a prediction: run `adadecode-sim predict` or "
            "`adadecode-sim sweep` on this profile."
        ),
    )


def facts(data: ProfileData) -> list[Fact]:
    """Return the numbers to read first."""
    numbers = [
        *_speed_facts(data),
        *error_facts(data),
        *machine_facts(data),
        *_structure_facts(data),
        *_text_facts(data),
    ]
    if data.layer_s is not None and len(numbers) < 4:
        numbers.append(
            Fact(
                label="one layer", value=formatting.milliseconds(data.layer_s), note="for one token"
            )
        )
    return numbers


def _speed_facts(data: ProfileData) -> list[Fact]:
    best, numbers = data.best(), []
    if best is not None:
        interval = formatting.span(best["low"], best["high"])
        numbers.append(
            Fact(
                label="best measured",
                value=formatting.times(best["speedup"]),
                note=f"{best['design']} {interval}".rstrip(),
            )
        )
    if data.vanilla_s is not None:
        numbers.append(
            Fact(
                label="vanilla, measured",
                value=formatting.milliseconds(data.vanilla_s),
                note=f"a token, {1 / data.vanilla_s:.1f} tokens a second",
            )
        )
    return numbers


def error_facts(data: ProfileData) -> list[Fact]:
    """Return the errors of predictions, each with its noise floor."""
    if data.trust is None:
        return []
    numbers = []
    for label, error, noise in (
        ("time error (T2)", data.trust.time_error, data.trust.time_noise),
        ("speedup error (T2)", data.trust.speedup_error, data.trust.speedup_noise),
    ):
        if error is not None:
            floor = "unknown: one repeat" if noise is None else percent(noise)
            numbers.append(
                Fact(
                    label=label,
                    value=percent(error),
                    note=f"in the median; noise floor {floor}",
                )
            )
    return numbers


def machine_facts(data: ProfileData) -> list[Fact]:
    """Return how busy other programs kept the processors; empty if that was not recorded."""
    if data.trust is None or data.trust.busy is None:
        return []
    return [
        Fact(
            label="busy with other programs",
            value=percent(data.trust.busy),
            note="of the processors, in the median while recording",
        )
    ]


def _structure_facts(data: ProfileData) -> list[Fact]:
    """Return how many runs were replayed with exactly their rounds."""
    if data.validation is None:
        return []
    structure = data.validation.to_dict()["structure"]
    if not structure["runs"]:
        return []
    return [
        Fact(
            label="same rounds (T0)",
            value=f"{structure['exact']} of {structure['runs']}",
            note="runs replayed exactly",
        )
    ]


def _text_facts(data: ProfileData) -> list[Fact]:
    if data.predictor is None:
        return []
    trace = data.predictor.trace
    tokens = sum(trace.n_output(prompt) for prompt in trace.prompts)
    domains = formatting.plural(max(1, len(data.texts) - 1), "domain")
    return [
        Fact(
            label="text",
            value=formatting.plural(tokens, "token"),
            note=f"{formatting.plural(len(trace.prompts), 'prompt')} of {domains}",
        )
    ]
