"""Hold SmolLM2's texts on real questions against the model's own, under every design.

Answers to prompts of three public data sets. In FP32, eager and compiled, and among others in the
batched engine, each text is compared with greedy ``generate``; a difference counts as explained
where the two best logits lie within 1e-4 of each other, relative to the larger. In BF16 with
canonical numerics every text is compared with vanilla's bit by bit: tokens, the logits that they
were chosen from, and all keys and values.

It takes hours. Each part has a result file, each piece is kept there as soon as it is done, and the
next run goes on from there. The file says how many prompts are done, and of which versions of the
sources their pieces are.
"""

from __future__ import annotations

import argparse
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, ExitHeads
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.demo import SMOLLM2
from adadecode.engine.evaluation.bitwise import fingerprint
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.input_file import is_there, read_json
from adadecode.sim.core.design import Design
from benchmarks.harness import RESULTS, make_table, write_result
from benchmarks.lossless import COLUMNS as OUTCOMES
from benchmarks.lossless import outcome
from benchmarks.real_prompts import SETS, encoded
from tests.support.models import greedy_text

SHORTLIST = 8192
RUNNING = 8
"""Texts that the batched engine runs at once; the others of a piece are queued."""
PARTS = ("eager", "batched", "compile", "canonical")
"""FP32 eager, batched and compiled against ``generate``, and BF16 canonical against vanilla."""

Piece = dict[str, Any]
"""The result of a few prompts: data set, counts by design, and the revision of the code."""

COLUMNS = dict.fromkeys(("eager", "batched", "compile"), OUTCOMES) | {
    "canonical": ("runs", "tokens", "positions", "differing")
}
"""The counts that each part keeps of a design."""


def designs_of(depths: Sequence[int], *, gates: bool) -> dict[str, tuple[Design, int | None]]:
    """Return the designs by a label, each with its shortlist.

    From rarely sure to always sure; the last of each part drafts whatever it thinks of.
    """
    shallow, deep = depths[0], depths[-1]
    found = {
        "vanilla": (Design.of("vanilla"), None),
        "all heads, gamma 0.75": (Design.of(gamma=0.75, placement=depths), None),
        "all heads, gamma 0.75, shortlist": (Design.of(gamma=0.75, placement=depths), SHORTLIST),
        "first and last head, gamma 0.3, shortlist": (
            Design.of(gamma=0.3, placement=(shallow, deep)),
            SHORTLIST,
        ),
        "first head, gamma 0, shortlist": (Design.of(gamma=0.0, placement=(shallow,)), SHORTLIST),
        "fixed, last head, shortlist": (
            Design.of("fixed", placement=(deep,), cap=3),
            SHORTLIST,
        ),
    }
    if gates:
        found["all heads, gamma 0.6, gate 0.3, shortlist"] = (
            Design.of(gamma=0.6, placement=depths, gate=0.3),
            SHORTLIST,
        )
    return found


def check_greedy(
    model_name: str, heads_folder: str, name: str, rows: range, tokens: int, graphs: str
) -> dict[str, Counter[str]]:
    """Compare texts of every design in FP32 with ``generate``.

    Args:
        model_name: The model.
        heads_folder: Its heads.
        name: The data set.
        rows: Which of its prompts.
        tokens: The most new tokens.
        graphs: ``eager`` or ``compile``.

    Returns:
        By design, how its runs ended (`benchmarks.lossless.outcome`).
    """
    torch.set_num_threads(1)
    model, tokenizer = load_model(model_name, "float32", "cpu")
    heads = ExitHeads.load(heads_folder, model)
    decoders = {
        form: AdaDecoder(model, heads.shaped(model, shortlist=form), graphs=graphs)
        for form in (None, SHORTLIST)
    }
    eos = sorted(decoders[None].eos)
    designs = designs_of(heads.depths, gates=heads.gates is not None)
    found: dict[str, Counter[str]] = {label: Counter() for label in designs}
    for ids in encoded(name, tokenizer, len(rows), rows.start):
        text = greedy_text(model, ids, tokens, eos=eos or None)
        prompts = {form: kept_prompt(one, ids, tokens) for form, one in decoders.items()}
        for label, (design, form) in designs.items():
            decoding = decoders[form].start(
                ids, design, max_new_tokens=tokens, eos_token_id=eos, prefilled=prompts[form]
            )
            decoding.run_to_end()
            schedule = decoding.schedule
            found[label] += outcome(model, ids, text, list(schedule.tokens), schedule.rounds)
    return found


