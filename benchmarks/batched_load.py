"""Hold the serving simulator against loads that the batched engine serves in real time.

For each number of texts at once, vanilla and AdaDecode first serve a burst, which gives the rate at
which the slower of the two is full. Both then serve a quarter of that rate, half of it, and one
close to it, all with Poisson arrivals, twice each in turn. After each run, steps of bursts are
timed in pieces. What is measured lies in ``out/`` as profiles, and is not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from adadecode.engine.profiling.load_recording import ServedModel, load_again, record_load
from adadecode.engine.profiling.planned_load import plan_load
from adadecode.engine.runtime.environment import set_threads
from adadecode.engine.serving.real_load import serve_load
from adadecode.profiles.input_file import is_there, read_json
from adadecode.profiles.schema import MANIFEST
from adadecode.profiles.store import read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.serving.batching.recorded_load import EngineSettings
from adadecode.sim.serving.load_validation.held import (
    COMPARED_STATISTICS,
    COMPARED_TIMES,
    HeldLoad,
    hold_loads,
)
from adadecode.sim.serving.metrics.load_metrics import measure
from benchmarks.harness import RESULTS, make_table, write_result

RESULT = "batched_load"
OUT = Path("out/batched_load")
PROFILES = {"demo": "profiles/recorded/demo-cpu", "smollm2": "profiles/recorded/smollm2-cpu"}
DESIGNS = {
    "demo": Design.of("adadecode", placement=(1, 3, 5, 7), gamma=0.6),
    "smollm2": Design.of("adadecode", placement=(12, 27), gamma=(0.6, 0.5)),
}
AT_ONCE = (8, 16, 32)
LOADS = {"light": 0.25, "half": 0.5, "near saturation": 0.95}
"""Share of the rate at which the slower design is full."""
FEWEST = 48
"""Requests of a load at least."""
PIECES = "after every run"
"""When steps were timed in pieces."""


def settings_of(design: Design, at_once: int) -> EngineSettings:
    """Return an engine with blocks for all texts that run at once."""
    return EngineSettings(design=design, kv_blocks=16 * at_once, max_num_seqs=at_once)


def full_rate(served: ServedModel, settings: list[EngineSettings], output: int) -> float:
    """Return how many requests a second the slower engine answers when it is full."""
    rates = []
    budgets = served.profile.prompts["max_new_tokens"].tolist()
    for one in settings:
        count = 6 * one.max_num_seqs
        burst = plan_load(f"constant:100000,count={count},output={output}", budgets, seed=1)
        run = serve_load(
            served.loaded.model,
            served.heads,
            one,
            served.prompts,
            burst.requests,
            n_layers=served.profile.n_layers,
            eos=served.eos,
        )
        rates.append(measure(run.served).throughput.requests_per_s)
    return min(rates)


def rate_before(loads: list[tuple[str, Path]]) -> float | None:
    """Return the full rate by which loads were served before; None where none was."""
    for name, path in loads:
        if is_there(path / MANIFEST):
            spec = read_profile(path).manifest["load"]["source"]
            return float(spec.removeprefix("poisson:").partition(",")[0]) / LOADS[name]
    return None


def measure_loads(
    model: str, at_once: int, *, requests: int, output: int, out: Path
) -> list[tuple[str, Path]]:
    """Serve the loads that were not served yet, and return the profiles of all."""
    wanted = [(name, out / f"{model}-{at_once}-{name.split()[0]}") for name in LOADS]
    if all(is_there(path / MANIFEST) for _, path in wanted):
        return wanted
    served = load_again(read_profile(PROFILES[model]))
    settings = [settings_of(one, at_once) for one in (Design.of("vanilla"), DESIGNS[model])]
    rate = rate_before(wanted) or full_rate(served, settings, output)
    budgets = served.profile.prompts["max_new_tokens"].tolist()
    for seed, (name, path) in enumerate(wanted):
        if not is_there(path / MANIFEST):
            count = max(FEWEST, round(requests * LOADS[name]))  # so that each takes as long
            spec = f"poisson:{LOADS[name] * rate:.4g},count={count},output={output}"
            load = plan_load(spec, budgets, seed=seed)
            record_load(served, load, settings, out=path, repeats=2)
    return wanted


def record_small(base: Path, out: Path) -> None:
    """Write the recording that is committed: a small profile with six engines under one load.

    Args:
        base: A profile of the demo model, recorded with ``--limit 1 --max-new-tokens 12
            --gammas 0.6 --placements 1,3,5,7 --fixed-drafts 0``.
        out: The directory of the recording.
    """
    served = load_again(read_profile(base))
    settings = [
        settings_of(design, at_once)
        for at_once in AT_ONCE
        for design in (Design.of("vanilla"), DESIGNS["demo"])
    ]
    load = plan_load("poisson:100,count=40", served.profile.prompts["max_new_tokens"].tolist())
    record_load(served, load, settings, out=out, repeats=1)


def row_of(model: str, at_once: int, load: str, held: HeldLoad, source: str) -> dict[str, Any]:
    """Return what the results keep of one engine under one load."""

    def figures(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        return {
            time: {name: found[time][name] for name in COMPARED_STATISTICS}
            for time in COMPARED_TIMES
        }

    first = held.measured[0]
    return {
        "model": model,
        "at_once": at_once,
        "load": load,
        "source": source,
        "pieces": PIECES,
        "design": held.run.settings.design.label,
        "requests": first.requests,
        "verdict": str(first.judgement.verdict),
        "output_tokens_per_s": first.throughput.output_tokens_per_s,
        "steps": sum(one.steps for one in held.replays),
        "exact": sum(one.exact for one in held.replays),
        "time_error": max((one.time_error or 0.0) for one in held.replays),
        "measured": figures(first.to_json()),
        "errors": figures(held.errors),
        "signed_errors": [figures(one) for one in held.signed_errors],
        "noise": None if held.noise is None else figures(held.noise),
        "signed_noise": [figures(one) for one in held.signed_noise],
    }


def summary_of(rows: list[dict[str, Any]], statistic: str) -> dict[str, float]:
    """Return the median of errors and of what runs differ by, and the largest of these."""
    errors = [row["errors"][time][statistic] for row in rows for time in COMPARED_TIMES]
    noise = [row["noise"][time][statistic] for row in rows for time in COMPARED_TIMES]
    return {"error": median(errors), "noise": median(noise), "most_noise": max(noise)}


def main(arguments: list[str] | None = None) -> None:
    """Print how far the simulator is off, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 texts at once; keeps no result")
    parser.add_argument("--model", choices=PROFILES, default="demo", help="which [%(default)s]")
    parser.add_argument(
        "--requests", type=int, default=180, help="of a load that fills the engine [%(default)s]"
    )
    parser.add_argument("--output", type=int, default=24, help="most tokens [%(default)s]")
    parser.add_argument("--at-once", type=int, nargs="*", default=AT_ONCE, help="texts at once")
    parser.add_argument("--out", type=Path, default=OUT, help="the profiles [%(default)s]")
    parser.add_argument("--small", type=Path, nargs=2, metavar=("BASE", "OUT"), help="record it")
    options = parser.parse_args(arguments)
    set_threads(1)
    if options.small is not None:
        record_small(*options.small)
        return
    rows = []
    for at_once in AT_ONCE[:1] if options.quick else options.at_once:
        for load, path in measure_loads(
            options.model,
            at_once,
            requests=options.requests,
            output=options.output,
            out=options.out,
        ):
            profile = read_profile(path)
            source = str(profile.manifest["load"]["source"])
            rows += [
                row_of(options.model, at_once, load, held, source) for held in hold_loads(profile)
            ]
    headings = [
        f"{time.removesuffix('_s')} {name}"
        for time in COMPARED_TIMES
        for name in COMPARED_STATISTICS
    ]
    table = make_table("error of simulated times (runs apart)", *("at once", "load"), *headings)
    for row in rows:
        noise = row["noise"]
        table.add_row(
            str(row["at_once"]),
            f"{row['load']} {row['design'].split()[0]}",
            *(
                f"{row['errors'][time][name]:.1%} ({noise[time][name]:.1%})"
                for time in COMPARED_TIMES
                for name in COMPARED_STATISTICS
            ),
        )
    Console().print(table)
    if not options.quick:
        measured = {(row["model"], row["at_once"]) for row in rows}
        known = RESULTS / f"{RESULT}.json"
        before = read_json(known)["rows"] if is_there(known) else []
        others = [row for row in before if (row["model"], row["at_once"]) not in measured]
        everything = [*others, *rows]
        summary = {name: summary_of(everything, name) for name in COMPARED_STATISTICS}
        write_result(RESULT, {"rows": everything, "summary": summary})


if __name__ == "__main__":
    main()
