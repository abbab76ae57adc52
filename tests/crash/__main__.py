"""Run every command under every failure, and print what became of its output.

python -m tests.crash [--command NAME ...] [--failure NAME ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.crash.bench import Bench
from tests.crash.commands import COMMANDS
from tests.crash.failures import FAILURES
from tests.crash.verdict import BAD


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--command", action="append", choices=[*COMMANDS])
    parser.add_argument("--failure", action="append", choices=[*FAILURES])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.command or COMMANDS:
            try:
                bench = Bench.of(COMMANDS[name], Path(folder) / name)
            except (RuntimeError, SystemExit, ImportError) as error:
                _say(f"{name}: {error}")
                continue
            for failure in options.failure or FAILURES:
                bench.ends.clear()
                verdict = FAILURES[failure](bench)
                table.setdefault(name, {})[failure] = verdict
                bad = "BAD " if verdict in BAD else ""
                _say(f"{name:20} {failure:12} {bad}{verdict}")
                for ended in bench.ends if bad else ():
                    _say(f"    {ended.code}: {ended.said.strip()[-800:]}")
            if options.out:
                options.out.write_text(json.dumps(_document(table), indent=1) + "\n")
    return 1 if any(v in BAD for row in table.values() for v in row.values()) else 0


def _document(table: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return the table with the machine and the time."""
    from adadecode.engine.runtime.environment import describe_software
    from adadecode.profiles.host import describe_host

    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {
        "table": table,
        "machine": describe_host(),
        "software": describe_software(),
        "when": when,
    }


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
