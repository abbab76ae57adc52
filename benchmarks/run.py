"""``make bench``: every benchmark, one after the other; figures go to ``benchmarks/results``."""

from __future__ import annotations

import argparse

from benchmarks import (
    ablation,
    baselines,
    best,
    flips,
    head_forms,
    lossless,
    off_design,
    paper,
    replay,
    sampling,
    speed,
    sweep,
    synthetic,
    transfer,
    vanilla,
)

BENCHMARKS = {
    "speed": speed,
    "vanilla": vanilla,
    "baselines": baselines,
    "replay": replay,
    "sweep": sweep,
    "off_design": off_design,
    "best": best,
    "ablation": ablation,
    "head_forms": head_forms,
    "paper": paper,
    "synthetic": synthetic,
    "transfer": transfer,
    "sampling": sampling,
    "flips": flips,
    "lossless": lossless,
}


def main() -> None:
    """Those named, else all. Losslessness comes last: it is no matter of time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    for name, benchmark in BENCHMARKS.items():
        if not args.names or name in args.names:
            benchmark.main([])


if __name__ == "__main__":
    main()
