"""The parts of a report that a profile alone can fill: what was measured, where the time goes, how far heads can be trusted, how true it is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Policy
from adadecode.sim.hardware.provenance import form_of
from adadecode.sim.measurements.head_coverage import coverage_of, coverage_words
from adadecode.sim.measurements.runs import rounds_of
from adadecode.sim.report import formatting, manifest_text, profile_figures, profile_tables
from adadecode.sim.report.document import Choice, Drawing, Figure, Section, Table, listing
from adadecode.sim.report.profile_data import Recording
from adadecode.sim.report.profile_tables import ALL, TIME_SHARES
from adadecode.sim.validation.result import Validation, by_design

WHOLE = "all text"
TIERS = {
    "replay_error": ("T1", "replay of measured durations: run time"),
    "prediction_error": ("T2", "run time, from latencies measured apart"),
    "speedup_error": ("T2", "speedup over vanilla"),
}


def domain_choice(texts: Sequence[str]) -> Choice:
    """The drop-down of domains, all text first."""
    return Choice(dimension="domain", label="Text", options=tuple(text or WHOLE for text in texts))


def speed_section(recording: Recording) -> Section | None:
    """What the designs that were run gave."""
    speeds = recording.speeds
    speeds = speeds[speeds["speedup"].notna()]
    shown = speeds[speeds["policy"] != Policy.VANILLA]
    if shown.empty:
        return None
    texts = [text for text in recording.texts if (shown["domain"] == text).any()]
    drawings: dict[tuple[str, ...], Drawing] = {}
    for text in texts:
        part = shown[shown["domain"] == text]
        best = profile_tables.fastest(part)
        says = f"{best['design']} was fastest: {formatting.gain(best['speedup'], best['low'], best['high'])} over {formatting.plural(int(best['prompts']), 'prompt')}."
        drawings[(text or WHOLE,)] = Drawing(
            figure=profile_figures.speedups_figure(part), says=says
        )
    figure = Figure(
        name="measured-designs",
        title="Every design that was run",
        caption=(
            "Dots: the median over repeats of vanilla's time for a token divided by the design's, both run in turn; bars: the smallest and largest "
            "repeat. Diamonds: what the simulator says, from latencies that no timed run went into. Left of the dotted line a design is slower than vanilla."
        ),
        choices=(domain_choice(texts),),
        drawings=drawings,
    )
    table = Table(
        name="measured-designs-table",
        title="Measured designs",
        frame=speeds.assign(domain=speeds["domain"].replace(ALL, WHOLE)),
        columns={
            "design": ("design", "text"),
            "domain": ("text", "text"),
            "prompts": ("prompts", "count"),
            "repeats": ("repeats", "count"),
            "tpot_s": ("time a token", "ms"),
            "speedup": ("speedup", "times"),
            "low": ("lowest", "times"),
            "high": ("highest", "times"),
            "predicted": ("predicted", "times"),
        },
        folded=True,
    )
    return Section(
        name="measured",
        title="What was measured",
        lead="Each design decoded the same prompts as vanilla, in turn, and wrote the same text.",
        items=(figure, table),
    )


def time_section(recording: Recording) -> Section | None:
    """Where the time goes and where tokens leave, of the designs that were run."""
    designs = list(dict.fromkeys(design for design, _ in rounds_of(recording.profile)))
    if recording.predictor is None or not designs:
        return None
    items: list[Figure | Table] = []
    split = recording.split(designs)
    if len(split):
        figure = profile_figures.budget_figure(split)
        items.append(
            Figure(
                name="time-budget",
                title="Where the time of a token goes",
                caption=(
                    "From the measured latencies, replayed over all text. A batch's time is shared evenly by its tokens: red is what was spent on drafts that "
                    "verification threw away. Head checks are paid whether or not the token leaves."
                ),
                drawings={(): Drawing(figure=figure)},
            )
        )
        columns = {
            "design": ("design", "text"),
            **{part: (profile_figures.PART_NAMES[part], "ms") for part in TIME_SHARES},
        }
        items.append(
            Table(
                name="time-budget-table",
                title="Time of a token by part",
                frame=split,
                columns=columns,
                folded=True,
            )
        )
    tokens = profile_tables.fates(recording.profile, recording.texts)
    drafting = [design.label for design in designs if design.placement]
    if drafting:
        items += _fates(recording, tokens, drafting)
    return Section(
        name="time", title="Where the time goes, and where tokens leave", items=tuple(items)
    )


def _fates(recording: Recording, tokens: pd.DataFrame, labels: list[str]) -> list[Figure | Table]:
    """Exits by depth of the measured rounds, and what became of the drafts."""
    texts = list(recording.texts)
    best = recording.best()
    if best is not None and best["design"] in labels:
        labels = [best["design"], *(label for label in labels if label != best["design"])]
    drawings: dict[tuple[str, ...], Drawing] = {}
    for (label, domain), part in tokens[tokens["design"].isin(labels)].groupby(
        ["design", "domain"], sort=False
    ):
        drafts, wrong = (
            int(part[["accepted", "rejected"]].to_numpy().sum()),
            int(part["rejected"].sum()),
        )
        kept = int(part["accepted"].sum()) / max(
            1, int(part[["accepted", "last"]].to_numpy().sum())
        )
        says = f"{formatting.percent(kept)} of the text left early; {formatting.count(wrong)} of {formatting.count(drafts)} drafts were thrown away."
        drawings[str(label), str(domain) or WHOLE] = Drawing(
            figure=profile_figures.fates_figure(part), says=says
        )
    figure = Figure(
        name="exits",
        title="Exits by depth, accepted and discarded",
        caption=(
            "Counted in the recorded rounds. Blue and green make up the text, 100 %; red comes on top: drafts computed in vain, the first wrong one of a round and "
            "all that followed it."
        ),
        choices=(
            Choice(dimension="design", label="Design", options=tuple(labels)),
            domain_choice(texts),
        ),
        drawings=drawings,
    )
    names = {
        "accepted": ("accepted drafts", "count"),
        "rejected": ("discarded drafts", "count"),
        "last": ("last layer's own", "count"),
    }
    table = Table(
        name="exits-table",
        title="Exits by depth",
        frame=tokens.assign(domain=tokens["domain"].replace(ALL, WHOLE)),
        columns={
            "design": ("design", "text"),
            "domain": ("text", "text"),
            "depth": ("depth", "count"),
            **names,
        },
        folded=True,
    )
    return [figure, table]


def heads_section(recording: Recording) -> Section | None:
    """How far the heads can be trusted."""
    if recording.predictor is None or not recording.profile.depths:
        return None
    trace = recording.predictor.trace
    agreement = profile_tables.agreement(trace)
    if agreement.empty:
        return None
    bins = profile_tables.calibration(trace, recording.texts)
    options = {"agreement": "agree", "confidence": "confidence"}
    trust = Figure(
        name="agreement",
        title="Agreement and confidence by depth",
        caption=(
            "Agreement: how often a head's first choice is the last layer's, before every output of the recorded text, whatever exit was taken. "
            "Confidence: the mean probability of that choice."
        ),
        choices=(Choice(dimension="trust", label="Show", options=tuple(options)),),
        drawings={
            (name,): Drawing(
                figure=profile_figures.trust_figure(agreement, column),
                says=_trust(agreement, column),
            )
            for name, column in options.items()
        },
        half=True,
    )
    depths = _by_gain(agreement, trace.depths)
    drawings: dict[tuple[str, ...], Drawing] = {}
    for (domain, depth), part in bins.groupby(["domain", "depth"], sort=False):
        off = (part["outputs"] * (part["confidence"] - part["agree"]).abs()).sum() / part[
            "outputs"
        ].sum()
        says = f"Head {depth}: off by {formatting.percent(off)} in the mean over {formatting.count(int(part['outputs'].sum()))} outputs."
        drawings[f"head {depth}", str(domain) or WHOLE] = Drawing(
            figure=profile_figures.calibration_figure(part), says=says
        )
    calibration = Figure(
        name="calibration",
        title="Is a head as right as it is sure?",
        caption="Outputs in tenths of confidence, larger dots for more of them; bars: 95 % intervals (Wilson). Above the dotted line a head is right more often than it says.",
        choices=(
            Choice(
                dimension="head", label="Head", options=tuple(f"head {depth}" for depth in depths)
            ),
            domain_choice(list(recording.texts)),
        ),
        drawings=drawings,
        half=True,
    )
    tables = (
        Table(
            name="agreement-table",
            title="Agreement and confidence",
            frame=agreement.assign(domain=agreement["domain"].replace(ALL, WHOLE)),
            columns={
                "domain": ("text", "text"),
                "depth": ("depth", "count"),
                "outputs": ("outputs", "count"),
                "agree": ("agreement", "percent"),
                "confidence": ("confidence", "percent"),
            },
            folded=True,
        ),
        Table(
            name="calibration-table",
            title="Calibration",
            frame=bins.assign(domain=bins["domain"].replace(ALL, WHOLE)),
            columns={
                "domain": ("text", "text"),
                "depth": ("depth", "count"),
                "outputs": ("outputs", "count"),
                "confidence": ("confidence", "percent"),
                "agree": ("right", "percent"),
                "low": ("from", "percent"),
                "high": ("to", "percent"),
            },
            folded=True,
        ),
    )
    return Section(
        name="heads",
        title="How far the heads can be trusted",
        lead="A head pays where it is right early, and knows when it is.",
        items=(trust, calibration, *tables),
    )


def _trust(agreement: pd.DataFrame, column: str) -> str:
    """One sentence on the first head that is right nine times in ten."""
    whole = agreement[agreement["domain"] == ALL]
    if column == "confidence":
        return f"The shallowest head is {formatting.percent(whole[column].iloc[0])} sure in the mean, the deepest {formatting.percent(whole[column].iloc[-1])}."
    first = whole[whole["agree"] >= 0.9]["depth"]
    return (
        f"From depth {first.iloc[0]} on nine outputs in ten are right."
        if len(first)
        else "No head is right nine times in ten."
    )


def _by_gain(agreement: pd.DataFrame, depths: Sequence[int]) -> list[int]:
    """The depths of the heads, first the one after the steepest rise of agreement: it says most for its depth."""
    whole = agreement[agreement["domain"] == ALL].set_index("depth")["agree"]
    rise = whole.diff().fillna(0.0)
    first = depths[int(rise.argmax())]
    return [first, *(depth for depth in depths if depth != first)]


def latency_section(recording: Recording) -> Section | None:
    """Seconds of each piece of work."""
    points = recording.latency.points
    layers, pieces = profile_tables.layer_seconds(points), profile_tables.piece_seconds(points)
    if layers.empty:
        return None
    contexts = sorted(set(layers["context"]))
    kept = layers[layers["context"].isin({contexts[0], contexts[len(contexts) // 2], contexts[-1]})]
    batches = layers[layers["context"] == contexts[0]].set_index("n_tokens")["seconds"]
    grows = f"{int(batches.index[-1])} tokens at once cost {batches.iloc[-1] / batches.iloc[0]:.2f} times what {formatting.plural(int(batches.index[0]), 'token')} does."
    figures = (
        Figure(
            name="layer-time",
            title="One layer, by the tokens in its batch",
            caption="Mean over the layers, after a walk of the whole stack; bars: the fastest and the slowest layer. "
            + ("Shortest, middle and longest context measured." if len(contexts) > 3 else ""),
            drawings={(): Drawing(figure=profile_figures.layers_figure(kept), says=grows)},
            half=True,
        ),
        Figure(
            name="piece-time",
            title="Each kind of work, on one token",
            caption="Mean over what was measured; bars: over layers or heads. Host: what a piece of work costs outside the model.",
            drawings={
                (): Drawing(figure=profile_figures.pieces_figure(pieces), says=_dear(pieces))
            },
            half=True,
        ),
    )
    columns = {
        "context": ("context", "count"),
        "n_tokens": ("tokens", "count"),
        "seconds": ("mean", "ms"),
        "low": ("fastest layer", "ms"),
        "high": ("slowest layer", "ms"),
    }
    tables = (
        Table(
            name="layer-time-table",
            title="Time of a layer",
            frame=layers,
            columns=columns,
            folded=True,
        ),
        Table(
            name="piece-time-table",
            title="Time of each kind of work",
            frame=pieces,
            columns={
                "kind": ("work", "text"),
                "seconds": ("mean", "ms"),
                "low": ("lowest", "ms"),
                "high": ("highest", "ms"),
            },
            folded=True,
        ),
    )
    return Section(
        name="latency",
        title="What each piece of work takes",
        lead="Everything above is priced with these.",
        items=(*figures, *tables),
    )


def _dear(pieces: pd.DataFrame) -> str:
    by_kind = pieces.set_index("kind")["seconds"]
    if not {"layer", "head"} <= set(by_kind.index):
        return f"Measured here: {formatting.listed(by_kind.index)}."
    return f"A head check costs {by_kind['head'] / by_kind['layer']:.2f} layers."


def truth_section(recording: Recording) -> Section | None:
    """Predicted against measured, in tiers."""
    comparison = recording.comparison
    if comparison is None or recording.predictor is None:
        return None
    trace = recording.predictor.trace
    items: list[Figure | Table] = [_tiers(comparison)]
    cells = comparison.cells.assign(
        domain=[trace.domain(prompt) for prompt in comparison.cells["prompt"]]
    )
    both = cells["speedup"].notna() & (cells["policy"] != Policy.VANILLA)
    designs = by_design(comparison.cells)
    if both.any():
        truth = profile_figures.truth_figure(cells)
        errors = profile_figures.errors_figure(designs[designs["prediction_error"].notna()])
        items += [
            Figure(
                name="truth",
                title="Predicted against measured speedup",
                caption="A dot for every design and prompt: the nearer to the dotted line, the truer. Nothing was fitted on what is predicted.",
                drawings={(): Drawing(figure=truth)},
                half=True,
            ),
            Figure(
                name="errors",
                title="Errors by design (T2)",
                caption="The median over prompts of how far predictions miss, either way.",
                drawings={(): Drawing(figure=errors)},
                half=True,
            ),
        ]
    columns = {
        "design": ("design", "text"),
        "runs": ("runs", "count"),
        "exact": ("T0 exact", "count"),
        "replay_error": ("T1", "percent"),
        "prediction_error": ("T2 time", "percent"),
        "speedup_error": ("T2 speedup", "percent"),
        "modelled": ("time modelled", "percent"),
    }
    items.append(
        Table(
            name="errors-table",
            title="Errors by design",
            frame=designs,
            columns=columns,
            folded=True,
        )
    )
    notes = []
    if comparison.left_out:
        notes.append(
            f"{formatting.plural(comparison.left_out, 'unverified run')} left out: their text is not the trace's."
        )
    return Section(
        name="truth-section",
        title="How true it is: predicted against measured",
        lead="The simulator is held against the profile's own runs, tier by tier.",
        items=tuple(items),
        notes=tuple(notes),
    )


def _tiers(comparison: Validation) -> Table:
    told = comparison.to_dict()
    structure = told["structure"]
    rows = []
    if structure["runs"]:
        what = f"rounds of the replay are those of the run: {structure['exact']} of {structure['runs']} exactly, {structure['explained']} explained by a near-tie"
        rows.append({"tier": "T0", "what": what, "median": float("nan"), "p90": float("nan")})
    for key, (tier, what) in TIERS.items():
        rows.append({"tier": tier, "what": what, **_errors(told[key])})
    for key, what in (("time_difference", "run time"), ("speedup_difference", "speedup")):
        rows.append(
            {
                "tier": "floor",
                "what": f"even against odd repeats of the same runs: {what}",
                **_errors(told["repeats"][key]),
            }
        )
    columns = {
        "tier": ("tier", "text"),
        "what": ("what is compared", "text"),
        "median": ("median error", "percent"),
        "p90": ("90th percentile", "percent"),
    }
    caption = "The floor is what measuring again moves: about half of it is what no prediction can get below. T3, other devices, needs a recording there."
    return Table(
        name="tiers", title="Tiers", frame=pd.DataFrame(rows), columns=columns, caption=caption
    )


def _errors(spread: dict[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in spread.items()}


def provenance_section(profile: Profile) -> Section:
    """Where the numbers come from."""
    return Section(
        name="provenance",
        title="Provenance",
        lead="What was recorded, with what, and the digest that seals it.",
        items=(
            listing("provenance-table", "The profile", manifest_text.provenance(profile)),
            *_coverage(profile),
        ),
    )


def _coverage(profile: Profile) -> list[Table]:
    """How often each head agrees with the last layer, as a full one and in the form that ran; nothing where nobody measured it."""
    found = coverage_of(profile)
    if found is None:
        return []
    form = form_of(profile)
    columns = {
        "depth": ("depth", "count"),
        "full": ("agreement, full", "percent"),
        "formed": (f"agreement, {form.label}", "percent"),
        "same": ("same token", "percent"),
    }
    frame = pd.DataFrame(
        {name: found[name] for name in ("depths", "full", "formed", "same")}
    ).rename(columns={"depths": "depth"})
    caption = f"{coverage_words(found, form)}. How often a head's token is the last layer's. No form changes the text: what it loses is drafts that hold."
    return [
        Table(
            name="coverage",
            title=f"What heads {form.label} lose",
            frame=frame,
            columns=columns,
            caption=caption,
        )
    ]


def limits_section(recording: Recording) -> Section:
    """What must not be read into it."""
    notes = manifest_text.limitations(recording.profile)
    if recording.predictor is not None:
        notes.append(
            "Predictions hold for this text, these heads and this machine, decoding greedily, one sequence at a time. "
            "Text that is easier or harder moves them: compare the domains."
        )
        errors = recording.predictor.branch_errors
        if len(errors.cells):
            median = errors.to_dict()["seconds_error"]["median"]
            notes.append(
                "What heads say after a wrong draft is recorded only where it was likely; elsewhere it is modelled, and every prediction says for what share of its time. "
                f"With recorded branches withheld, the time of a run moved by {formatting.percent(median)} in the median over {formatting.plural(len(errors.cells), 'run')}."
            )
        else:
            notes.append(
                "What heads say after a wrong draft is modelled where it was not recorded; how far that errs could not be measured on this profile."
            )
    return Section(name="limits", title="Limits", notes=tuple(notes))
