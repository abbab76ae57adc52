"""What training heads and recording a profile take: time, memory and disk.

Both use the demo model, each in a process of its own with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from adadecode.engine import load_demo
from adadecode.profiles.atomic_write import write_text
from adadecode.profiles.store import read_profile
from benchmarks.harness import write_result

PROMPTS = 32
TRAINING = {"depths": "4,8,12", "max-new-tokens": 96, "epochs": 8}
RECORDING = {
    "domains": "arithmetic,code",
    "limit": 2,
    "placements": "3;7;3,7",
    "gammas": "0.5,0.75",
    "repeats": 5,
    "max-new-tokens": 96,
}


def main(arguments: list[str] | None = None) -> None:
    """Measure both and write the figures."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        training = measure_training(Path(folder))
        recording = measure_recording(Path(folder))
    write_result("costs", {"training": training, "recording": recording})


def measure_training(folder: Path) -> dict[str, Any]:
    """Train heads of the demo model in a process of its own."""
    texts = load_demo().prompts["arithmetic"][:PROMPTS]
    prompts, out = folder / "prompts.jsonl", folder / "heads"
    write_text(prompts, "".join(f"{json.dumps({'prompt': text})}\n" for text in texts))
    command = ["adadecode-train", "--demo", "--keep-cache", f"--prompts={prompts}", f"--out={out}"]
    used = run([*command, *options(TRAINING)])
    cache = size(out / "cache")
    return {
        "heads": len(TRAINING["depths"].split(",")),
        "prompts": len(texts),
        "max_new_tokens": TRAINING["max-new-tokens"],
        "epochs": TRAINING["epochs"],
        **used,
        "bytes": size(out) - cache,
        "cache_bytes": cache,
    }


def measure_recording(folder: Path) -> dict[str, Any]:
    """Record the demo model in a process of its own."""
    out = folder / "profile"
    used = run(["adadecode-profile", "--demo", f"--out={out}", *options(RECORDING)])
    profile = read_profile(out)
    return {
        "prompts": len(profile.prompts),
        "designs": int(profile.runs_frame()["design"].nunique()),
        "repeats": RECORDING["repeats"],
        "max_new_tokens": RECORDING["max-new-tokens"],
        **used,
        "bytes": size(out),
    }


def options(chosen: dict[str, Any]) -> list[str]:
    """Return options as a command line has them."""
    return [f"--{name}={value}" for name, value in chosen.items()]


def run(command: list[str]) -> dict[str, float]:
    """Return what a command takes on one thread: seconds, processor time and memory.

    Raises:
        RuntimeError: if the command fails.
    """
    program = Path(sys.executable).with_name(command[0])
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([program, *command[1:]], env=environment)  # noqa: S603 - ours
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command[0]} failed: see above")
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
