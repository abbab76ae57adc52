"""Change files and texts at random, and see that every reader refuses them or answers the same.

    python -m scripts.fuzz [--minutes 30] [--cases N] [--seed 0] [--reader NAME ...]
                           [--recipes FILE ...] [--save FILE] [--out FILE]

Each case is run in a process of its own, with limits on time and memory. The same seed draws the
same recipes. ``--recipes`` runs kept recipes in place of drawn ones, ``--save`` keeps those that
were run, a line each. docs/decisions/0041-how-the-fuzzer-is-built.md says why it is built so.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process that forks must have no threads

from scripts.fuzz.cli import main

if __name__ == "__main__":
    sys.exit(main())
