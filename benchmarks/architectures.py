"""Try every causal LM of ``transformers`` in small: which are served token for token, which not.

The models are random, in FP32, of four layers, and built from the default config of each
architecture. Their greedy texts are compared with those of ``generate``.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from dataclasses import asdict

import torch
from rich.console import Console
from rich.progress import track

from benchmarks.harness import make_table, write_result
from tests.support.every_model import GAMMAS, LAYERS, NAMES, PROMPTS, TOKENS, outcome_of


def main(arguments: list[str] | None = None) -> None:
    """Try all architectures, and write what came of each.

    Raises:
        AssertionError: One is served with another text than its own.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    outcomes = {name: outcome_of(name) for name in track(NAMES, "architectures")}
    counts = Counter(outcome.kind for outcome in outcomes.values())
    table = make_table(
        ", ".join(f"{n} {kind}" for kind, n in counts.items()), "architecture", "why"
    )
    for name, outcome in outcomes.items():
        table.add_row(name, outcome.kind if outcome.kind == "served" else outcome.why)
    Console().print(table)
    write_result(
        "architectures",
        {
            "layers": LAYERS,
            "tokens": TOKENS,
            "prompts": PROMPTS,
            "gammas": GAMMAS,
            "counts": dict(counts),
            "architectures": {name: asdict(outcome) for name, outcome in outcomes.items()},
        },
    )


if __name__ == "__main__":
    main()
