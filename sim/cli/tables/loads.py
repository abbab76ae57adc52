"""Loads that a batched engine served, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group

from adadecode.sim.cli.tables.layout import table, titled
from adadecode.sim.core.number_format import percent
from adadecode.sim.serving.batching.recorded_load import LoadRun
from adadecode.sim.serving.load_validation.held import (
    COMPARED_STATISTICS,
    COMPARED_TIMES,
    HeldLoad,
)
from adadecode.sim.serving.metrics.load_metrics import measure

_NAMES = {"ttft_s": "TTFT", "tpot_s": "TPOT", "e2e_s": "end to end"}


def load_table(runs: Sequence[LoadRun]) -> Group:
    """Return a row for each run of a load: what its requests waited."""
    body = table(
        *("design", "TTFT mean, ms", "P99", "TPOT mean, ms", "P99", "tokens/s", "verdict"),
        texts=("verdict",),
        names=True,
    )
    for run in runs:
        found = measure(run.served)
        tpot = found.tpot_s
        body.add_row(
            run.settings.design.label,
            *(f"{1e3 * value:.3g}" for value in (found.ttft_s.mean, found.ttft_s.p99)),
            *(("", "") if tpot is None else (f"{1e3 * one:.3g}" for one in (tpot.mean, tpot.p99))),
            f"{found.throughput.output_tokens_per_s:,.0f}",
            str(found.judgement.verdict),
        )
    return titled(f"{len(runs[0].requests):,} requests, served in real time", body, [])


def held_tables(loads: Sequence[HeldLoad]) -> Iterator[Group]:
    """Yield a table for each engine that served a load: T0 to T2, and by how much runs differ."""
    for held in loads:
        settings, steps = held.run.settings, sum(one.steps for one in held.replays)
        exact = sum(one.exact for one in held.replays)
        body = table("", "measured, ms", "T2 error", "run against run", names=True)
        for time in COMPARED_TIMES:
            for name in (one for one in COMPARED_STATISTICS if one in held.errors.get(time, {})):
                noise = None if held.noise is None else held.noise[time][name]
                body.add_row(
                    f"{_NAMES[time]} {name.replace('p99', 'P99')}",
                    f"{1e3 * getattr(getattr(held.measured[0], time), name):.3g}",
                    f"{held.errors[time][name]:.1%}",
                    "" if noise is None else f"{noise:.1%}",
                )
        captions = [
            f"T0: {exact:,} of {steps:,} steps of {len(held.replays)} runs formed again",
            *(f"T0: {one.why}" for one in held.replays if one.why),
            ""
            if held.time_error is None
            else f"T1: requests' times off by at most {percent(held.time_error, 3)}",
            f"load: {held.measured[0].judgement.verdict}, {settings.max_num_seqs} texts at once",
        ]
        yield titled(f"load under {settings.design.label}", body, list(filter(None, captions)))
