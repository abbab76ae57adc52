"""Measure what this project wants to know of a machine with a GPU, in stages that can be resumed.

    python -m scripts.gpu_run --work WORK --out OUT [--stage setup,device,...] [--minutes 9]
                              [--last] [--wheels FOLDER] [--dry-run]
    python -m scripts.gpu_run --plan [--budget 15] [--minutes 9]

A GPU run is a few calls of this command, with the same --work. Every stage runs in a process of its
own. A stage that fails is written down and stops no other. A stage that runs out of minutes is
interrupted, and the next call resumes it, from --work or from the files of an earlier OUT
(--restore). The stage ``pack`` puts everything into at most 3 zip files of at most 15 MB each.
--dry-run does the same on a CPU with tiny shapes and short texts. scripts/README.md lists the
stages.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))  # where nothing is installed

from scripts.gpu_run.cli import main

if __name__ == "__main__":
    sys.exit(main())
