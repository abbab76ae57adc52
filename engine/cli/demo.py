"""``make demo``: decode, record, replay, and compare the prediction with the measured runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.text import Text as Line

from adadecode.engine.cli.errors import plain_errors
from adadecode.engine.cli.tables import trust_lines
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo import Demo, load_demo
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.profiling.piece_store import PIECES, SETTINGS
from adadecode.engine.profiling.recording import record, writing_into
from adadecode.engine.runtime.choices import GraphMode
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import read_json
from adadecode.profiles.manifest import section
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import remove_folder
from adadecode.profiles.output_path import check_output_directory
from adadecode.profiles.profile_folder import TABLE_FILES
from adadecode.profiles.schema import MANIFEST
from adadecode.profiles.store import Profile
from adadecode.sim.cli.plain_console import PlainConsole
from adadecode.sim.cli.progress import showing_stages
from adadecode.sim.cli.tables import layout
from adadecode.sim.core.number_format import percent, times
from adadecode.sim.core.scheduler import Round
from adadecode.sim.core.shown_text import shown
from adadecode.sim.validation.result import Validation, spread
from adadecode.sim.validation.tiers import validate

SOURCE = ModelSource(demo=True, model="adadecode demo model", heads="demo")
"""What a recording of the demo says of its model. The names also mark it as the demo's own."""

OPTIONS = RecordingOptions(
    domains=("arithmetic",),
    limit=8,
    graphs=GraphMode.EAGER,
    placements=((3,), (3, 7)),
    gammas=(0.5, 0.8),
    fixed_drafts=3,
    repeats=3,
    branch_floor=0.5,
)
COLOURS = ("bright_green", "green", "yellow", "dark_orange")
"""Of a token by the depth it exited at, shallow to deep; white for the last layer's own."""


def show_text(console: Console, demo: Demo, decoder: AdaDecoder) -> None:
    """Print a prompt and its continuation, each token coloured by where it left the stack."""
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
    early = sum(one.accepted for one in done.rounds)
    console.print(
        Line.assemble(
            f"\n{len(done.tokens)} tokens in {len(done.rounds)} rounds: {early} left the stack "
            "early (",
            ("after layer 3", COLOURS[0]),
            ", ",
            ("after layer 7", COLOURS[2]),
            " of 16) and were verified by the last layer.\n",
        )
    )


def exit_depths(rounds: list[Round]) -> list[int]:
    """Return for each output token the depth of the head that gave it, 0 for the last layer."""
    depths = [0]  # the prefill's
    for done in rounds:
        depths += [*done.exits[: done.accepted], 0][: done.committed]
    return depths


def show_comparison(console: Console, profile: Profile, comparison: Validation) -> None:
    """Print measured and predicted times per design, the errors, and whether to trust them.

    Args:
        console: Where to print.
        profile: The recording.
        comparison: Its comparison with the simulator.
    """
    table = layout.table("design", "ms/token", "predicted", "speedup", "predicted", "error")
    table.title, table.box, table.pad_edge = "measured and predicted", box.SIMPLE, False
    table.collapse_padding = True
    for row in comparison.by_design().to_dict("records"):
        error = row["predicted_speedup"] / row["speedup"] - 1
        table.add_row(
            row["design"],
            f"{row['tpot_s'] * 1e3:.2f}",
            f"{row['predicted_tpot_s'] * 1e3:.2f}",
            times(row["speedup"]),
            times(row["predicted_speedup"]),
            f"{error:+.1%}",
        )
    console.print(table)
    structure = comparison.to_dict()["structure"]
    console.print(
        f"structure: {structure['exact']} of {structure['runs']} runs replayed exactly, "
        f"{structure['explained']} explained by a near-tie with gamma"
    )
    noise = {
        "prediction_error": comparison.trust.time_noise,
        "speedup_error": comparison.trust.speedup_noise,
    }
    for tier, name in (
        ("replay", "replay_error"),
        ("run time", "prediction_error"),
        ("speedup", "speedup_error"),
    ):
        errors = spread(comparison.cells[name])
        floor = noise.get(name)
        noise_floor = (
            "" if floor is None else f"; noise floor: repeats differ by {percent(floor, 2)}"
        )
        console.print(
            f"{tier}: median error {percent(errors['median'], 2)}, 90th percentile "
            f"{percent(errors['p90'], 2)} "
            f"over single prompts{noise_floor}"
        )
    console.print()
    for sentence in trust_lines(profile, comparison):
        console.print(shown(sentence))


def remove_earlier(out: Path) -> None:
    """Remove what an earlier demo recorded in ``out``, and nothing else.

    What another program left there stays, and is refused when recording begins.
    """
    settings: Mapping[str, Any] = {}
    for name in (SETTINGS, MANIFEST):
        with suppress(InputError):
            settings = section(read_json(out / name), "settings") or settings
    if settings.get("heads") == SOURCE.heads and settings.get("model") == SOURCE.model:
        with refusing(out):
            for name in (*TABLE_FILES.values(), SETTINGS, MANIFEST):
                (out / name).unlink(missing_ok=True)
            remove_folder(out / PIECES)


def main() -> None:
    """Run the demo into ``--out``; what an earlier one left there is replaced."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="out/demo", help="the directory of the recording")
    args = parser.parse_args()
    console = PlainConsole()
    torch.set_num_threads(1)
    with plain_errors():
        run_demo(console, check_output_directory(args.out))


def run_demo(console: Console, out: Path) -> None:
    """Decode, record, replay and compare.

    Args:
        console: Where to print.
        out: The directory of the recording.
    """
    started = time.monotonic()
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    n_parameters = sum(weight.numel() for weight in demo.model.parameters())
    console.print(
        Line.assemble(
            ("1. Decode", "bold"),
            f" with the demo model ({n_parameters / 1e6:.1f}M parameters, 16 layers), one CPU "
            "thread\n",
        )
    )
    show_text(console, demo, decoder)
    console.print(Line.assemble(("2. Record", "bold"), f" a profile into {shown(out)}"))
    with writing_into(out), showing_stages(console) as show:
        remove_earlier(out)
        profile = record(
            demo.model,
            demo.tokenizer,
            demo.examples,
            heads=demo.heads,
            out=out,
            options=OPTIONS,
            source=SOURCE,
            progress=lambda done, count: show("recording", done, count),
        )
    console.print(
        Line.assemble(
            ("\n3. Replay", "bold"),
            " the trace in the simulator with the latencies measured in place; nothing is fitted "
            "on these runs\n",
        )
    )
    show_comparison(console, profile, validate(profile))
    console.print(
        f"\ndone in {time.monotonic() - started:.0f} s. What if? .venv/bin/adadecode-sim predict "
        f"{shown(out)} --policy adadecode --gamma 0.7 --heads 2,5,9"
    )


if __name__ == "__main__":
    main()
