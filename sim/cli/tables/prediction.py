"""A prediction for people, with what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group

from adadecode.sim.cli.tables.layout import BASIS_WORDS, notes, table, titled
from adadecode.sim.cli.tables.regime import regime_lines
from adadecode.sim.core.number_format import percent, times
from adadecode.sim.validation.predictions import PredictedDesign

INTERVAL_WORDS = {
    "measured": "interval: nine in ten timed runs of this profile lie as near to their prediction",
    "carried": "interval: what is uncertain about the two devices; other prompts differ besides",
    "datasheet": "interval: what is uncertain about the device; other prompts differ besides",
}
"""What an interval covers, by where the latencies are from."""

OF_KERNELS = "interval: what is uncertain about the kernels, not about what runs between them"
"""The same of latencies that were put together from kernels measured on the device."""


def prediction_table(
    prediction: PredictedDesign, rate_notes: Iterable[str] = (), *, of_kernels: bool = False
) -> Group:
    """Return the figures of a prediction, a row each, and the notes on it.

    Args:
        prediction: The prediction.
        rate_notes: Why the figures of its device may surprise
            (`adadecode.sim.hardware.device_latency.DeviceLatencies`).
        of_kernels: Whether its latencies were put together from kernels measured on the device.
    """
    body = table("", "predicted", "interval")
    for what, figure, interval in _rows(prediction):
        body.add_row(what, figure, interval)
    basis = prediction.basis
    title = f"{prediction.design.label} on {prediction.device}{BASIS_WORDS[basis]}"
    words = OF_KERNELS if of_kernels else INTERVAL_WORDS[basis]
    captions = [] if prediction.tpot_s_low is None else [words]
    captions += regime_lines(prediction.regime, prediction.limited_by)
    return Group(
        titled(title, body, captions, hypothetical=prediction.hypothetical),
        *notes([*prediction.notes, *rate_notes]),
    )


def _rows(prediction: PredictedDesign) -> Iterator[tuple[str, str, str]]:
    """Yield what a row is of, the figure and its interval."""
    yield (
        "time per output token",
        f"{prediction.tpot_s * 1e3:.3f} ms",
        _interval(prediction.tpot_s_low, prediction.tpot_s_high, scale=1e3, digits=3),
    )
    yield "tokens per second", f"{prediction.tokens_per_s:.1f}", ""
    yield (
        "speedup over vanilla",
        times(prediction.speedup),
        _interval(prediction.speedup_low, prediction.speedup_high, digits=2),
    )
    yield "time to first token", f"{prediction.ttft_s * 1e3:.1f} ms", ""
    yield "tokens per round", f"{prediction.tokens_per_round:.2f}", ""
    yield "early predicted, of tested positions", percent(prediction.early_rate, 1), ""
    yield "discarded, of drafts", percent(prediction.reject_rate, 1), ""
    if prediction.design.gates:
        yield "questions to gates", f"{prediction.gates_asked:,}", ""
        yield "head checks", f"{prediction.checks:,}", ""
    yield "time resting on modelled branches", percent(prediction.modelled_share, 1), ""
    error = prediction.modelled_error
    yield "error to expect from these", "not measured" if error is None else percent(error, 2), ""
    yield "prompts", f"{prediction.prompts:,}", ""
    yield "output tokens", f"{prediction.tokens:,}", ""
    if prediction.texts_differ:
        share = f"{prediction.texts_differ} of {prediction.prompts}"
        yield "texts that differ from vanilla's", share, ""


def _interval(low: float | None, high: float | None, *, scale: float = 1.0, digits: int) -> str:
    if low is None or high is None:
        return ""
    return f"{low * scale:.{digits}f} .. {high * scale:.{digits}f}"
