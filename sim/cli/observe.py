"""``adadecode-sim observe``: what requests wait at a real server."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from adadecode.sim.cli.interruption import NOTHING_WRITTEN, on_interrupt
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.observing import (
    AskedServerOptions,
    RunDirectory,
    SentOptions,
    ServerAddress,
)
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.progress import showing_progress
from adadecode.sim.serving.observing.observe import LATE_S, Observation
from adadecode.sim.serving.observing.observe import observe as send
from adadecode.sim.serving.observing.run_files import REQUESTS, RunFiles


@takes_option_sets
def observe(
    url: ServerAddress,
    *,
    load: SentOptions,
    server: AskedServerOptions,
    out: RunDirectory,
    as_json: Json = False,
) -> None:
    """Send a load to a real server, and record what its requests wait.

    In real time, to any server with OpenAI's interface. What is recorded is what serve takes as
    --against, so that the simulation can be held against the server.
    """
    workload = load.load()
    texts = load.texts(workload)
    found = Observation()
    files = RunFiles(
        out,
        found,
        {
            "url": url.name,
            "began": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            **load.described(workload),
            **server.to_json(),
        },
    )
    with (
        on_interrupt(lambda: _kept(files, len(workload.requests))),
        showing_progress("requests") as show,
    ):
        send(
            url,
            workload,
            found,
            model=server.model,
            key=server.key,
            texts=texts,
            more=server.body,
            most_tokens=load.max_tokens,
            concurrency=load.concurrency,
            timeout_s=server.timeout_s,
            report=show,
            keep=files.keep,
        )
        metrics, document = files.finish()
    if as_json:
        print_json(document)
        return
    from adadecode.sim.cli.tables.layout import console, titled
    from adadecode.sim.cli.tables.serving import times_table

    title = f"{metrics.requests:,} requests of {workload.source}, answered by {found.model}"
    rates = metrics.throughput
    lines = [
        f"{metrics.judgement.verdict}: {metrics.judgement.reason}",
        (
            f"{rates.requests_per_s:.3g} requests and {rates.output_tokens_per_s:,.0f} output "
            f"tokens a second, over {metrics.seconds:,.0f} s"
        ),
        *_doubts(found.failures, found.late),
        (
            "hold a simulation against it: adadecode-sim serve LATENCY "
            f"--requests {out / REQUESTS} --against {out / REQUESTS}"
        ),
    ]
    console().print(titled(title, times_table(metrics, None), lines))


def _doubts(failures: Counter[str], late: int) -> list[str]:
    """Return what makes the figures less than they seem."""
    lines = []
    if failures:
        kinds = ", ".join(f"{name} {count:,}" for name, count in failures.most_common())
        lines.append(f"failed, and left out: {kinds}")
    if late:
        lines.append(
            f"sent more than {1e3 * LATE_S:g} ms late: {late:,} requests; they count from when "
            "they were sent"
        )
    return lines


def _kept(files: RunFiles, wanted: int) -> str:
    """Keep what there is of an interrupted run, and return where it is."""
    files.keep()
    ended = len(files.found.requests)
    if not ended:
        return NOTHING_WRITTEN
    if files.over:
        return f"the run was over, and is whole in {files.folder}"
    return f"{ended:,} of {wanted:,} requests ended, and are kept in {files.unfinished}"
