"""Hold SmolLM2's texts on real questions against the model's own, under every design.

Answers to prompts of three public data sets. In FP32, eager and compiled, each text is compared
with greedy ``generate``; a difference counts as explained where the two best logits lie within 1e-4
of each other, relative to the larger. In BF16 with canonical numerics every text is compared with
vanilla's bit by bit: tokens, the logits that they were chosen from, and all keys and values.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, ExitHeads
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.demo import SMOLLM2
from adadecode.engine.evaluation.bitwise import fingerprint
from adadecode.engine.loading.model_loader import load_model
from adadecode.profiles.input_file import is_there, read_json
from adadecode.sim.core.design import Design
from benchmarks.harness import RESULTS, make_table, write_result
from benchmarks.lossless import COLUMNS as OUTCOMES
from benchmarks.lossless import outcome
from benchmarks.real_prompts import SETS, encoded
from tests.support.models import greedy_text

RESULT = "pretrained_lossless"
SHORTLIST = 8192
PARTS = ("eager", "compile", "canonical")
"""FP32 eager and compiled against ``generate``, and BF16 canonical against vanilla."""

COLUMNS = dict.fromkeys(("eager", "compile"), OUTCOMES) | {
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


def shares_of(prompts: int, size: int) -> Iterator[tuple[str, range]]:
    """Yield the prompts of all sets in pieces of ``size``: the name of a set, and which of it."""
    each = [len(range(start, prompts, len(SETS))) for start in range(len(SETS))]
    for name, count in zip(SETS, each, strict=True):
        for start in range(0, count, size):
            yield name, range(start, min(start + size, count))


def run_part(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one part found, by data set and design."""
    jobs = list(shares_of(options.prompts, options.share))
    common = (options.model, options.heads)
    found: dict[str, dict[str, Counter[str]]] = {name: {} for name in SETS}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        work = {
            (
                pool.submit(check_canonical, *common, name, rows, options.tokens)
                if part == "canonical"
                else pool.submit(check_greedy, *common, name, rows, options.tokens, part)
            ): name
            for name, rows in jobs
        }
        for done, job in enumerate(as_completed(work), 1):
            for label, counts in job.result().items():
                known = found[work[job]]
                known[label] = known.get(label, Counter()) + counts
            Console().print(f"{part}: {done} of {len(jobs)} pieces done")
    return {
        name: [
            {"design": label, **{column: counts[column] for column in COLUMNS[part]}}
            for label, counts in designs.items()
        ]
        for name, designs in found.items()
    }


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
    parser.add_argument("--share", type=int, default=9, help="prompts a process [%(default)s]")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args(arguments)
    known = RESULTS / f"{RESULT}.json"
    kept = read_json(known)["parts"] if is_there(known) else {}
    wrong = 0
    for part in options.parts:
        found = run_part(part, options)
        Console().print(part_table(part, found))
        rows = [row for designs in found.values() for row in designs]
        wrong += sum(row.get("unexplained", 0) + row.get("differing", 0) for row in rows)
        kept[part] = {"prompts": options.prompts, "tokens": options.tokens, "sets": found}
        write_result(RESULT, {"model": options.model, "parts": kept})
    if wrong:
        raise SystemExit(f"{wrong} texts or places are not the model's own: see the tables")


if __name__ == "__main__":
    main()
