"""Predictions off the recorded designs: predicted first, from the committed profile, then measured.

None of these designs was recorded. The prompts are the profile's own, in turn with vanilla, so that machine drift cancels in speedups.
"""

from __future__ import annotations

import argparse
import hashlib
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.harness import PROFILE, keep
from engine import AdaDecoder, load_demo
from engine.prompts import Prompt, encode
from engine.timing import mark_works, synchronized_now
from profiles.errors import ProfileError
from profiles.store import read_profile
from sim.compare import spread
from sim.design import Design
from sim.predict import Predictor
from sim.recorded import timed_runs
from sim.replay import replay, replay_measured

DESIGNS = tuple(
    Design.of(gamma=gamma, placement=placement)
    for gamma, placement in [
        (0.4, (2,)),
        (0.95, (3,)),
        (0.6, (5,)),
        (0.85, (6,)),
        (0.7, (9,)),
        (0.65, (2, 5)),
        (0.85, (3, 7)),
        (0.4, (5, 11)),
        (0.8, (2, 4, 6)),
        (0.6, (3, 6, 10)),
        (0.9, (1, 3, 5, 7)),
        ((0.9, 0.6), (3, 10)),
    ]
)


def replay_error(decoder: AdaDecoder, predictor: Predictor, design: Design, prompt: int, ids: torch.Tensor) -> float:
    """T1: one instrumented run's own durations replayed, against the time it took; NaN where it went other rounds."""
    decoding = decoder.start(ids, design, max_new_tokens=predictor.trace.max_new_tokens(prompt))
    begun = synchronized_now(decoder.parts.device)
    done, clock = mark_works(decoding)
    seconds = synchronized_now(decoder.parts.device) - begun
    works = list(zip(done, clock.intervals(), strict=True))
    try:
        return replay_measured(predictor.trace, works, design, prompt, model=predictor.model).seconds / seconds - 1
    except ProfileError:
        return float("nan")


def main(arguments: list[str] | None = None) -> None:
    """Predict, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=8, help="of each recorded domain")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    profile = read_profile(PROFILE)
    recorded = {design for design, _ in timed_runs(profile)}
    assert not recorded & set(DESIGNS)
    predictor = Predictor.of(profile)
    demo = load_demo()
    chosen = [p for domain in profile.manifest["prompts"]["domains"] for p in predictor.prompts([domain])[: args.prompts]]
    by_digest = {hashlib.sha256(text.encode()).hexdigest(): text for texts in demo.prompts.values() for text in texts}
    texts = {row["prompt"]: by_digest[row["sha256"]] for row in profile.prompts.to_dict("records")}
    every = (Design.of("vanilla"), *DESIGNS)
    predicted = {(d, r.prompt): r for d in every for r in replay(predictor.trace, predictor.latency, d, chosen, model=predictor.model)}
    decoder = AdaDecoder(demo.model, demo.heads)
    with torch.inference_mode():
        decoder.parts.allocate(320)
    rows: list[dict[str, Any]] = []
    exact = {}
    for repeat in track(range(args.repeats), "measuring"):
        for prompt in chosen:
            ids = encode(demo.tokenizer, Prompt(text=texts[prompt]))
            for design in every:
                decoding = decoder.start(ids, design, max_new_tokens=predictor.trace.max_new_tokens(prompt))
                with decoder.parts.session():
                    begun = synchronized_now(decoder.parts.device)
                    for _ in decoding.steps():
                        pass
                    seconds = synchronized_now(decoder.parts.device) - begun
                rows.append({"design": design, "prompt": prompt, "repeat": repeat, "seconds": seconds})
                same = tuple(decoding.schedule.rounds) == predicted[design, prompt].rounds
                exact[design, prompt] = same and exact.get((design, prompt), True)
    replay_errors = {
        (design, prompt): replay_error(decoder, predictor, design, prompt, encode(demo.tokenizer, Prompt(text=texts[prompt])))
        for prompt in chosen
        for design in every
    }
    measured = pd.DataFrame(rows).groupby(["design", "prompt"], sort=False)["seconds"].median()
    table = []
    for design in every:
        for prompt in chosen:
            ours, theirs = predicted[design, prompt], measured[design, prompt]
            base, own_base = measured[every[0], prompt], predicted[every[0], prompt].seconds
            row = {"design": design.label, "exact": exact[design, prompt], "modelled": ours.modelled_seconds / ours.seconds}
            row |= {"replay_error": replay_errors[design, prompt]}
            row |= {"prediction_error": ours.seconds / theirs - 1, "measured": base / theirs, "predicted": own_base / ours.seconds}
            table.append(
                {**row, "speedup_error": row["predicted"] / row["measured"] - 1, "measured_s": theirs, "predicted_s": ours.seconds}
            )
    frame = pd.DataFrame(table)
    off = frame[frame["design"] != "vanilla"]
    result = {
        "designs": len(DESIGNS),
        "prompts": len(chosen),
        "repeats": args.repeats,
        "structure": {"runs": len(off), "exact": int(off["exact"].sum())},
        "replay_error": spread(off["replay_error"]),
        "prediction_error": spread(off["prediction_error"]),
        "speedup_error": spread(off["speedup_error"]),
        "modelled_share": float(off["modelled"].mean()),
    }
    shown = Table(title="off the recorded designs: medians over prompts")
    for heading in ("design", "speedup", "predicted", "speedup error", "time error", "exact", "modelled"):
        shown.add_column(heading, justify="left" if heading == "design" else "right")
    by_design = []
    for label, part in frame.groupby("design", sort=False):
        medians = part[["measured", "predicted", "modelled"]].median()
        errors = part[["speedup_error", "prediction_error"]].abs().median()
        by_design.append({"design": label, **medians, **errors, "exact": int(part["exact"].sum())})
        cells = (
            f"{medians['measured']:.2f}x",
            f"{medians['predicted']:.2f}x",
            f"{errors['speedup_error']:.1%}",
            f"{errors['prediction_error']:.1%}",
        )
        shown.add_row(str(label), *cells, f"{int(part['exact'].sum())}/{len(part)}", f"{part['modelled'].mean():.1%}")
    keep("off_design", {**result, "by_design": by_design})
    Console().print(shown)
    Console().print(result)


if __name__ == "__main__":
    main()
