"""``make demo``: the whole chain on the bundled model. Decode, record, replay, and hold the prediction against the measured runs."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text as Line

from adadecode.engine.cli.errors import plain_errors
from adadecode.engine.cli.profile import DEFAULTS
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo import Demo, load_demo
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.profiling.piece_store import SETTINGS
from adadecode.engine.profiling.plan import make_plan
from adadecode.engine.profiling.recorder import record
from adadecode.profiles.schema import ALL_TABLES, MANIFEST
from adadecode.sim.core.scheduler import Round
from adadecode.sim.validation.tiers import Validation, by_design, spread, validate

OPTIONS = {
    **DEFAULTS,
    "demo": True,
    "model": "adadecode demo model",
    "heads": "demo",
    "domains": "arithmetic",
    "limit": 8,
}
OPTIONS |= {
    "graphs": "eager",
    "placements": "3;3,7",
    "gammas": "0.5,0.8",
    "fixed_drafts": 3,
    "repeats": 3,
    "branch_floor": 0.5,
}
COLOURS = ("bright_green", "green", "yellow", "dark_orange")
"""Of a token by the depth it exited at, shallow to deep; white for the last layer's own."""


def show_text(console: Console, demo: Demo, decoder: AdaDecoder) -> None:
    """One prompt and its continuation, each token coloured by where it left the stack."""
    prompt = demo.prompts["arithmetic"][0]
    placement = (3, 7)
    done = decoder.generate(
        encode(demo.tokenizer, Prompt(text=prompt)),
        max_new_tokens=128,
        gamma=0.8,
        placement=placement,
    )
    line = Line(prompt, style="dim")
    for token, depth in zip(done.tokens, exit_depths(done.rounds), strict=True):
        line.append(
            demo.tokenizer.decode([token], skip_special_tokens=True),
            style=COLOURS[placement.index(depth) * 2] if depth else "white",
        )
    console.print(line)
    early = sum(r.accepted for r in done.rounds)
    console.print(
        f"\n{len(done.tokens)} tokens in {len(done.rounds)} rounds: {early} left the stack early"
        f" ([bright_green]after layer 3[/], [yellow]after layer 7[/] of 16) and were verified by the last layer.\n"
    )


def exit_depths(rounds: list[Round]) -> list[int]:
    """For each output token the depth of the head that gave it, 0 for the last layer."""
    depths = [0]  # the prefill's
    for done in rounds:
        depths += [*done.exits[: done.accepted], 0][: done.committed]
    return depths


def show_comparison(console: Console, comparison: Validation) -> None:
    """Measured beside predicted, per design; then the tiers."""
    table = Table(title="measured beside predicted")
    for heading in ("design", "ms/token", "predicted", "speedup", "predicted", "error"):
        table.add_column(heading, justify="left" if heading == "design" else "right", no_wrap=True)
    for row in by_design(comparison.cells).to_dict("records"):
        error = row["predicted_speedup"] / row["measured_speedup"] - 1
        times = (f"{row['measured_tpot_s'] * 1e3:.2f}", f"{row['predicted_tpot_s'] * 1e3:.2f}")
        table.add_row(
            row["design"],
            *times,
            f"{row['measured_speedup']:.2f}x",
            f"{row['predicted_speedup']:.2f}x",
            f"{error:+.1%}",
        )
    console.print(table)
    told = comparison.to_dict()
    structure = told["structure"]
    console.print(
        f"structure: {structure['exact']} of {structure['runs']} runs replayed exactly, {structure['explained']} explained by a near-tie with gamma"
    )
    for tier, name in (
        ("replay", "replay_error"),
        ("run time", "prediction_error"),
        ("speedup", "speedup_error"),
    ):
        errors = spread(comparison.cells[name])
        console.print(
            f"{tier}: median error {errors['median']:.2%}, 90th percentile {errors['p90']:.2%} over single prompts"
        )


def remove_earlier(out: Path) -> None:
    """Remove what an earlier demo recorded in ``out``, and nothing else; what another left there stays, and is refused later."""
    told: dict[str, Any] = {}
    for name in (SETTINGS, MANIFEST):
        try:
            found = json.loads((out / name).read_text())
            told = found.get("settings", found) if isinstance(found, dict) else {}
        except (OSError, ValueError):
            continue
    if told.get("heads") == OPTIONS["heads"] and told.get("model") == OPTIONS["model"]:
        for name in (*(f"{table}.parquet" for table in ALL_TABLES), SETTINGS, MANIFEST):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / "parts", ignore_errors=True)


def main() -> None:
    """Run the chain into ``--out``; what an earlier demo left there is replaced."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    args = parser.parse_args()
    console = Console()
    started = time.monotonic()
    torch.set_num_threads(1)
    with plain_errors():
        demo = load_demo()
        decoder = AdaDecoder(demo.model, demo.heads)
        console.print(
            f"[bold]1. Decode[/] with the demo model ({sum(p.numel() for p in demo.model.parameters()) / 1e6:.1f}M parameters, 16 layers), one CPU thread\n"
        )
        show_text(console, demo, decoder)
        console.print(f"[bold]2. Record[/] a profile into {args.out}")
        remove_earlier(args.out)
        plan = make_plan(decoder, demo.tokenizer, demo.examples, OPTIONS)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} % left:"),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            task = bar.add_task(
                f"{len(plan.designs)} designs x {len(plan.prompts)} prompts x {plan.repeats}",
                total=None,
            )
            profile = record(
                decoder,
                plan,
                args.out,
                resume=False,
                progress=lambda n, count: bar.update(task, completed=n, total=count),
            )
        console.print(
            "\n[bold]3. Replay[/] the trace in the simulator with the latencies measured in place; nothing is fitted on these runs\n"
        )
        comparison = validate(profile)
        show_comparison(console, comparison)
        console.print(
            f"\ndone in {time.monotonic() - started:.0f} s. What if? .venv/bin/adadecode-sim predict {args.out} --policy adadecode --gamma 0.7 --heads 2,5,9"
        )


if __name__ == "__main__":
    main()
