"""Short texts of our own, for prompts that ask for a summary: news, letters, science, stories."""

from __future__ import annotations

from pathlib import Path

TEXTS = tuple(
    " ".join(text.split())
    for text in Path(__file__).with_name("texts.txt").read_text().split("\n\n")
)
"""Each of sixty to ninety words."""
