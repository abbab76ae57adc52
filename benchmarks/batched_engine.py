"""Time AdaDecode over vanilla in the batched engine, at batch sizes from 1 to 16 on the demo model.

A job serves as many held-out prompts as the batch has, of one domain or of all, all there at the
beginning, each to the same number of tokens whatever its end, on one CPU thread in FP32. Vanilla
and AdaDecode under each order of segments are timed in turn; a speedup is vanilla's seconds over
the design's, repeat by repeat. Every text is held against the one that vanilla writes for its
prompt alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from rich.console import Console

from adadecode.engine import Demo, load_demo
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.loading.prompts import encode
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.sim.core.design import Design
from benchmarks.harness import describe_ratio, in_turn, make_table, ratio, write_result
from tests.support.batched_patterns import NEAR_TIE
from tests.support.models import gap_at

BATCHES = (1, 2, 4, 8, 16)
N_TOKENS = 32
PARTS = 2
"""Sets of prompts that a batch size is timed on."""
DESIGN = Design.of("adadecode", placement=(1, 3, 5, 7), gamma=0.6)
"""The best one of a single sequence on the first of the domains (``benchmarks/speed.py``)."""
DOMAINS = {"arithmetic": ("arithmetic",), "all": ("arithmetic", "code", "prose", "unpredictable")}
ORDERS = ("lockstep", "largest")
"""``deepest`` forms the batches of ``lockstep`` here (decision 0054)."""


class Served:
    """A job: texts served at once, and what came of them.

    Attributes:
        texts: The tokens of the latest texts.
        steps: Steps that they took.
        rows: Positions of a step, on average.
    """

    def __init__(self, demo: Demo, design: Design, order: str) -> None:
        self._make = partial(
            BatchedDecoder, demo.model, demo.heads, design, order=order, kv_blocks=512, record=True
        )
        self.texts: list[list[int]] = []
        self.steps = 0
        self.rows = 0.0

    def job(self, prompts: list[torch.Tensor]) -> Callable[[], None]:
        """Return what serves these prompts once; the decoder is made beforehand."""
        decoder = self._make(max_num_seqs=len(prompts))

        def serve() -> None:
            decoder.steps.clear()
            texts = [decoder.text(ids, N_TOKENS, eos_token_id=()) for ids in prompts]
            for text in texts:
                decoder.add(text)
            while decoder.step() is not None:
                pass
            self.texts = [text.tokens for text in texts]
            self.steps = len(decoder.steps)
            spans = [span for step in decoder.steps for span in step.batch.spans]
            self.rows = sum(span.stop - span.start for span in spans) / self.steps

        return serve


def sets_of(demo: Demo, domains: str, batch: int) -> list[list[torch.Tensor]]:
    """Return sets of prompts of some domains in turn, as many in each as the batch has."""
    of_domains = zip(*(demo.of(domain) for domain in DOMAINS[domains]), strict=False)
    prompts = [prompt for each in of_domains for prompt in each]
    ids = [encode(demo.tokenizer, prompt) for prompt in prompts]
    return [[ids[(part * batch + n) % len(ids)] for n in range(batch)] for part in range(PARTS)]


def compared(demo: Demo, prompts: list[torch.Tensor], texts: list[list[int]]) -> dict[str, int]:
    """Count the texts that are vanilla's alone, those that differ at a near-tie, and others."""
    alone = AdaDecoder(demo.model, demo.heads)
    counts = {"equal": 0, "explained": 0, "unexplained": 0}
    for ids, tokens in zip(prompts, texts, strict=True):
        own = alone.generate(ids, N_TOKENS, policy="vanilla", eos_token_id=()).tokens
        if tokens == own:
            counts["equal"] += 1
            continue
        at = next(n for n, (one, two) in enumerate(zip(own, tokens, strict=True)) if one != two)
        tied = gap_at(demo.model, ids, own, at) < NEAR_TIE
        counts["explained" if tied else "unexplained"] += 1
    return counts


def measure(demo: Demo, domains: str, batch: int, repeats: int) -> dict[str, Any]:
    """Time vanilla and the orders of AdaDecode at one batch size."""
    sets = sets_of(demo, domains, batch)
    ways = {
        "vanilla": Served(demo, Design.of("vanilla"), "lockstep"),
        **{order: Served(demo, DESIGN, order) for order in ORDERS},
    }
    jobs = {name: [way.job(prompts) for prompts in sets] for name, way in ways.items()}
    seconds = in_turn(jobs, repeats)
    tokens = PARTS * batch * N_TOKENS
    return {
        "domains": domains,
        "batch": batch,
        "vanilla_tokens_per_s": median(tokens / spent for spent in seconds["vanilla"]),
        "orders": {
            order: {
                "speedup": ratio(seconds["vanilla"], seconds[order]),
                "tokens_per_s": median(tokens / spent for spent in seconds[order]),
                "steps": ways[order].steps,
                "rows": ways[order].rows,
                "texts": compared(demo, sets[-1], ways[order].texts),
            }
            for order in ORDERS
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the speedups and keep them.

    Raises:
        SystemExit: If a text was another one.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="batches of 1 and 4; keeps nothing")
    parser.add_argument("--repeats", type=int, default=5, help="repeats [%(default)s]")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    rows = [
        measure(demo, domains, batch, 1 if options.quick else options.repeats)
        for domains in DOMAINS
        for batch in (BATCHES[:3:2] if options.quick else BATCHES)
    ]
    table = make_table(f"AdaDecode over vanilla, {DESIGN.label}", "domains", "batch", *ORDERS)
    for row in rows:
        speedups = [describe_ratio(row["orders"][order]["speedup"]) for order in ORDERS]
        table.add_row(row["domains"], str(row["batch"]), *speedups)
    Console().print(table)
    if not options.quick:
        about = {"design": DESIGN.label, "tokens": N_TOKENS, "repeats": options.repeats}
        write_result("batched_engine", {**about, "results": rows})
    if any(row["orders"][order]["texts"]["unexplained"] for row in rows for order in ORDERS):
        raise SystemExit("a text was another one than alone")


if __name__ == "__main__":
    main()
