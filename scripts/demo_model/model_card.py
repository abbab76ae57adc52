"""Write the demo model's card from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import write_text

_HEAD = """# The adadecode demo model

A Llama of 16 layers x 256 (4 heads, 2 key/value heads, vocabulary 1024, digits as single tokens)
with {parameters:.1f}M parameters. This repository made it from nothing but a generator and the
Python standard library, so that the whole chain runs on a laptop on real text. It is not a useful
assistant.

- **Text**: three quarters step-by-step arithmetic word problems
  (`scripts/demo_model/arithmetic.py`), one quarter Python source (the standard library without
  generated tables and tests). One in sixteen problems and files, by hash, is held out of all
  training.
- **Training**: `scripts/demo_model/train.py`, {tokens:.2f}M tokens, FP32, AdamW, in two stages.
  First four layers alone for {shallow_steps} steps (sixteen take hours to learn to copy). Then
  twelve layers that add nothing at first are put between and behind them, and all sixteen are
  trained for {steps} steps with an early-exit loss (LayerSkip): in each step one random depth also
  predicts the next token through the model's own norm and LM head, with weight {exit_weight}. The
  tokens of a question weigh {question_weight} in the loss. Real models are not trained like this:
  both stages make early layers better than they would be. Weights are shipped in 16-bit floats.
- **Heads**: at every depth 1..15, E*(T norm(h)), T from the identity, trained by
  KL(p_final || p_head) on the model's own greedy continuations of arithmetic and code prompts from
  the training side. Prose and unpredictable text are out of domain.
- **Frequent tokens**, for heads with a shortlist: counted in the same continuations. A shortlist
  holds arithmetic and code, and leaves out more of prose.
- **Prompts**: 32 held-out prompts in each of four domains, each with a length at which its greedy
  continuation does not loop yet. Of the candidates, those with the longest continuations were kept.
  What repetition remains is below.
- **Licence**: Apache-2.0 for model and code; the standard library is under the PSF licence; the
  prose prompts are in the public domain.

Made with `python -m scripts.demo_model.train --out DIR` and then
`python -m scripts.demo_model.build --trained DIR`. Its frequent tokens were counted by
`python -m scripts.demo_model.count_tokens --work DIR`, for which the last 98 or so of 330
continuations were decoded in batches (24 that were tried came out as they do singly). Everything
below was measured by the second command.
"""


def write_card(facts: Mapping[str, Any], path: Path) -> None:
    """Write the card.

    Args:
        facts: What `scripts.demo_model.build` measured.
        path: Where to write it.
    """
    sections = [
        _head(facts),
        _model(facts),
        _prompt_sets(facts),
        _heads(facts["heads"]),
        *([_gates(facts["gates"])] if "gates" in facts else []),
        _domains(facts),
    ]
    write_text(path, "\n".join(sections))


def _head(facts: Mapping[str, Any]) -> str:
    training = facts["training"]
    keys = ("shallow_steps", "steps", "exit_weight", "question_weight")
    return _HEAD.format(
        parameters=facts["parameters"] / 1e6,
        tokens=training["tokens"] / 1e6,
        **{key: training[key] for key in keys},
    )


def _model(facts: Mapping[str, Any]) -> str:
    losses = ", ".join(f"{domain} {loss:.3f}" for domain, loss in facts["held_out_loss"].items())
    answers = facts["answers"]
    return (
        "## The model\n\n"
        f"Held-out loss (nats per token): {losses}.\n\n"
        f"Of {answers['problems']} held-out word problems of 3 to 6 steps, "
        f"{answers['answered']:.0%} get an answer and\n"
        f"**{answers['right']:.0%} the right one** "
        f"(distinct 4-grams of the answers {answers['distinct_4grams']:.2f}).\n"
    )


def _prompt_sets(facts: Mapping[str, Any]) -> str:
    deepest = max(row["depth"] for row in facts["by_depth"])
    last_layer = {row["domain"]: row for row in facts["by_depth"] if row["depth"] == deepest}
    rows = [
        [
            domain,
            f"{last_layer[domain]['confidence']:.2f}",
            f"{repetition['tokens']:.0f}",
            *(f"{repetition[key]:.2f}" for key in ("mean", "lowest", "uncut", "tried_uncut")),
        ]
        for domain, repetition in facts["repetition"].items()
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
    return (
        "## The prompt sets\n\n"
        "Greedy, at most 128 new tokens. Each text is cut where it would begin to loop (distinct\n"
        "4-grams below 0.85).\n\n" + _table(headings, rows)
    )


def _heads(metrics: Sequence[Mapping[str, Any]]) -> str:
    keys = ("kl_identity", "kl", "agreement_identity", "agreement")
    rows = [[str(head["depth"]), *(f"{head[key]:.3f}" for key in keys)] for head in metrics]
    return (
        "## The heads\n\n"
        "Held-out KL(p_final || p_head) in nats and top-1 agreement with the last layer, on a\n"
        "tenth of the head-training prompts held out, before (T = I) and after training.\n\n"
        + _table(["depth", "KL, T = I", "KL", "agreement, T = I", "agreement"], rows)
    )


def _gates(gates: Mapping[str, Any]) -> str:
    keys = ("good", "auc", "found_20", "found_30", "found_50")
    rows = [[str(row["depth"]), *(f"{row[key]:.3f}" for key in keys)] for row in gates["by_depth"]]
    headings = ["depth", "good positions", "AUC", "found at 20 %", "30 %", "50 %"]
    return (
        "## The gates\n\n"
        "Before each head stands a gate, 257 numbers that say whether asking the head is worth\n"
        f"it. A position is good where the head is surer than {gates['confidence']} of its token,\n"
        "and right. AUC: how often a good position scores higher than another. Found: the share\n"
        "of the good ones among the 20, 30 and 50 % of the positions with the highest scores, at\n"
        "most these shares over that of the good ones. On the same held-out prompts; made with\n"
        "`python -m scripts.demo_model.train_gates --work DIR`.\n\n" + _table(headings, rows)
    )


def _domains(facts: Mapping[str, Any]) -> str:
    domains = list(facts["repetition"])
    cells = {
        (row["domain"], row["depth"]): f"{row['agrees']:.3f} / {row['confidence']:.2f}"
        for row in facts["by_depth"]
    }
    depths = sorted({row["depth"] for row in facts["by_depth"]})
    rows = [[str(depth), *(cells[domain, depth] for domain in domains)] for depth in depths]
    return (
        "## By domain\n\n"
        "Agreement with the last layer / mean confidence, along the greedy text of the held-out\n"
        "prompts.\n\n" + _table(["depth", *domains], rows)
    )


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
