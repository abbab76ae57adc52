"""Measure and predict what AdaDecode gains over vanilla, with and without shortlists and gates.

SmolLM2 on the paper's own kinds of text, or the demo model on its own, in FP32 on one thread, eager
and compiled. In each mode a few prompts of every set are recorded; a sweep of that recording finds
the fastest design of each kind of heads. These designs, vanilla, and ``generate`` of
`transformers`, with its dynamic cache and compiled with a static one, are then timed in turn on
other prompts of the set. All texts are compared with those of ``generate``. What was measured of
the other model before is kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, ExitHeads, RecordingOptions, record
from adadecode.engine.baselines.baseline import Baseline
from adadecode.engine.baselines.designs import DesignBaseline
from adadecode.engine.baselines.factory import make_baselines
from adadecode.engine.demo.demo_model import Demo, load_demo, load_smollm2
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.runtime.choices import GraphMode
from adadecode.profiles.input_file import is_there, read_json
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import FULL, HeadForm, form_named
from adadecode.sim.sweep.best_design import design_of
from adadecode.sim.sweep.design_sweep import sweep
from adadecode.sim.sweep.space import Space
from benchmarks.baselines import Text, check, measure
from benchmarks.harness import RESULTS, describe_ratio, make_table, ratio, write_result
from benchmarks.real_prompts import SETS, chats

RESULT = "head_gain"
MODES = ("eager", "compile")
GAMMAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
GATES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of heads to choose a design of.

    Attributes:
        forms: Forms of the heads, the fastest of which is taken.
        gates: Gate thresholds, the fastest of which is taken; 0 for none.
    """

    forms: tuple[HeadForm, ...]
    gates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ModelCase:
    """A model and its sets of prompts.

    Attributes:
        name: What it is called.
        loaded: The model, its tokenizer and heads.
        kinds: The kinds of heads, by a label.
        sets: The prompts of each set, those to record first.
    """

    name: str
    loaded: Demo
    kinds: Mapping[str, Kind]
    sets: Mapping[str, Sequence[Prompt]]


@dataclass(frozen=True, kw_only=True)
class NamedBaseline(DesignBaseline):
    """A design under a name of its own."""

    called: str

    @property
    def name(self) -> str:
        """The name."""
        return self.called

    def about(self) -> dict[str, Any]:
        """Return what the baseline needs, and its design."""
        return {"needs": self.needs, "design": self.design.label}


def kinds_of(*cheap: str) -> dict[str, Kind]:
    """Return the kinds of heads: whole and cheaper ones, each with and without gates.

    Args:
        cheap: Forms of the cheaper ones, as `form_named` has them.
    """
    forms = tuple(map(form_named, cheap))
    return {
        "full": Kind(forms=(FULL,), gates=(0.0,)),
        "full, gate": Kind(forms=(FULL,), gates=GATES),
        "cheap": Kind(forms=forms, gates=(0.0,)),
        "cheap, gate": Kind(forms=forms, gates=GATES),
    }


def load_case(name: str, heads: str | None, recorded: int, timed: int) -> ModelCase:
    """Return a model with its prompts.

    Args:
        name: ``smollm2`` or ``demo``.
        heads: A folder of heads; those that come with the model where None.
        recorded: Prompts of each set to record.
        timed: Prompts of each set to time.
    """
    count = recorded + timed
    if name == "demo":
        loaded = load_demo()
        sets = {domain: loaded.of(domain)[:count] for domain in ("arithmetic", "code")}
        kinds = kinds_of("int8", "shortlist:256", "shortlist:256+int8")
    else:
        loaded = load_smollm2()
        sets = {one: chats(one, loaded.tokenizer, count) for one in SETS}
        kinds = kinds_of("int8", "shortlist:8192", "shortlist:2048+prompt", "shortlist:1024+prompt")
    if heads is not None:
        found = ExitHeads.load(heads, loaded.model)
        loaded = Demo(
            model=loaded.model,
            tokenizer=loaded.tokenizer,
            heads=found,
            examples=loaded.examples,
        )
    if loaded.heads.gates is None:
        kinds = {label: kind for label, kind in kinds.items() if kind.gates == (0.0,)}
    return ModelCase(name=name, loaded=loaded, kinds=kinds, sets=sets)


