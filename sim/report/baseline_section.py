"""The part of a report on other ways to decode, where the recording ran any: baselines beside the designs."""

from __future__ import annotations

import pandas as pd

from adadecode.sim.measurements.baselines import GENERATE, same_text, standings
from adadecode.sim.report import formatting, profile_figures
from adadecode.sim.report.document import Choice, Drawing, Figure, Section, Table
from adadecode.sim.report.profile_data import Recording
from adadecode.sim.report.profile_sections import WHOLE, domain_choice
from adadecode.sim.report.profile_tables import ALL

OVER = {
    "our vanilla": "over_vanilla",
    "generate": "over_generate",
    "generate, prefill included": "over_generate_whole",
}


def beside_section(recording: Recording) -> Section | None:
    """None where no baseline was recorded."""
    found = standings(recording.profile, recording.texts)
    if found.empty:
        return None
    timed = found[found["tpot_s"].notna()]
    drawings: dict[tuple[str, ...], Drawing] = {}
    for text in recording.texts:
        part = timed[timed["domain"] == text]
        for said, column in OVER.items():
            shown = part[part[column].notna()]
            if len(shown):
                drawings[said, text or WHOLE] = Drawing(
                    figure=profile_figures.beside_figure(shown, column),
                    says=_says(shown, said, column),
                )
    figure = Figure(
        name="beside",
        title="Designs beside other ways to decode",
        caption=(
            "Dots: the median over repeats of the other's seconds per token divided by its own, all run in turn on the same prompts; bars: the smallest and the "
            "largest repeat. Crosses: at least one text was not generate's. Seconds per token leave out the first step, with the tokens it gave."
        ),
        choices=(
            Choice(dimension="over", label="Over", options=tuple(OVER)),
            domain_choice(list(recording.texts)),
        ),
        drawings=drawings,
    )
    return Section(
        name="beside-section",
        title="Beside other ways to decode",
        lead="Each baseline decodes the same prompts with the same weights in the same number format, its text held against that of transformers' generate.",
        items=(figure, _table(found)),
        notes=tuple(_failed(found)),
    )


def _says(shown: pd.DataFrame, said: str, column: str) -> str:
    """The fastest of both kinds, in a sentence."""
    parts = []
    for ours, kind in ((True, "design"), (False, "baseline")):
        part = shown[(shown["ours"] == ours) & (shown["name"] != GENERATE)]
        if len(part):
            best = part.sort_values(column).to_dict("records")[-1]
            gain = formatting.gain(best[column], best[f"{column}_low"], best[f"{column}_high"])
            parts.append(f"fastest {kind}: {best['name']}, {gain} over {said}")
    return "; ".join(parts) + "." if parts else ""


def _table(found: pd.DataFrame) -> Table:
    frame = found.assign(
        domain=found["domain"].replace(ALL, WHOLE),
        text=[same_text(row) for row in found.to_dict("records")],
    )
    columns = {
        "name": ("decoded with", "text"),
        "domain": ("text", "text"),
        "repeats": ("repeats", "count"),
        "tpot_s": ("time a token", "ms"),
        "over_vanilla": ("over our vanilla", "times"),
        "over_vanilla_low": ("lowest", "times"),
        "over_vanilla_high": ("highest", "times"),
        "over_generate": ("over generate", "times"),
        "over_generate_low": ("lowest", "times"),
        "over_generate_high": ("highest", "times"),
        "over_generate_whole": ("with prefill", "times"),
        "text": ("texts that are generate's", "text"),
    }
    return Table(
        name="beside-table",
        title="Designs and baselines",
        frame=frame,
        columns=columns,
        folded=True,
    )


def _failed(found: pd.DataFrame) -> list[str]:
    """Every baseline that did not run everywhere, and why; and what compilation took, apart from all speeds."""
    whole = found[found["domain"] == ALL].to_dict("records")
    notes = [f"{row['name']} did not run: {row['error']}" for row in whole if row["error"]]
    notes += [
        f"Compiling for {row['name']} took {row['compile_s']:.0f} s, which no speed above contains."
        for row in whole
        if row["compile_s"] > 0
    ]
    return notes
