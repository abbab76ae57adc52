"""Where the project's own files are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO_PROFILE = ROOT / "profiles" / "recorded" / "demo-cpu"
"""The committed recording of the demo model: 16 layers, heads everywhere, 1024 tokens."""
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Measurements of others, which lie next to some checkouts."""
