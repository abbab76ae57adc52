"""How many tokens per second the SimPy replay simulates, on the recorded profile and one core."""

from __future__ import annotations

import argparse
import time

from rich.console import Console

from adadecode.profiles.store import read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import replay
from benchmarks.harness import PROFILE, write_result

DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.75, placement=(4,)),
    Design.of(gamma=0.75, placement=(4, 8)),
    Design.of(gamma=0.75, placement=(3, 6, 9, 12)),
)


def main(arguments: list[str] | None = None) -> None:
    """Print and keep tokens per second: median, lowest and highest of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    predictor = Predictor.of(read_profile(PROFILE))
    results = {}
    for design in DESIGNS:
        rates = []
        for _ in range(options.repeats):
            began = time.perf_counter()
            runs = replay(predictor.trace, predictor.latency, design, model=predictor.model)
            tokens = sum(run.n_tokens for run in runs)
            rates.append(tokens / (time.perf_counter() - began))
        rates.sort()
        middle = rates[len(rates) // 2]
        results[design.label] = {
            "median": middle,
            "min": rates[0],
            "max": rates[-1],
            "tokens": tokens,
        }
        Console().print(
            f"replay, {design.label}: {middle:,.0f} simulated tokens/s "
            f"({rates[0]:,.0f} .. {rates[-1]:,.0f})"
        )
    write_result("replay", {"results": results})


if __name__ == "__main__":
    main()
