"""``adadecode-profile``: record what AdaDecode does with a model, on this machine, on these prompts."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from adadecode.engine.cli.tables import baseline_tables, summary_table
from adadecode.engine.loading.model_loader import enough_memory
from adadecode.engine.profiling.execution_options import (
    AUTO,
    check_model,
    check_shared_heads,
    graphs_of,
    smaller_settings,
)
from adadecode.engine.profiling.options import (
    check_plain,
    check_scripted,
)
from adadecode.engine.profiling.piece_store import Parts
from adadecode.engine.profiling.plan import choose_prompts, make_plan
from adadecode.engine.profiling.recorder import Recorder, finished
from adadecode.engine.profiling.scripted_recorder import ScriptedRecorder
from adadecode.engine.profiling.setup import chosen_baselines, formed, load, load_scripted
from adadecode.engine.runtime.distributed import command, decided, is_first, join, leave
from adadecode.engine.runtime.environment import set_threads
from adadecode.sim.cli.options import path_of
from adadecode.sim.cli.tables import coverage_tables
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.measurements.telemetry import conditions_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

DEFAULTS: dict[str, Any] = {
    "demo": False,
    "model": None,
    "shape": None,
    "layers": None,
    "scripted": None,
    "mapping": None,
    "heads": None,
    "shortlist": None,
    "head_dtype": None,
    "shortlist_from": None,
    "prompts": None,
    "domains": None,
    "limit": None,
    "device": "auto",
    "device_map": None,
    "dtype": "float32",
    "weights": None,
    "threads": 1,
    "graphs": AUTO,
    "numerics": "native",
    "gammas": "0.5,0.75,0.9",
    "placements": None,
    "cap": DEFAULT_CAP,
    "fixed_drafts": 3,
    "contexts": None,
    "walks": None,
    "max_tokens": None,
    "max_new_tokens": 128,
    "repeats": 3,
    "samples": 1,
    "branch_floor": 0.3,
    "seed": 0,
    "temperature": None,
    "top_k": None,
    "top_p": None,
    "sample_seed": None,
    "baselines": None,
    "draft_model": None,
    "trust_remote_code": False,
}


@app.command()
def profile(
    out: Annotated[
        Path, typer.Option(parser=path_of, metavar="DIRECTORY", help="directory to record into")
    ],
    demo: Annotated[
        bool | None, typer.Option("--demo", help="the bundled demo model, its heads and prompts")
    ] = None,
    model: Annotated[str | None, typer.Option(help="a causal LM: folder or hub name")] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="a model of this shape with random weights: llama-3.1-8b, codellama-34b ... or a config.json; needs --scripted"
        ),
    ] = None,
    layers: Annotated[int | None, typer.Option(help="only so many layers of the --shape")] = None,
    scripted: Annotated[
        str | None,
        typer.Option(
            help="take exits, accepts and tokens from this profile; all work is done for real, for its time"
        ),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--map", help="where heads of the --scripted profile stand in this model: 3:6,7:14"
        ),
    ] = None,
    heads: Annotated[
        str | None,
        typer.Option(
            help="its exit heads: a folder from adadecode-train, or identity:DEPTHS for its own LM head"
        ),
    ] = None,
    shortlist: Annotated[
        int | None,
        typer.Option(
            help="heads give logits of this many frequent tokens alone; 0 for all [as the heads were saved]"
        ),
    ] = None,
    head_dtype: Annotated[
        str | None,
        typer.Option(
            help="int8: heads read T and the LM head in it; own: in the model's format [as the heads were saved]"
        ),
    ] = None,
    shortlist_from: Annotated[
        str | None,
        typer.Option(
            help="where tokens are counted: a profile (its outputs), or a file of texts [the heads' training text]"
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(help="prompts: JSONL with prompt (and domain), or plain text, one a line"),
    ] = None,
    domains: Annotated[
        str | None, typer.Option(help="only the prompts of these domains (comma list)")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="at most this many prompts of each domain")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda [auto]")] = None,
    device_map: Annotated[
        str | None,
        typer.Option(
            help="spread the --model over several GPUs: auto, balanced, sequential ... or a JSON file of modules and devices [one device]"
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16, float16, float64, or auto: the checkpoint's own on a GPU [float32]"
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="int8 or int4: the layers' matrices, packed by torchao or bitsandbytes [as --dtype]"
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the model [1]")] = None,
    graphs: Annotated[
        str | None,
        typer.Option(
            help="how layers are run: eager, static, compile, cuda or cuda+compile (CUDA graphs); auto: cuda on one GPU, else eager [auto]"
        ),
    ] = None,
    numerics: Annotated[
        str | None,
        typer.Option(
            help="native, or canonical: every design agrees bit for bit in any dtype, at a cost, if greedy (samples are drawn differently by each); runs eagerly [native]"
        ),
    ] = None,
    gammas: Annotated[
        str | None, typer.Option(help="confidence thresholds to run (comma list) [0.5,0.75,0.9]")
    ] = None,
    placements: Annotated[
        str | None,
        typer.Option(help="head placements to run: 4;8;4,8 [three, from a quarter of the depth]"),
    ] = None,
    cap: Annotated[int | None, typer.Option(help="most drafts in a round [5]")] = None,
    fixed_drafts: Annotated[
        int | None,
        typer.Option(
            help="drafts a round of the policy fixed, run at each single head; 0 for none [3]"
        ),
    ] = None,
    contexts: Annotated[
        str | None,
        typer.Option(
            help="positions at which latencies are measured (comma list) [covering all runs]"
        ),
    ] = None,
    walks: Annotated[
        str | None, typer.Option(help="depths of the timed walks (comma list) [up to eight]")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="largest batch timed [cap + 1]")] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            help="tokens to generate for each prompt, unless its own max_new_tokens is less [128]"
        ),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="timed runs of each design on each prompt [3]")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="laps of each timed walk a visit [1]")] = None,
    branch_floor: Annotated[
        float | None,
        typer.Option(help="record wrong branches at least this likely to be drafted [0.3]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of the order of runs [0]")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="sample texts at this temperature; 0 is greedy [0]")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="sample from the so many most likely tokens alone [all]")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="sample from the most likely tokens of this total probability alone [1]"),
    ] = None,
    sample_seed: Annotated[int | None, typer.Option(help="of the sampled texts [0]")] = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            help="run these beside the designs: all, or of generate,static,lookup:10,early-exit:DEPTH,draft (comma list) [none]"
        ),
    ] = None,
    draft_model: Annotated[
        str | None, typer.Option(help="the second model of the baseline draft: folder or hub name")
    ] = None,
    trust_remote_code: Annotated[
        bool | None, typer.Option("--trust-remote-code", help="run code that comes with the model")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="finish the recording begun in --out")
    ] = False,
) -> None:
    """Record a profile: per-layer latencies in place, exit and accept traces, and measured runs.

    Several GPUs: --device-map in one process; or a process for each, which share the model by its own tp_plan (tensor parallel):
    torchrun --nproc-per-node N --no-python adadecode-profile ...
    """
    options = locals()
    given = {k: options[k] for k in DEFAULTS if options[k] is not None}
    join(str(given.get("device", DEFAULTS["device"])))
    console = Console(stderr=True, quiet=not is_first())
    if resume and decided(Parts(out).killed_at_the_end):
        console.print(
            f"the recording in {out} was whole; only what it no longer needs was left, and is removed now"
        )
        return
    begun = decided(lambda: Parts.settings(out)) if resume else {}
    chosen = settled(given, begun, console)
    if resume:
        Parts(out).check_same(begun, {**begun, **{name: chosen[name] for name in given}})
    else:
        decided(Parts(out).check_new)
    set_threads(int(chosen["threads"]))
    check_scripted(chosen)
    check_model(chosen)
    check_plain(chosen)
    if chosen["scripted"] is None:
        decoder, tokenizer, available = load(chosen, console)
        check_shared_heads(decoder.heads)
        recorded = choose_prompts(available, chosen["domains"], chosen["limit"])
        decoder.heads = formed(
            decoder.heads, decoder.parts.model, tokenizer, recorded, chosen, console
        )
        check_shared_heads(decoder.heads)
        plan = make_plan(decoder, tokenizer, available, chosen)
        beside = chosen_baselines(chosen, decoder, plan, tokenizer)
        begin: Callable[..., Recorder] = partial(Recorder, decoder, plan, baselines=beside)
    else:
        decoder, script, shaped = load_scripted(chosen, console)
        decoder.heads = formed(
            decoder.heads, decoder.parts.model, None, script.prompts, chosen, console
        )
        plan = make_plan(decoder, None, script.prompts, chosen, script)
        beside = chosen_baselines(chosen, decoder, plan, None)
        begin = partial(
            ScriptedRecorder, decoder, plan, script=script, shape=shaped, baselines=beside
        )
    recorder = begin(parts=Parts.open(out, plan.settings, resume=resume))
    also = f" and {len(beside)} baselines" if beside else ""
    console.print(
        f"recording {len(plan.designs)} designs{also} on {len(plan.prompts)} prompts, {plan.repeats} times, into {out}"
    )
    started = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    try:
        with enough_memory(partial(advice, chosen)), Progress(*columns, console=console) as bar:
            task = bar.add_task("recording", total=None)
            done = finished(recorder, lambda n, count: bar.update(task, completed=n, total=count))
    except KeyboardInterrupt:
        console.print(
            f"stopped; what was finished is kept. Go on with: {command('adadecode-profile')} --out {out} --resume",
            soft_wrap=True,
        )
        raise typer.Exit(130) from None
    leave()
    told = Console(quiet=console.quiet)
    told.print(summary_table(done), *coverage_tables(done), *baseline_tables(done))
    told.print(*conditions_of(done), sep="\n", highlight=False, soft_wrap=True)
    told.print(
        f"{out} recorded in {time.monotonic() - started:.0f} s. Next: adadecode-sim validate {out}"
    )


def settled(given: dict[str, Any], begun: dict[str, Any], console: Console) -> dict[str, Any]:
    """All options: as given, else as the recording was begun with, else the defaults; ``auto`` of --graphs resolved. Raises InputError."""
    chosen = {k: begun.get(k, v) for k, v in DEFAULTS.items()} | given
    if chosen["graphs"] == AUTO:
        chosen["graphs"] = begun.get("graphs", AUTO)
    if chosen["graphs"] == AUTO:
        chosen["graphs"], why = graphs_of(chosen)
        console.print(f"layers are run with --graphs {chosen['graphs']}: {why}")
    return chosen


def advice(chosen: dict[str, Any]) -> str:
    """What to do where memory runs out while recording."""
    return f"what was finished is kept; free memory and go on with --resume, or record anew with {smaller_settings(chosen)}"
