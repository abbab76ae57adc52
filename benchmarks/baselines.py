"""Compare other ways to decode with ours, all in turn, on held-out arithmetic and code prompts.

The demo model on one thread, in FP32 at batch 1. Before anything is timed, every text is compared
with that of ``transformers`` generate; a baseline that fails says why. The AdaDecode design is the
one that `benchmarks.speed` chooses: by simulation, on other prompts of the domain. Seconds of
compilation (minutes, on a CPU) are given apart.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, load_demo
from adadecode.engine.baselines.baseline import Baseline, TimedRun, n_same
from adadecode.engine.baselines.designs import DesignBaseline, attempt
from adadecode.engine.baselines.factory import load_draft, make_baselines
from adadecode.engine.demo import Demo
from adadecode.engine.loading.prompts import encode
from adadecode.profiles.store import read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from benchmarks.designs import best_design
from benchmarks.harness import PROFILE, describe_ratio, make_table, ratio, write_result

NEW_TOKENS = 128
FIXED_DRAFTS = 3
DOMAINS = ("arithmetic", "code")

Text = tuple[torch.Tensor, int]
"""Token ids of a prompt, shape (1, n), and how many new tokens to decode."""


def check(baselines: Sequence[Baseline], texts: Sequence[Text]) -> dict[str, dict[str, Any]]:
    """Run each baseline once on every text, and compare with the first, which is generate.

    Returns:
        By baseline: how many of its texts are generate's, where the first of the others differs,
        how long compiling took, and the error where it failed.
    """
    reference = [baselines[0].run(ids, n).tokens for ids, n in texts]
    found = {}
    for baseline in baselines:
        outcomes = [attempt(baseline, ids, n) for ids, n in texts]
        errors = [outcome for outcome in outcomes if isinstance(outcome, str)]
        runs = [
            (outcome, tokens)
            for outcome, tokens in zip(outcomes, reference, strict=True)
            if isinstance(outcome, TimedRun)
        ]
        differences = [n_same(run.tokens, tokens) for run, tokens in runs if run.tokens != tokens]
        found[baseline.name] = {
            **baseline.about(),
            "texts": len(runs),
            "equal": len(runs) - len(differences),
            "first_difference": min(differences, default=None),
            "compile_s": sum(run.compile_s for run, _ in runs),
            "error": errors[0] if errors else None,
        }
    return found


def measure(
    baselines: Sequence[Baseline], texts: Sequence[Text], repeats: int, seed: int = 0
) -> dict[str, list[tuple[float, float]]]:
    """Time the baselines in turn within every text.

    Returns:
        By baseline and repeat: seconds per token after the first step, and seconds of whole runs.
    """
    order = random.Random(seed)
    found: dict[str, list[tuple[float, float]]] = {baseline.name: [] for baseline in baselines}
    for _ in range(repeats):
        runs: dict[str, list[TimedRun]] = {baseline.name: [] for baseline in baselines}
        for ids, n in texts:
            for baseline in order.sample(list(baselines), len(baselines)):
                runs[baseline.name].append(baseline.run(ids, n))
        for name, timed in runs.items():
            later_tokens = sum(len(run.tokens) - run.n_first for run in timed)
            decode_s = sum(run.decode_s for run in timed)
            token_s = decode_s / later_tokens if later_tokens else float("nan")
            found[name].append((token_s, sum(run.prefill_s + run.decode_s for run in timed)))
    return found


def compare(
    domain: str, baselines: Sequence[Baseline], texts: Sequence[Text], repeats: int
) -> dict[str, Any]:
    """Return everything about one domain.

    That is each baseline's text, its seconds per token, and its ratios to our vanilla and to
    generate.
    """
    found = check(baselines, texts)
    working = [baseline for baseline in baselines if found[baseline.name]["error"] is None]
    seconds = measure(working, texts, repeats)
    token_s = {name: [token for token, _ in pairs] for name, pairs in seconds.items()}
    run_s = {name: [whole for _, whole in pairs] for name, pairs in seconds.items()}
    for name in seconds:
        found[name] |= {
            "tpot_s": median(token_s[name]),
            "over_vanilla": ratio(token_s["vanilla"], token_s[name]),
            "over_generate": ratio(token_s["generate"], token_s[name]),
            "over_generate_whole": ratio(run_s["generate"], run_s[name]),
        }
    return {"domain": domain, "prompts": len(texts), "repeats": repeats, "baselines": found}


def our_baselines(decoder: AdaDecoder, design: Design) -> list[Baseline]:
    """Return our vanilla, LayerSkip's policy, and an AdaDecode design.

    LayerSkip's policy drafts from the head nearest to a quarter of the layers.
    """
    depth = min(decoder.heads.depths, key=lambda d: abs(d - decoder.parts.n_layers / 4))
    designs = (
        Design.of("vanilla"),
        Design.of("fixed", placement=(depth,), cap=FIXED_DRAFTS),
        design,
    )
    return [DesignBaseline(decoder=decoder, design=one) for one in designs]


def held_out_texts(demo: Demo, domain: str, recorded: int, count: int) -> list[Text]:
    """Return ``count`` of the domain's prompts that come after the recorded ones."""
    return [
        (encode(demo.tokenizer, prompt), prompt.max_new_tokens or NEW_TOKENS)
        for prompt in demo.of(domain)[recorded:][:count]
    ]


def table_of(result: dict[str, Any]) -> Table:
    """Return one domain as a table."""
    table = make_table(
        f"{result['domain']}: median (lowest .. highest) of {result['repeats']} repeats",
        *("baseline", "ms/tok", "/ vanilla", "/ generate", "with prefill", "same text"),
        words=("baseline",),
    )
    for name, baseline in result["baselines"].items():
        if baseline["error"] is not None:
            table.add_row(name, baseline["error"])
            continue
        table.add_row(
            name,
            f"{baseline['tpot_s'] * 1e3:.2f}",
            *(
                describe_ratio(baseline[key])
                for key in ("over_vanilla", "over_generate", "over_generate_whole")
            ),
            f"{baseline['equal']} of {baseline['texts']}",
        )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print and keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=6, help="held-out prompts of each domain")
    parser.add_argument("--baselines", default="all", help="as of adadecode-profile")
    parser.add_argument("--draft-model", help="the second model of the baseline draft")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    predictor = Predictor.of(read_profile(PROFILE))
    texts = {
        domain: held_out_texts(demo, domain, len(predictor.prompts([domain])), options.prompts)
        for domain in DOMAINS
    }
    longest = max(ids.shape[1] + n for part in texts.values() for ids, n in part)
    name = options.draft_model
    draft = None if name is None else load_draft(name, "float32", "cpu")
    theirs = make_baselines(
        options.baselines, decoder, longest=longest, draft=draft, tokenizer=demo.tokenizer
    )
    results = []
    for domain, part in texts.items():
        design = best_design(predictor, predictor.prompts([domain])).design
        baselines = [*theirs, *our_baselines(decoder, design)]
        results.append(compare(domain, baselines, part, options.repeats))
        Console().print(table_of(results[-1]))
    write_result("baselines", {"results": results})


if __name__ == "__main__":
    main()
