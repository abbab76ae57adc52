"""Count anew which tokens are frequent where the shipped heads were trained: ``python -m scripts.demo_model.count_tokens --work DIR``. Their matrices stay as they are.

What is counted are continuations, which depend neither on the heads nor on how long they are trained: so one head is trained for one epoch, and left in DIR.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from adadecode.engine.demo import MODEL, load_demo
from adadecode.engine.training.pipeline import train_heads
from scripts.demo_model.build import ARITHMETIC, CODE, head_prompts
from scripts.demo_model.prompt_sets import NEW_TOKENS


def main() -> None:
    """Put the counted tokens beside the shipped heads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    demo, console = load_demo(), Console()
    told = train_heads(
        demo.model,
        demo.tokenizer,
        head_prompts(ARITHMETIC, CODE),
        demo.heads.depths[-1:],
        args.work,
        max_new_tokens=NEW_TOKENS,
        epochs=1,
        console=console,
    )
    (again,), shipped = told.metrics, demo.heads.metrics[-1]
    if differing := [
        name for name in ("positions", "agreement_identity") if again[name] != shipped[name]
    ]:
        found = ", ".join(f"{name} {again[name]} and not {shipped[name]}" for name in differing)
        raise SystemExit(
            f"error: these are other texts than the shipped heads were trained on ({found}): use the Python they were made with"
        )
    demo.heads.shaped(demo.model, frequent=told.frequent).save(MODEL)
    console.print(f"{len(told.frequent)} different tokens counted; the demo's heads are in {MODEL}")


if __name__ == "__main__":
    main()