def check_batched(
    model_name: str, heads_folder: str, name: str, rows: range, tokens: int
) -> dict[str, Counter[str]]:
    """Compare texts of every design in the batched engine, in FP32, with ``generate``.

    All prompts of the piece are submitted at once. Arguments and result are those of
    `check_greedy`, but for the mode.
    """
    torch.set_num_threads(1)
    model, tokenizer = load_model(model_name, "float32", "cpu")
    heads = ExitHeads.load(heads_folder, model)
    shaped = {form: heads.shaped(model, shortlist=form) for form in (None, SHORTLIST)}
    prompts = encoded(name, tokenizer, len(rows), rows.start)
    eos = sorted(AdaDecoder(model).eos)
    own = [greedy_text(model, ids, tokens, eos=eos or None) for ids in prompts]
    found: dict[str, Counter[str]] = {}
    for label, (design, form) in designs_of(heads.depths, gates=heads.gates is not None).items():
        decoder = BatchedDecoder(model, shaped[form], design, max_num_seqs=RUNNING)
        texts = [decoder.text(ids, tokens, eos_token_id=eos) for ids in prompts]
        for text in texts:
            decoder.add(text)
        while decoder.step() is not None:
            pass
        found[label] = Counter()
        for ids, wanted, text in zip(prompts, own, texts, strict=True):
            schedule = text.sequence.schedule
            rounds = () if schedule is None else schedule.rounds
            found[label] += outcome(model, ids, wanted, list(text.tokens), rounds)
    return found


def kept_prompt(decoder: AdaDecoder, ids: torch.Tensor, tokens: int) -> PrefilledPrompt:
    """Run a prompt once, for texts of several designs to go on from."""
    prefilled = decoder.prefill(ids, tokens)
    with torch.inference_mode():
        prefilled.keep(decoder.parts)
    return prefilled


def check_canonical(
    model_name: str, heads_folder: str, name: str, rows: range, tokens: int
) -> dict[str, Counter[str]]:
    """Compare texts of some designs in BF16 with canonical numerics with vanilla's, bit by bit.

    The arguments are those of `check_greedy`.

    Returns:
        By design, how many texts, tokens and positions were compared, and how many places differ.
    """
    torch.set_num_threads(1)
    model, tokenizer = load_model(model_name, "bfloat16", "cpu")
    heads = ExitHeads.load(heads_folder, model)
    decoder = AdaDecoder(model, heads.shaped(model, shortlist=SHORTLIST), numerics="canonical")
    designs = designs_of(heads.depths, gates=heads.gates is not None)
    vanilla, _ = designs.pop("vanilla")
    chosen = [label for label, (_, form) in designs.items() if form == SHORTLIST]
    found: dict[str, Counter[str]] = {label: Counter() for label in chosen}
    for ids in encoded(name, tokenizer, len(rows), rows.start):
        prompt = ids[0].tolist()
        own = fingerprint(decoder, prompt, vanilla, tokens)
        prefilled = kept_prompt(decoder, ids, tokens)
        for label in chosen:
            text = fingerprint(decoder, prompt, designs[label][0], tokens, prefilled)
            found[label] += Counter(
                runs=1,
                tokens=len(text.tokens),
                positions=len(text.states),
                differing=text.differing(own),
            )
    return found


def shares_of(prompts: int, size: int) -> list[tuple[str, range]]:
    """Return the prompts of all sets in pieces of ``size``, the sets in turn.

    Each is the name of a set, and which of its prompts.
    """
    each = [len(range(start, prompts, len(SETS))) for start in range(len(SETS))]
    return [
        (name, range(start, min(start + size, count)))
        for start in range(0, max(each), size)
        for name, count in zip(SETS, each, strict=True)
        if start < count
    ]


