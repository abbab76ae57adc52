"""Run the benchmarks one after the other; figures go to ``benchmarks/results``."""

from __future__ import annotations

import argparse

from adadecode.profiles.output_path import check_output_directory
from adadecode.sim.cli.errors import exiting_on_error
from benchmarks import (
    ablation,
    agreement,
    architectures,
    baselines,
    batched_engine,
    batched_load,
    best,
    costs,
    every_device,
    few_rows,
    flips,
    head_forms,
    head_gain,
    interleaving,
    long_texts,
    lossless,
    off_design,
    paper,
    paper_regimes,
    pretrained_lossless,
    replay,
    sampling,
    serving_closed_loop,
    serving_real_server,
    serving_scale,
    speed,
    sweep,
    synthetic,
    threads,
    training,
    transfer,
    transfer_law,
    vanilla,
)
from benchmarks.harness import RESULTS

BENCHMARKS = {
    "speed": speed,
    "vanilla": vanilla,
    "few_rows": few_rows,
    "baselines": baselines,
    "batched_engine": batched_engine,
    "batched_load": batched_load,
    "replay": replay,
    "interleaving": interleaving,
    "sweep": sweep,
    "off_design": off_design,
    "best": best,
    "ablation": ablation,
    "head_forms": head_forms,
    "head_gain": head_gain,
    "paper": paper,
    "paper_regimes": paper_regimes,
    "synthetic": synthetic,
    "transfer": transfer,
    "transfer_law": transfer_law,
    "every_device": every_device,
    "serving_real_server": serving_real_server,
    "serving_scale": serving_scale,
    "serving_closed_loop": serving_closed_loop,
    "sampling": sampling,
    "costs": costs,
    "training": training,
    "flips": flips,
    "long_texts": long_texts,
    "architectures": architectures,
    "agreement": agreement,
    "lossless": lossless,
    "pretrained_lossless": pretrained_lossless,
    "threads": threads,
}
"""In the order in which they run. What does not depend on time comes last."""


def main(arguments: list[str] | None = None) -> None:
    """Run the named benchmarks, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which [all]; see --list")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and run none")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    if options.list:
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:<12} {(benchmark.__doc__ or '').splitlines()[0]}")
        return
    with exiting_on_error():
        check_output_directory(RESULTS, "results")
        for name, benchmark in BENCHMARKS.items():
            if not options.names or name in options.names:
                benchmark.main([])


if __name__ == "__main__":
    main()
