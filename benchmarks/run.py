"""``make bench``: every benchmark, one after the other; figures go to ``benchmarks/results``."""

from __future__ import annotations

import argparse

from benchmarks import ablation, best, lossless, off_design, paper, replay, speed, sweep, transfer

BENCHMARKS = {
    "speed": speed,
    "replay": replay,
    "sweep": sweep,
    "off_design": off_design,
    "best": best,
    "ablation": ablation,
    "paper": paper,
    "transfer": transfer,
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