def run_part(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compare one part's texts, piece by piece, and keep each piece as soon as it is done.

    Args:
        part: Of `PARTS`.
        options: Of the command.

    Returns:
        What is kept (`described`).
    """
    settings = {
        "model": options.model,
        "heads": folder_digest(options.heads),
        "tokens": options.tokens,
        "prompts": options.prompts,
        "share": options.share,
    }
    shares = {
        label_of(name, rows): (name, rows)
        for name, rows in shares_of(options.prompts, options.share)
    }
    pieces = {} if options.again else kept_pieces(part, settings)
    missing = [label for label in shares if label not in pieces]
    revision = source_revision()
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        work = {pool.submit(check, part, *shares[label], options): label for label in missing}
        for done, job in enumerate(as_completed(work), 1):
            label = work[job]
            pieces[label] = {
                "set": shares[label][0],
                "designs": {design: dict(counts) for design, counts in job.result().items()},
                "revision": revision,
            }
            write_result(result_name(part), described(part, settings, pieces))
            Console().print(f"{part}: {done} of {len(missing)} pieces done, {label}")
    return described(part, settings, pieces)


def check(
    part: str, name: str, rows: range, options: argparse.Namespace
) -> dict[str, Counter[str]]:
    """Compare the texts of one piece."""
    given = (options.model, options.heads, name, rows, options.tokens)
    match part:
        case "canonical":
            return check_canonical(*given)
        case "batched":
            return check_batched(*given)
    return check_greedy(*given, part)


def result_name(part: str) -> str:
    """Return the name of a part's result."""
    return f"pretrained_lossless_{part}"


def label_of(name: str, rows: range) -> str:
    """Return the label of a piece."""
    return f"{name} {rows.start}-{rows.stop}"


def kept_pieces(part: str, settings: Mapping[str, Any]) -> dict[str, Piece]:
    """Return the pieces that an earlier run of the same settings has done."""
    known = RESULTS / f"{result_name(part)}.json"
    if not is_there(known):
        return {}
    found = read_json(known)
    if any(found.get(name) != settings[name] for name in ("model", "heads", "tokens")):
        return {}
    labels = {
        label_of(name, rows) for name, rows in shares_of(settings["prompts"], settings["share"])
    }
    return {label: piece for label, piece in found["pieces"].items() if label in labels}


def described(
    part: str, settings: Mapping[str, Any], pieces: Mapping[str, Piece]
) -> dict[str, Any]:
    """Return a part's result: the settings of the run, its pieces, and their sums.

    ``done`` is the number of prompts compared so far, ``sets`` holds counts by set and design.
    """
    sets: dict[str, dict[str, Counter[str]]] = {name: {} for name in SETS}
    for piece in pieces.values():
        for design, counts in piece["designs"].items():
            sets[piece["set"]].setdefault(design, Counter()).update(counts)
    prompts = [max(one["runs"] for one in found.values()) for found in sets.values() if found]
    return {
        **settings,
        "done": sum(prompts),
        "revisions": sorted({piece["revision"] for piece in pieces.values()}),
        "sets": {
            name: [
                {"design": design, **{column: counts[column] for column in COLUMNS[part]}}
                for design, counts in designs.items()
            ]
            for name, designs in sets.items()
        },
        "pieces": dict(pieces),
    }


def source_revision() -> str:
    """Return the version of the sources, as git names it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 -- the user's git
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def folder_digest(folder: str) -> str:
    """Return a digest of the files of a folder of heads."""
    paths = sorted(Path(folder).iterdir())
    return sha256_hex(*(path.name.encode() + path.read_bytes() for path in paths))[:16]


def part_table(part: str, sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Return what one part found as a table."""
    rows = [{"set": name, **row} for name, designs in sets.items() for row in designs]
    columns = ("set", "design", *COLUMNS[part])
    table = make_table(part, *columns, words=("set", "design"))
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print the counts and keep them.

    Raises:
        SystemExit: If a text is not the model's own, and no near-tie explains it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument(
        "--heads", default=str(SMOLLM2.heads), help="a folder of heads [those that come with it]"
    )
    parser.add_argument("--prompts", type=int, default=100, help="of all sets [%(default)s]")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens [%(default)s]")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--share", type=int, default=6, help="prompts a piece [%(default)s]")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--again", action="store_true", help="begin these parts from nothing")
    options = parser.parse_args(arguments)
    wrong = 0
    for part in options.parts:
        sets = run_part(part, options)["sets"]
        Console().print(part_table(part, sets))
        rows = [row for designs in sets.values() for row in designs]
        wrong += sum(row.get("unexplained", 0) + row.get("differing", 0) for row in rows)
    if wrong:
        raise SystemExit(f"{wrong} texts or places are not the model's own: see the tables")


if __name__ == "__main__":
    main()
