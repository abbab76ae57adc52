"""Write ``scripts/paper-rates``: the outputs of heads at the paper's rates, for large shapes.

    python -m scripts.gpu_run.paper_trace OUT

``make bench ARGS=paper`` fits heads to figure 5 of the paper and keeps them in
benchmarks/results/paper.json; here texts are drawn from them. There are two domains, because exit
depths are not published and the rates do not determine them: *rates*, fitted to the rates of figure
5 alone, and *rates-and-speedups*, fitted to its speedups in the paper's own stack too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adadecode.sim.synthetic.head_model import Beta, HeadModel
from adadecode.sim.synthetic.synthetic_profile import write_synthetic
from adadecode.sim.synthetic.trace_generator import alike
from scripts.gpu_run.state import ROOT

FITS = ROOT / "benchmarks/results/paper.json"
DOMAINS = {"rates": "one concentration", "rates-and-speedups": "joint"}
"""By domain, the benchmark's name of its heads."""
PROMPTS, N_PROMPT, N_OUTPUT = 4, 128, 192
"""Prompts of each domain, and the tokens and new tokens of each."""
SEED = 1


def head_model(fit: Mapping[str, Any]) -> HeadModel:
    """Return the head model that `HeadModel.to_dict` wrote."""
    pairs = {name: tuple(Beta(*pair) for pair in fit[name]) for name in ("right", "wrong")}
    rest = {
        "depths": tuple(fit["depths"]),
        "agreement": tuple(fit["agreement"]),
        "last": Beta(*fit["last"]),
    }
    return HeadModel(**{**fit, **pairs, **rest})


def write_decisions(out: Path) -> None:
    """Write the profile, with the same bytes each time.

    Raises:
        SyntheticError: If ``out`` is in use.
    """
    fits = json.loads(FITS.read_text())["fits"]
    models = {domain: head_model(fits[name]["model"]) for domain, name in DOMAINS.items()}
    prompts = [
        prompt
        for domain in models
        for prompt in alike(PROMPTS, n_prompt=N_PROMPT, n_output=N_OUTPUT, domain=domain)
    ]
    names = ", ".join(f"{domain} = {name}" for domain, name in DOMAINS.items())
    origin = {"heads": f"{FITS.relative_to(ROOT)}, fits: {names}"}
    write_synthetic(out, models, prompts, seed=SEED, origin=origin)


if __name__ == "__main__":
    write_decisions(Path(sys.argv[1]))