def record_case(case: ModelCase, mode: str, recorded: int, tokens: int, out: Path) -> Profile:
    """Record the first prompts of each set in one mode, with the checks of every form timed."""
    depths = case.loaded.heads.depths
    forms = dict.fromkeys(form.label for kind in case.kinds.values() for form in kind.forms)
    options = RecordingOptions(
        max_new_tokens=tokens,
        gammas=(0.6,),
        placements=((depths[len(depths) // 2],),),
        fixed_drafts=0,
        repeats=1,
        branch_floor=0.3,
        graphs=GraphMode(mode),
        head_forms=tuple(label.replace(" ", "+") for label in forms if label != FULL.label),
    )
    prompts = [prompt for prompts in case.sets.values() for prompt in prompts[:recorded]]
    return record(
        case.loaded.model,
        case.loaded.tokenizer,
        [Prompt(**{**vars(one), "max_new_tokens": None}) for one in prompts],
        heads=case.loaded.heads,
        out=out,
        options=options,
        notice=Console(stderr=True).print,
    )


def best_of(profile: Profile, kind: Kind, domain: str, max_heads: int) -> dict[str, Any]:
    """Return the fastest design of a kind of heads on one set: its row in a sweep."""
    space = Space(gammas=GAMMAS, gates=kind.gates, forms=kind.forms, max_heads=max_heads)
    return sweep(profile, space, domain=domain, method="exhaustive").best()


def ours_of(
    decoders: Mapping[tuple[str, HeadForm], AdaDecoder],
    best: Mapping[tuple[str, str], dict[str, Any]],
) -> list[Baseline]:
    """Return vanilla in each mode, and the best design of each mode and kind of heads.

    Args:
        decoders: By mode and form of the heads.
        best: The row of the best design, by mode and kind of heads.
    """
    found: list[Baseline] = [
        NamedBaseline(
            decoder=decoders[mode, FULL], design=Design.of("vanilla"), called=f"vanilla, {mode}"
        )
        for mode in MODES
    ]
    for (mode, label), row in best.items():
        design = design_of(row)
        decoder = decoders[mode, getattr(design, "form", FULL)]
        found.append(NamedBaseline(decoder=decoder, design=design, called=f"{label}, {mode}"))
    return found


def compare_set(
    case: ModelCase,
    name: str,
    decoders: Mapping[tuple[str, HeadForm], AdaDecoder],
    best: Mapping[tuple[str, str], dict[str, Any]],
    texts: Sequence[Text],
    repeats: int,
) -> dict[str, Any]:
    """Time everything on one set, in turn.

    Args:
        case: The model.
        name: Of the set.
        decoders: By mode and form of the heads.
        best: The row of the best design, by mode and kind of heads.
        texts: Prompts to time.
        repeats: Of the timed runs.

    Returns:
        By way: seconds a token, ratios to ``generate``, to vanilla in the same mode, and what the
        sweep predicted.
    """
    longest = max(ids.shape[1] + n for ids, n in texts)
    theirs = make_baselines(
        "generate,static",
        next(iter(decoders.values())),
        longest=longest,
        tokenizer=case.loaded.tokenizer,
    )
    ways = [*theirs, *ours_of(decoders, best)]
    found = check(ways, texts)
    token_s = {
        way: [token for token, _ in pairs] for way, pairs in measure(ways, texts, repeats).items()
    }
    for way, seconds in token_s.items():
        mode = way.rpartition(", ")[2]
        row = best.get((mode, way.rpartition(", ")[0]))
        found[way] |= {
            "token_s": sorted(seconds)[len(seconds) // 2],
            "over_generate": ratio(token_s["generate"], seconds),
            "over_vanilla": ratio(token_s[f"vanilla, {mode}"], seconds) if mode in MODES else None,
            "predicted": None if row is None else float(row["speedup"]),
        }
    return {"set": name, "prompts": len(texts), "repeats": repeats, "ways": found}


def make_decoders(case: ModelCase) -> dict[tuple[str, HeadForm], AdaDecoder]:
    """Return a decoder for each mode and form of the heads."""
    model, heads = case.loaded.model, case.loaded.heads
    forms = dict.fromkeys(form for kind in case.kinds.values() for form in kind.forms)
    return {
        (mode, form): AdaDecoder(
            model,
            heads.shaped(model, shortlist=form.shortlist, dtype=form.dtype, prompt=form.prompt),
            graphs=GraphMode(mode),
        )
        for mode in MODES
        for form in forms
    }


def set_table(result: Mapping[str, Any]) -> Table:
    """Return what one set gave as a table."""
    table = make_table(
        f"{result['set']}: median (lowest .. highest) of {result['repeats']} repeats",
        *("way", "design", "ms/token", "/ vanilla", "predicted", "/ generate", "same text"),
        words=("way", "design"),
    )
    for way, row in result["ways"].items():
        predicted = row["predicted"]
        table.add_row(
            way,
            row.get("design", ""),
            f"{row['token_s'] * 1e3:.1f}",
            describe_ratio(row["over_vanilla"]),
            "" if predicted is None else f"{predicted:.2f}",
            describe_ratio(row["over_generate"]),
            f"{row['equal']} of {row['texts']}",
        )
    return table


def run_case(case: ModelCase, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Record, sweep and time one model."""
    best: dict[str, dict[tuple[str, str], dict[str, Any]]] = {name: {} for name in case.sets}
    for mode in MODES:
        profile = record_case(case, mode, options.recorded, options.tokens, folder / mode)
        for name, kinds in best.items():
            for label, kind in case.kinds.items():
                kinds[mode, label] = best_of(profile, kind, name, options.max_heads)
                print(mode, name, label, kinds[mode, label]["design"], flush=True)
    decoders = make_decoders(case)
    sets = []
    for name, prompts in case.sets.items():
        timed = prompts[options.recorded :]
        texts = [(encode(case.loaded.tokenizer, one), options.tokens) for one in timed]
        sets.append(compare_set(case, name, decoders, best[name], texts, options.repeats))
        Console().print(set_table(sets[-1]))
    return {
        "model": case.name,
        "tokens": options.tokens,
        "recorded": options.recorded,
        "beside": options.beside,
        "sets": sets,
    }


def main(arguments: list[str] | None = None) -> None:
    """Print and keep the speedups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["smollm2", "demo"])
    parser.add_argument("--heads", help="a folder of heads [those that come with the model]")
    parser.add_argument("--recorded", type=int, default=3, help="prompts recorded [%(default)s]")
    parser.add_argument("--prompts", type=int, default=4, help="prompts timed [%(default)s]")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer [%(default)s]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-heads", type=int, default=2, help="of a design [%(default)s]")
    parser.add_argument(
        "--beside", default="nothing", help="say which other programs run meanwhile"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    known = RESULTS / f"{RESULT}.json"
    kept = read_json(known)["results"] if is_there(known) else []
    for name in options.models:
        case = load_case(name, options.heads, options.recorded, options.prompts)
        with tempfile.TemporaryDirectory() as folder:
            found = run_case(case, options, Path(folder))
        kept = [*(one for one in kept if one["model"] != name), found]
        write_result(RESULT, {"results": kept})


if __name__ == "__main__":
    main()
