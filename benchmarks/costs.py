"""What training heads and recording a profile take: time, memory and disk.

Both use the demo model, each in a process of its own with one thread. A recording of SmolLM2 on
prompts of public data sets follows, where they and the model are there (``--parts pretrained``).
What was measured before of the other parts is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from adadecode.engine import load_demo
from adadecode.profiles.atomic_write import write_text
from adadecode.profiles.input_file import is_there, read_json
from adadecode.profiles.store import read_profile
from benchmarks.harness import RESULTS, write_result
from benchmarks.real_prompts import SETS, questions

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


PRETRAINED = {"model": "smollm2", "max-new-tokens": 64, "repeats": 2, "graphs": "eager"}
PROMPTS_OF_A_SET = 3
PARTS = ("training", "recording", "pretrained")

_EXPECTED = re.compile(r"it\s+takes\s+up\s+to\s+about\s+(\d+)\s+min")


def main(arguments: list[str] | None = None) -> None:
    """Measure the parts and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--beside", default="nothing", help="say which other programs run meanwhile"
    )
    options = parser.parse_args(arguments)
    measures = (measure_training, measure_recording, measure_pretrained)
    known = RESULTS / "costs.json"
    kept = read_json(known) if is_there(known) else {}
    found = {part: kept[part] for part in PARTS if part in kept}
    with tempfile.TemporaryDirectory() as folder:
        for part, measure in zip(PARTS, measures, strict=True):
            if part in options.parts:
                found[part] = {**measure(Path(folder)), "beside": options.beside}
    write_result("costs", found)


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


def measure_pretrained(folder: Path) -> dict[str, Any]:
    """Record SmolLM2 on a few questions of each public data set, in a process of its own."""
    prompts, out = folder / "questions.jsonl", folder / "pretrained"
    lines = [
        {"domain": name, "messages": [{"role": "user", "content": text}]}
        for name in SETS
        for text in questions(name, PROMPTS_OF_A_SET)
    ]
    write_text(prompts, "".join(f"{json.dumps(line)}\n" for line in lines))
    command = ["adadecode-profile", f"--prompts={prompts}", f"--out={out}", *options(PRETRAINED)]
    log = folder / "log"
    used = run(command, log)
    expected = _EXPECTED.search(log.read_text())
    if expected is None:
        raise RuntimeError("the recording did not say how many minutes it would take")
    profile = read_profile(out)
    return {
        "prompts": len(profile.prompts),
        "designs": int(profile.runs_frame()["design"].nunique()),
        "repeats": PRETRAINED["repeats"],
        "max_new_tokens": PRETRAINED["max-new-tokens"],
        "expected_seconds": 60 * int(expected[1]),
        **used,
        "bytes": size(out),
    }


def options(chosen: dict[str, Any]) -> list[str]:
    """Return options as a command line has them."""
    return [f"--{name}={value}" for name, value in chosen.items()]


def run(command: list[str], log: Path | None = None) -> dict[str, float]:
    """Return what a command takes on one thread: seconds, processor time and memory.

    Args:
        command: The program and its arguments.
        log: The file that takes what the command prints; None prints it.

    Raises:
        RuntimeError: if the command fails.
    """
    program = Path(sys.executable).with_name(command[0])
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w", encoding="utf-8") if log else nullcontext() as stream:
        process = subprocess.Popen(  # noqa: S603 - ours
            [program, *command[1:]], env=environment, stdout=stream, stderr=stream
        )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command[0]} failed: {log.read_text() if log else 'see above'}")
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
