"""One visit to a machine with a GPU: everything that this project wants to know of one, in named stages that can be cut short and gone on with.

    python -m scripts.gpu_run --work WORK --out OUT [--stage setup,device,...] [--minutes 9] [--last] [--wheels FOLDER] [--dry-run]
    python -m scripts.gpu_run --plan [--budget 15] [--minutes 9]

Every stage is a process of its own: what fails is written down and stops nothing else, and what runs out of minutes is interrupted and goes on in the next
call with the same --work (or with --restore, from the files of an earlier OUT). ``pack`` puts it all into at most 3 zip files of at most 15 MB.
--dry-run does the same on a CPU with tiny shapes and short texts. What the stages are: scripts/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))  # where nothing is installed

from scripts.gpu_run.cli import main

if __name__ == "__main__":
    sys.exit(main())
