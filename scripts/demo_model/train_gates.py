"""Train gates beside the shipped heads, without changing the heads.

    python -m scripts.demo_model.train_gates --work DIR

They are fitted to the texts that the heads were trained on, and measured on those held out then.
What was measured is added to the facts, and the card is written again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from adadecode.engine.demo import MODEL, load_demo
from adadecode.engine.training.options import TrainingOptions
from adadecode.engine.training.pipeline import train_heads
from adadecode.profiles.atomic_write import write_json
from scripts.demo_model.build import ARITHMETIC, CODE, gate_facts, head_prompts
from scripts.demo_model.model_card import write_card
from scripts.demo_model.prompt_sets import NEW_TOKENS


def main() -> None:
    """Save the shipped heads with gates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the training run")
    options = parser.parse_args()
    demo, console = load_demo(), Console()
    heads = train_heads(
        demo.model,
        demo.tokenizer,
        head_prompts(ARITHMETIC, CODE),
        out=options.work,
        options=TrainingOptions(gates_only=str(MODEL), max_new_tokens=NEW_TOKENS),
        progress=lambda stage, done, count: console.print(f"{stage} {done}/{count}"),
    )
    if heads.gated(demo.model, None).sha256() != demo.heads.gated(demo.model, None).sha256():
        raise SystemExit("error: the heads have changed, and only gates were to be added")
    heads.save(MODEL)
    facts = json.loads((MODEL / "facts.json").read_text(encoding="utf-8"))
    facts |= gate_facts(heads)
    write_json(MODEL / "facts.json", facts)
    write_card(facts, MODEL / "README.md")
    console.print(f"the gates are in {MODEL}")


if __name__ == "__main__":
    main()
