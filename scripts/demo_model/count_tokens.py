"""Count which tokens are frequent where the shipped heads were trained, without changing the heads.

    python -m scripts.demo_model.count_tokens --work DIR

What is counted are continuations, which depend neither on the heads nor on how long they are
trained. One head is therefore trained for one epoch, and left in DIR.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from adadecode.engine.demo import MODEL, load_demo
from adadecode.engine.training.options import TrainingOptions
from adadecode.engine.training.pipeline import train_heads
from scripts.demo_model.build import ARITHMETIC, CODE, head_prompts
from scripts.demo_model.prompt_sets import NEW_TOKENS


def main() -> None:
    """Save the shipped heads with the tokens counted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the trained head")
    options = parser.parse_args()
    demo, console = load_demo(), Console()
    heads = train_heads(
        demo.model,
        demo.tokenizer,
        head_prompts(ARITHMETIC, CODE),
        out=options.work,
        options=TrainingOptions(depths=demo.heads.depths[-1:], max_new_tokens=NEW_TOKENS, epochs=1),
    )
    (trained,), shipped = heads.metrics, demo.heads.metrics[-1]
    differences = [
        f"{name} {trained[name]} and not {shipped[name]}"
        for name in ("positions", "agreement_identity")
        if trained[name] != shipped[name]
    ]
    if differences:
        raise SystemExit(
            "error: these are other texts than the shipped heads were trained on "
            f"({', '.join(differences)}): use the Python they were made with"
        )
    demo.heads.shaped(demo.model, frequent=heads.frequent).save(MODEL)
    console.print(
        f"{len(heads.frequent)} different tokens counted; the demo's heads are in {MODEL}"
    )


if __name__ == "__main__":
    main()
