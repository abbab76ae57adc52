"""Time AdaDecode over vanilla in the batched engine, at batch sizes from 1 to 32.

A job serves as many held-out prompts of the demo model or of SmolLM2 as the batch has, of one
domain or of all; where there are fewer, they come again. All are there at the beginning, and each
is continued by the same number of tokens whatever its end, on one CPU thread in FP32. Vanilla and
AdaDecode under each order of segments are timed in turn; a speedup is vanilla's seconds over the
design's, repeat by repeat. Every text is held against the one that vanilla writes for its prompt
alone. Each batch size is kept once it is measured, and not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo.demo_model import Demo, load_demo, load_smollm2
from adadecode.engine.loading.prompts import encode
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.profiles.input_file import is_there, read_json
from adadecode.sim.core.design import Design
from benchmarks.harness import RESULTS, describe_ratio, in_turn, make_table, ratio, write_result
from tests.support.batched_patterns import NEAR_TIE
from tests.support.models import gap_at

RESULT = "batched_engine"
BATCHES = (1, 2, 4, 8, 16, 32)
N_TOKENS = 32
FEW = 8
"""A batch of fewer texts is timed on two sets of prompts, a larger one on one."""
DESIGNS = {
    "demo": Design.of("adadecode", placement=(1, 3, 5, 7), gamma=0.6),
    "smollm2": Design.of("adadecode", placement=(12, 27), gamma=(0.6, 0.5)),
}
"""The best one of a single sequence that runs eagerly: on the first of the domains
(``benchmarks/speed.py``), and on GSM8K (``benchmarks/head_gain.py``, heads without gates)."""
DOMAINS = ("arithmetic", "all")
ORDERS = ("lockstep", "largest")
"""``deepest`` forms the batches of ``lockstep`` here (decision 0054)."""


def load(model: str) -> Demo:
    """Return a model of `DESIGNS`; the heads of SmolLM2 have a shortlist that takes in prompts."""
    if model == "demo":
        return load_demo()
    loaded = load_smollm2()
    return replace(loaded, heads=loaded.heads.shaped(loaded.model, shortlist=1024, prompt=True))


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
    named = demo.domains if domains == "all" else [domains]
    of_domains = zip(*(demo.of(domain) for domain in named), strict=False)
    prompts = [prompt for each in of_domains for prompt in each]
    ids = [encode(demo.tokenizer, prompt) for prompt in prompts]
    parts = range(2 if batch < FEW else 1)
    return [[ids[(part * batch + n) % len(ids)] for n in range(batch)] for part in parts]


def alone(demo: Demo, prompts: list[torch.Tensor]) -> list[list[int]]:
    """Return the text that vanilla writes for each prompt alone."""
    decoder = AdaDecoder(demo.model, demo.heads)
    return [
        decoder.generate(ids, N_TOKENS, policy="vanilla", eos_token_id=()).tokens for ids in prompts
    ]


def compared(
    demo: Demo, prompts: list[torch.Tensor], wanted: list[list[int]], texts: list[list[int]]
) -> dict[str, int]:
    """Count the texts that are vanilla's alone, those that differ at a near-tie, and others."""
    counts = {"equal": 0, "explained": 0, "unexplained": 0}
    for ids, own, tokens in zip(prompts, wanted, texts, strict=True):
        if tokens == own:
            counts["equal"] += 1
            continue
        at = next(n for n, (one, two) in enumerate(zip(own, tokens, strict=True)) if one != two)
        tied = gap_at(demo.model, ids, own, at) < NEAR_TIE
        counts["explained" if tied else "unexplained"] += 1
    return counts


def measure(demo: Demo, design: Design, domains: str, batch: int, repeats: int) -> dict[str, Any]:
    """Time vanilla and the orders of AdaDecode at one batch size."""
    sets = sets_of(demo, domains, batch)
    ways = {
        "vanilla": Served(demo, Design.of("vanilla"), "lockstep"),
        **{order: Served(demo, design, order) for order in ORDERS},
    }
    jobs = {name: [way.job(prompts) for prompts in sets] for name, way in ways.items()}
    seconds = in_turn(jobs, repeats)
    wanted = alone(demo, sets[-1])
    tokens = len(sets) * batch * N_TOKENS
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
                "texts": compared(demo, sets[-1], wanted, ways[order].texts),
            }
            for order in ORDERS
        },
    }


def key_of(row: dict[str, Any]) -> tuple[str, int]:
    """Return which measurement a row is."""
    return row["domains"], row["batch"]


def measured_before(model: str, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a model that were measured before, in the same way."""
    known = RESULTS / f"{RESULT}.json"
    found = read_json(known)["models"] if is_there(known) else []
    return [
        row
        for one in found
        if one["model"] == model and {**one, "results": []} == {**about, "results": []}
        for row in one["results"]
    ]


def keep(about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write the rows of a model that are measured so far, and keep those of other models."""
    known = RESULTS / f"{RESULT}.json"
    kept = read_json(known)["models"] if is_there(known) else []
    others = [one for one in kept if one["model"] != about["model"]]
    order = {key: place for place, key in enumerate(product(DOMAINS, BATCHES))}
    rows = sorted(rows, key=lambda row: order[key_of(row)])
    models = sorted(
        [*others, {**about, "results": rows}], key=lambda one: list(DESIGNS).index(one["model"])
    )
    write_result(RESULT, {"models": models})


def shown(about: dict[str, Any], rows: list[dict[str, Any]]) -> Table:
    """Return the speedups as a table."""
    title = f"{about['model']}: AdaDecode over vanilla, {about['design']}"
    table = make_table(title, "domains", "batch", *ORDERS)
    for row in rows:
        speedups = [describe_ratio(row["orders"][order]["speedup"]) for order in ORDERS]
        table.add_row(row["domains"], str(row["batch"]), *speedups)
    return table


def main(arguments: list[str] | None = None) -> None:
    """Measure what was not measured before, print the speedups and keep them one by one.

    Raises:
        SystemExit: If a text was another one.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="batches of 1 and 4; keeps nothing")
    parser.add_argument("--model", choices=DESIGNS, default="demo", help="which [%(default)s]")
    parser.add_argument("--repeats", type=int, default=5, help="repeats [%(default)s]")
    parser.add_argument("--domains", choices=DOMAINS, nargs="*", default=DOMAINS, help="which")
    parser.add_argument("--batches", type=int, choices=BATCHES, nargs="*", default=BATCHES)
    parser.add_argument("--again", action="store_true", help="also what was measured before")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo, design = load(options.model), DESIGNS[options.model]
    about = {
        "model": options.model,
        "design": design.label,
        "heads": demo.heads.form.label,
        "tokens": N_TOKENS,
        "repeats": options.repeats,
    }
    fresh = options.quick or options.again
    rows = [] if fresh else measured_before(options.model, about)
    batches = BATCHES[:3:2] if options.quick else options.batches
    known = set(map(key_of, rows))
    for domains, batch in product(options.domains, batches):
        if (domains, batch) in known:
            continue
        repeats = 1 if options.quick else options.repeats
        rows.append(measure(demo, design, domains, batch, repeats))
        if not options.quick:
            keep(about, rows)
    Console().print(shown(about, rows))
    if any(row["orders"][order]["texts"]["unexplained"] for row in rows for order in ORDERS):
        raise SystemExit("a text was another one than alone")


if __name__ == "__main__":
    main()
