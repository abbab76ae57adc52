"""The figures of a served load, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.table import Table

from adadecode.sim.cli.tables.layout import BASIS_WORDS, table, titled
from adadecode.sim.serving.metrics.comparison import errors
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics
from adadecode.sim.serving.metrics.request_times import TIMES
from adadecode.sim.serving.metrics.summary import STATISTICS
from adadecode.sim.serving.served_run import ServedRun
from adadecode.sim.serving.workloads.workload import Workload

_NAMES = {
    "ttft_s": "TTFT, s", "tpot_s": "TPOT, ms", "itl_s": "ITL, ms", "e2e_s": "end to end, s",
}  # fmt: skip
_MILLI = ("tpot_s", "itl_s")


def left_out_words(count: int) -> str:
    """Return that so many rows of a file are no request that was answered."""
    return f"rows of the file that are no request that was answered, left out: {count:,}"


def times_table(found: LoadMetrics, missed: Mapping[str, Mapping[str, float]] | None) -> Table:
    """Return a row for each time.

    Args:
        found: The figures.
        missed: Errors by time and statistic, to stand beside them.
    """
    body = table("", *STATISTICS)
    for name in TIMES:
        summary = getattr(found, name)
        if summary is None:
            continue
        scale = 1e3 if name in _MILLI else 1.0
        cells = [f"{scale * getattr(summary, one):.4g}" for one in STATISTICS]
        if missed is not None and name in missed:
            known = missed[name]
            cells = [
                f"{cell} ({known[one]:+.1%})" if one in known else cell
                for cell, one in zip(cells, STATISTICS, strict=True)
            ]
        body.add_row(_NAMES[name], *cells)
    return body


def served_table(run: ServedRun, workload: Workload) -> Group:
    """Return a row for each time, with its error beside it where a server measured it.

    Args:
        run: What came of it.
        workload: The requests.
    """
    found = run.metrics
    missed = None if run.measured is None else errors(found, run.measured)
    rates = found.throughput
    use = found.use
    lines = [
        f"{found.judgement.verdict}: {found.judgement.reason}",
        (
            f"{rates.requests_per_s:.3g} requests and {rates.output_tokens_per_s:,.0f} output "
            f"tokens a second, over {found.seconds:,.0f} s in {run.load.n_steps:,} steps"
        ),
        f"{run.settings.kv_blocks:,} blocks of keys and values a server, "
        + (f"{use.kv_mean:.0%} in use on average; " if use and use.kv_mean is not None else "")
        + f"{found.preemptions:,} preemptions; {run.load.hit_share:.1%} of prompts cached",
        *_exit_lines(run),
        *run.notes,
    ]
    if run.left_out:
        lines.insert(1, left_out_words(run.left_out))
    if found.goodput is not None:
        lines.insert(2, f"{found.goodput.share:.1%} of the requests keep {found.goodput.slo}")
    if missed is not None:
        lines.append("in brackets: simulated / measured - 1")
    where = f"{run.steps.device}{BASIS_WORDS[run.steps.basis]}"
    title = f"{found.requests:,} requests of {workload.source} on {where}"
    return titled(title, times_table(found, missed), lines)


def _exit_lines(run: ServedRun) -> list[str]:
    """Return what early exits did, a sentence each; nothing for vanilla."""
    use = run.metrics.use
    if run.exits is None or use is None:
        return []
    did = "no draft"
    if use.acceptance_length is not None and use.acceptance_rate is not None:
        did = (
            f"{use.acceptance_length:.2f} tokens a verification, "
            f"{use.acceptance_rate:.1%} of the drafts accepted"
        )
    lines = [f"{run.policy}: {did}"]
    if run.policies:
        each = ", ".join(f"{name} {one.e2e_s.mean:.4g} s" for name, one in run.policies.items())
        lines.append(f"mean end to end at this load: {each}; {run.better} is the better of two")
    if run.exits.drafting:
        lines.append("by sequences that decode at once: " + _drafting_words(run.exits.drafting))
    return lines


def _drafting_words(drafting: Sequence[tuple[int, str | None]]) -> str:
    """Return which design is best from how many sequences on."""
    words, before = [], ""
    for count, label in drafting:
        found = label or "no drafts"
        if found != before:
            words.append(f"{found} from {count} on")
        before = found
    return "; ".join(words)
