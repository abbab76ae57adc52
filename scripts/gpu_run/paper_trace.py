"""Makes ``scripts/paper-rates``: what heads at the paper's rates say, for large shapes to follow.

    python -m scripts.gpu_run.paper_trace OUT

Heads were fitted to figure 5 of the paper by ``make bench ARGS=paper``, which keeps them in benchmarks/results/paper.json; here texts are drawn from them. Two
domains, since exit depths are not published and rates leave them open: *rates*, fitted to the rates of figure 5 alone; *rates-and-speedups*, fitted to
its speedups in the paper's own stack too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adadecode.sim.synthetic.head_model import Beta, HeadModel
from adadecode.sim.synthetic.trace_generator import alike, write_synthetic
from scripts.gpu_run.state import ROOT

FITS = ROOT / "benchmarks/results/paper.json"
DOMAINS = {"rates": "one concentration", "rates-and-speedups": "joint"}
"""By domain, what the benchmark calls its heads."""
PROMPTS, N_PROMPT, N_OUTPUT = 4, 128, 192
"""Of each domain."""
SEED = 1


def head_model(told: Mapping[str, Any]) -> HeadModel:
    """From JSON, as `HeadModel.to_dict` writes it."""
    pairs = {name: tuple(Beta(*pair) for pair in told[name]) for name in ("right", "wrong")}
    rest = {
        "depths": tuple(told["depths"]),
        "agreement": tuple(told["agreement"]),
        "last": Beta(*told["last"]),
    }
    return HeadModel(**{**told, **pairs, **rest})


def write_decisions(out: Path) -> None:
    """Write the profile: the same bytes each time. Raises SyntheticError where ``out`` is in use."""
    fits = json.loads(FITS.read_text())["fits"]
    models = {domain: head_model(fits[name]["model"]) for domain, name in DOMAINS.items()}
    prompts = [
        one
        for domain in models
        for one in alike(PROMPTS, n_prompt=N_PROMPT, n_output=N_OUTPUT, domain=domain)
    ]
    origin = {
        "heads": f"{FITS.relative_to(ROOT)}, fits: "
        + ", ".join(f"{domain} = {name}" for domain, name in DOMAINS.items())
    }
    write_synthetic(out, models, prompts, seed=SEED, origin=origin)


if __name__ == "__main__":
    write_decisions(Path(sys.argv[1]))
