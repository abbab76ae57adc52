"""``adadecode-flips``: how often another batch changes a token of this model, in this dtype, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from adadecode.engine.cli.tables import tables
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo import MODEL, PROMPTS
from adadecode.engine.evaluation.token_flips import check_batches, flip_report
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.loading.prompts import encode, read_prompts
from adadecode.engine.loading.quantization import check_weights
from adadecode.engine.profiling.execution_options import check_running
from adadecode.engine.profiling.options import check_designs, named_once
from adadecode.engine.profiling.plan import choose_prompts, make_designs
from adadecode.engine.profiling.setup import read_heads
from adadecode.engine.runtime.environment import set_threads
from adadecode.profiles.errors import InputError
from adadecode.sim.cli.options import path_of
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.parsing import rising_integers

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def flips(
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="the bundled demo model, its heads and prompts")
    ] = False,
    model: Annotated[str | None, typer.Option(help="a causal LM: folder or hub name")] = None,
    heads: Annotated[
        str | None,
        typer.Option(help="its exit heads: a folder, or identity:DEPTHS for its own LM head"),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="prompts: JSONL, or plain text, one a line")
    ] = None,
    domains: Annotated[
        str | None, typer.Option(help="only the prompts of these domains (comma list)")
    ] = None,
    limit: Annotated[int, typer.Option(help="at most this many prompts of each domain")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="bfloat16, float16, float32, float64 or auto")
    ] = "bfloat16",
    weights: Annotated[
        str | None,
        typer.Option(help="int8 or int4: the layers' weights, by torchao or bitsandbytes"),
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of the model")] = 1,
    numerics: Annotated[str, typer.Option(help="native or canonical")] = "native",
    graphs: Annotated[
        str, typer.Option(help="how segments are run: eager, static, compile, cuda or cuda+compile")
    ] = "eager",
    gammas: Annotated[str, typer.Option(help="confidence thresholds (comma list)")] = "0.3,0.75",
    placements: Annotated[
        str | None,
        typer.Option(help="head placements: 4;8;4,8 [three, from a quarter of the depth]"),
    ] = None,
    cap: Annotated[int, typer.Option(help="most drafts in a round")] = DEFAULT_CAP,
    fixed_drafts: Annotated[
        int,
        typer.Option(help="drafts a round of the policy fixed, at each single head; 0 for none"),
    ] = 3,
    batches: Annotated[
        str,
        typer.Option(
            help="rows of the passes in which vanilla's texts are teacher-forced besides (comma list)"
        ),
    ] = "2,4,6",
    max_new_tokens: Annotated[int, typer.Option(help="tokens to generate for each prompt")] = 96,
    out: Annotated[
        Path | None,
        typer.Option(parser=path_of, metavar="PATH", help="write the report as JSON here"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="run code that comes with the model")
    ] = False,
) -> None:
    """Decode with every design, and hold each text against the model, one token at a time. Exit code 1 where a flip is no near-tie."""
    _check_named(demo=demo, model=model, heads=heads, prompts=prompts)
    for option, number in (("--limit", limit), ("--max-new-tokens", max_new_tokens)):
        if number < 1:
            raise InputError(f"wanted {option} of at least 1, got {number}")
    sizes = rising_integers("--batches", batches) if batches else ()
    check_batches(sizes)
    drafting = {
        "placements": placements,
        "gammas": gammas,
        "cap": cap,
        "fixed_drafts": fixed_drafts,
    }
    check_designs(drafting)
    check_weights(weights)
    check_running(numerics, graphs, device)
    _check_out(out)
    set_threads(threads)
    lm, tokenizer = load_model(
        MODEL if demo else str(model),
        dtype,
        device,
        trust_remote_code=trust_remote_code,
        weights=weights,
    )
    decoder = AdaDecoder(lm, read_heads(heads or str(MODEL), lm), numerics=numerics, graphs=graphs)
    chosen = choose_prompts(read_prompts(PROMPTS if prompts is None else prompts), domains, limit)
    ids = [encode(tokenizer, prompt)[0].tolist() for prompt in chosen]
    designs = make_designs(decoder, drafting)
    with Progress(console=Console(stderr=True)) as bar:
        told: dict[str, Any] = {}

        def progress(design: str, done: int, count: int) -> None:
            if design not in told:
                told[design] = bar.add_task(design, total=count)
            bar.update(told[design], completed=done)

        report = flip_report(decoder, ids, designs[1:], max_new_tokens, sizes, progress)
    report |= {"weights": weights, "graphs": graphs, "device": str(decoder.parts.device)}
    if out is not None:
        _write(out, report)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        Console().print(*tables(report))
    if any(row["beyond"] for row in [*report["designs"], *report["batches"]]):
        raise typer.Exit(1)


def _check_named(*, demo: bool, model: str | None, heads: str | None, prompts: str | None) -> None:
    named_once(demo=demo, model=model)
    if not (demo or model):
        raise InputError(
            "name a model with --model (and its --heads and --prompts), or use the bundled one with --demo"
        )
    if not demo and not (heads and prompts):
        raise InputError(
            "wanted the model's heads and prompts: --heads FOLDER or --heads identity:4,8, and --prompts FILE"
        )


def _check_out(out: Path | None) -> None:
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise InputError(
            f"the report cannot be written to {out}: name a file in a folder that exists"
        )


def _write(out: Path, report: dict[str, Any]) -> None:
    try:
        out.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {out} ({error.strerror}): name a file in a folder that exists"
        ) from error
