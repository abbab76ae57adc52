"""What comes with this program for a model: its heads and prompts, and of the demo model all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
