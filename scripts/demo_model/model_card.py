"""The demo model's card, written from what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_HEAD = """# The adadecode demo model

A Llama of 16 layers x 256 (4 heads, 2 key/value heads, vocabulary 1024, digits as single tokens), {parameters:.1f}M parameters, made by this
repository from nothing but a generator and the Python standard library, so that the whole chain runs on a laptop on real text. It
is not a useful assistant.

- **Text**: three quarters step-by-step arithmetic word problems (`scripts/demo_model/arithmetic.py`), one quarter Python source (the standard
  library without generated tables and tests). One in sixteen problems and files, by hash, is held out of all training.
- **Training**: `scripts/demo_model/train.py`, {tokens:.2f}M tokens, FP32, AdamW, in two stages: four layers alone for {shallow_steps} steps (sixteen take hours to
  learn to copy), then twelve layers that add nothing at first put between and behind them, and all sixteen trained for {steps} steps with an
  early-exit loss (LayerSkip): each step one random depth also predicts the next token through the model's own norm and LM head, weight {exit_weight}.
  The tokens of a question weigh {question_weight} in the loss. Real models are not trained so: both stages make early layers better than they would be.
  Weights are shipped in 16-bit floats.
- **Heads**: at every depth 1..15, E*(T norm(h)), T from the identity, trained by KL(p_final || p_head) on the model's own greedy
  continuations of arithmetic and code prompts from the training side. Prose and unpredictable text are out of domain.
- **Frequent tokens**, for heads with a shortlist: counted in the same continuations. A shortlist holds arithmetic and code, and leaves
  out more of prose.
- **Prompts**: 32 held-out prompts in each of four domains, each with a length at which its greedy continuation does not loop yet; of
  the candidates those were kept that go furthest. What repetition remains is below.
- **Licence**: Apache-2.0 for model and code; the standard library is under the PSF licence; the prose prompts are in the public domain.

Made with `python -m scripts.demo_model.train --out DIR && python -m scripts.demo_model.build --trained DIR`; its frequent tokens were
counted by `python -m scripts.demo_model.count_tokens --work DIR`, for which the last 98 or so of 330 continuations were decoded in batches (24 that were
tried came out as they do singly). Everything below was measured by the second command.
"""


def _table(headings: list[str], rows: list[list[str]]) -> str:
    return (
        "\n".join(
            "| " + " | ".join(cells) + " |" for cells in [headings, ["---"] * len(headings), *rows]
        )
        + "\n"
    )


def write_card(facts: dict[str, Any], path: Path) -> None:
    """Write the card. facts: what `scripts.demo_model.build` measured."""
    training, answers = facts["training"], facts["answers"]
    settings = {
        k: training[k] for k in ("shallow_steps", "steps", "exit_weight", "question_weight")
    }
    sections = [
        _HEAD.format(
            parameters=facts["parameters"] / 1e6, tokens=training["tokens"] / 1e6, **settings
        )
    ]
    losses = ", ".join(f"{domain} {loss:.3f}" for domain, loss in facts["held_out_loss"].items())
    sections.append(
        f"## The model\n\nHeld-out loss (nats per token): {losses}. Of {answers['problems']} held-out word problems of 3 to 6 steps,"
        f" {answers['answered']:.0%} get an answer and **{answers['right']:.0%} the right one** (distinct 4-grams of the answers"
        f" {answers['distinct_4grams']:.2f}).\n"
    )
    last = {
        row["domain"]: row
        for row in facts["by_depth"]
        if row["depth"] == max(r["depth"] for r in facts["by_depth"])
    }
    rows = [
        [
            domain,
            f"{last[domain]['confidence']:.2f}",
            f"{r['tokens']:.0f}",
            f"{r['mean']:.2f}",
            f"{r['lowest']:.2f}",
            f"{r['uncut']:.2f}",
            f"{r['tried_uncut']:.2f}",
        ]
        for domain, r in facts["repetition"].items()
    ]
    headings = [
        "domain",
        "mean top-1 of the last layer",
        "tokens",
        "distinct 4-grams",
        "lowest",
        "uncut",
        "all candidates, uncut",
    ]
    sections.append(
        "## The prompt sets\n\nGreedy, at most 128 new tokens; each text is cut where it would begin to loop (distinct 4-grams below 0.85).\n\n"
        + _table(headings, rows)
    )
    rows = [
        [
            str(m["depth"]),
            f"{m['kl_identity']:.3f}",
            f"{m['kl']:.3f}",
            f"{m['agreement_identity']:.3f}",
            f"{m['agreement']:.3f}",
        ]
        for m in facts["heads"]
    ]
    headings = ["depth", "KL, T = I", "KL", "agreement, T = I", "agreement"]
    sections.append(
        "## The heads\n\nHeld-out KL(p_final || p_head) in nats and top-1 agreement with the last layer, on a tenth of the head-training prompts held out, before (T = I)"
        " and after training.\n\n" + _table(headings, rows)
    )
    domains = list(facts["repetition"])
    share = {(row["domain"], row["depth"]): row for row in facts["by_depth"]}
    rows = [
        [
            str(depth),
            *(
                f"{share[domain, depth]['agrees']:.3f} / {share[domain, depth]['confidence']:.2f}"
                for domain in domains
            ),
        ]
        for depth in sorted({row["depth"] for row in facts["by_depth"]})
    ]
    sections.append(
        "## By domain\n\nAgreement with the last layer / mean confidence, along the greedy text of the held-out prompts.\n\n"
        + _table(["depth", *domains], rows)
    )
    path.write_text("\n".join(sections), encoding="utf-8")
