"""Models with exit heads and prompts that come with this program.

The demo model is small, but a real language model; it is here whole, and its card is
``model/README.md``. Of SmolLM2, which others trained, heads and prompts are here, with a card in
``smollm2/README.md``; the model itself is fetched (`adadecode.engine.loading.smollm2`). `Demo`,
`load_demo` and `load_smollm2` load torch when they are first used; the paths do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.engine.demo.demo_model import Demo, load_demo, load_smollm2
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Demo": "adadecode.engine.demo.demo_model",
            "load_demo": "adadecode.engine.demo.demo_model",
            "load_smollm2": "adadecode.engine.demo.demo_model",
        },
    )

__all__ = ["MODEL", "PROMPTS", "SMOLLM2", "Bundle", "Demo", "bundle", "load_demo", "load_smollm2"]

MODEL = Path(__file__).parent / "model"
"""The folder of the model, its tokenizer, and its heads."""
PROMPTS = MODEL / "prompts.jsonl"
"""Held-out prompts of four domains."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What comes with this program for a model.

    Attributes:
        model: What the model is called where it is loaded.
        heads: The folder of its heads.
        prompts: The file of its prompts.
        called: What people call it.
    """

    model: str
    heads: Path
    prompts: Path
    called: str


DEMO = Bundle(model=str(MODEL), heads=MODEL, prompts=PROMPTS, called="the demo model")

_SMOLLM2 = Path(__file__).parent / "smollm2"
SMOLLM2 = Bundle(
    model="smollm2", heads=_SMOLLM2, prompts=_SMOLLM2 / "prompts.jsonl", called="smollm2"
)


def bundle(model: str | None) -> Bundle | None:
    """Return what comes with this program for a model as it is named; None where nothing does.

    Args:
        model: What ``--model`` names; None for the demo model.
    """
    return {None: DEMO, SMOLLM2.model: SMOLLM2}.get(model)
