"""``make bench``: every benchmark, one after the other; figures go to ``benchmarks/results``."""

from __future__ import annotations

from benchmarks import ablation, off_design, replay, speed


def main() -> None:
    """Speed, replay, predictions off the recorded designs, ablations."""
    speed.main([])
    replay.main([])
    off_design.main([])
    ablation.main([])


if __name__ == "__main__":
    main()
