"""Other ways to decode beside ours, all in turn: demo model, one thread, FP32, batch 1, held-out arithmetic and code prompts.

Every text is held against that of ``transformers`` generate before anything is timed; a baseline that fails says why. The AdaDecode design is the one that
`benchmarks.speed` chooses: by simulation, on other prompts of the domain. Compilation (minutes, on a CPU) is told apart.
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
from adadecode.engine.baselines.factory import load_draft, make_baselines
from adadecode.engine.baselines.generate import Baseline, Ours, Timed, attempt, n_same
from adadecode.engine.demo import Demo
from adadecode.engine.loading.prompts import encode
from adadecode.profiles.store import read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from benchmarks.designs import best_design
from benchmarks.harness import PROFILE, keep, ratio

NEW_TOKENS = 128
FIXED_DRAFTS = 3

Text = tuple[torch.Tensor, int]
"""Token ids (1, n) of a prompt, and how many new ones to write."""


def check(baselines: Sequence[Baseline], texts: Sequence[Text]) -> dict[str, dict[str, Any]]:
    """Each baseline once on every text: how many are generate's (the first baseline's), when the first of them differs, what compiling took, or an error."""
    reference = [baselines[0].run(ids, n).tokens for ids, n in texts]
    found = {}
    for baseline in baselines:
        done = [attempt(baseline, ids, n) for ids, n in texts]
        failed = [one for one in done if isinstance(one, str)]
        ran = [
            (one, own) for one, own in zip(done, reference, strict=True) if isinstance(one, Timed)
        ]
        differing = [n_same(one.tokens, own) for one, own in ran if one.tokens != own]
        about = {
            "texts": len(ran),
            "equal": len(ran) - len(differing),
            "first_difference": min(differing, default=None),
        }
        compiling = sum(one.compile_s for one, _ in ran)
        found[baseline.name] = {
            **baseline.about(),
            **about,
            "compile_s": compiling,
            "error": failed[0] if failed else None,
        }
    return found


def measure(
    baselines: Sequence[Baseline], texts: Sequence[Text], repeats: int, seed: int = 0
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each baseline in each repeat, by turns within every text: (per token after the first step, of whole runs)."""
    order, found = random.Random(seed), {baseline.name: [] for baseline in baselines}
    for _ in range(repeats):
        runs: dict[str, list[Timed]] = {baseline.name: [] for baseline in baselines}
        for ids, n in texts:
            for baseline in order.sample(list(baselines), len(baselines)):
                runs[baseline.name].append(baseline.run(ids, n))
        for name, done in runs.items():
            after = sum(len(one.tokens) - one.n_first for one in done)
            token = sum(one.decode_s for one in done) / after if after else float("nan")
            found[name].append((token, sum(one.prefill_s + one.decode_s for one in done)))
    return found


def compare(
    domain: str, baselines: Sequence[Baseline], texts: Sequence[Text], repeats: int
) -> dict[str, Any]:
    """Everything about one domain: each baseline's text, seconds per token, and ratios over our vanilla and over generate."""
    told = check(baselines, texts)
    ran = [baseline for baseline in baselines if told[baseline.name]["error"] is None]
    seconds = measure(ran, texts, repeats)
    token = {name: [one for one, _ in pairs] for name, pairs in seconds.items()}
    whole = {name: [one for _, one in pairs] for name, pairs in seconds.items()}
    for name in seconds:
        told[name] |= {
            "tpot_s": median(token[name]),
            "over_vanilla": ratio(token["vanilla"], token[name]),
            "over_generate": ratio(token["generate"], token[name]),
            "over_generate_whole": ratio(whole["generate"], whole[name]),
        }
    return {"domain": domain, "prompts": len(texts), "repeats": repeats, "baselines": told}


def ours(decoder: AdaDecoder, design: Design) -> list[Baseline]:
    """Our vanilla, LayerSkip's policy from the head nearest a quarter of the layers, and an AdaDecode design."""
    depth = min(decoder.heads.depths, key=lambda d: abs(d - decoder.parts.n_layers / 4))
    designs = (
        Design.of("vanilla"),
        Design.of("fixed", placement=(depth,), cap=FIXED_DRAFTS),
        design,
    )
    return [Ours(decoder=decoder, design=one) for one in designs]


def held_out(demo: Demo, domain: str, recorded: int, count: int) -> list[Text]:
    """So many of the domain's examples that come after the recorded ones."""
    return [
        (encode(demo.tokenizer, prompt), prompt.max_new_tokens or NEW_TOKENS)
        for prompt in demo.of(domain)[recorded:][:count]
    ]


def table_of(result: dict[str, Any]) -> Table:
    """One domain, for a terminal."""
    table = Table(
        title=f"{result['domain']}: median (lowest .. highest) of {result['repeats']} repeats"
    )
    for heading in ("", "ms/tok", "/ vanilla", "/ generate", "with prefill", "same text"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, told in result["baselines"].items():
        same = f"{told['equal']} of {told['texts']}"
        if told["error"] is not None:
            table.add_row(name, told["error"])
            continue
        ratios = (told[f"over_{of}"] for of in ("vanilla", "generate", "generate_whole"))
        table.add_row(
            name,
            f"{told['tpot_s'] * 1e3:.2f}",
            *(f"{r['median']:.2f} ({r['min']:.2f}..{r['max']:.2f})" for r in ratios),
            same,
        )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print and keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=6, help="held-out prompts of each domain")
    parser.add_argument("--baselines", default="all", help="as of adadecode-profile")
    parser.add_argument("--draft-model", help="the second model of the baseline draft")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    predictor = Predictor.of(read_profile(PROFILE))
    texts = {
        domain: held_out(demo, domain, len(predictor.prompts([domain])), args.prompts)
        for domain in ("arithmetic", "code")
    }
    longest = max(ids.shape[1] + n for part in texts.values() for ids, n in part)
    draft = None if args.draft_model is None else load_draft(args.draft_model, "float32", "cpu")
    theirs = make_baselines(
        args.baselines, decoder, longest=longest, draft=draft, tokenizer=demo.tokenizer
    )
    results = []
    for domain, part in texts.items():
        design = best_design(predictor, predictor.prompts([domain])).design
        results.append(compare(domain, [*theirs, *ours(decoder, design)], part, args.repeats))
        Console().print(table_of(results[-1]))
    keep("baselines", {"results": results})


if __name__ == "__main__":
    main()
