"""``adadecode-profile``: record what AdaDecode does with a model, on this machine, on these prompts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
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

from adadecode.engine.baselines.factory import chosen_baselines
from adadecode.engine.decoding.decoder import AdaDecoder, check_vocabulary
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.demo import MODEL, PROMPTS
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.model_loader import enough_memory, load_model, load_tokenizer
from adadecode.engine.loading.prompts import Prompt, encode, read_prompts
from adadecode.engine.profiling.execution_options import (
    AUTO,
    check_model,
    check_shared_heads,
    exits_of,
    graphs_of,
    room_for,
    smaller_settings,
)
from adadecode.engine.profiling.form_options import formed
from adadecode.engine.profiling.options import (
    check_plain,
    gammas_of,
    integers,
    placements_of,
    sampling_of,
)
from adadecode.engine.profiling.piece_store import Parts
from adadecode.engine.profiling.recorder import Plan, Recorder, check_lengths, finished
from adadecode.engine.profiling.scripted_options import check_scripted, load_scripted
from adadecode.engine.profiling.scripted_recorder import ScriptedRecorder
from adadecode.engine.profiling.summary import baseline_tables, summary_table
from adadecode.engine.runtime import fingerprints
from adadecode.engine.runtime.distributed import command, decided, is_first, join, leave, processes
from adadecode.engine.runtime.environment import set_threads, torch_device
from adadecode.profiles.errors import InputError
from adadecode.sim.cli.options import path_of
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.measurements.head_coverage import coverage_tables
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


def load(chosen: dict[str, Any], console: Console) -> tuple[AdaDecoder, Any, list[Prompt]]:
    """The model with its heads, its tokenizer, and the prompts that the options name. Raises InputError."""
    if not (chosen["demo"] or chosen["model"]):
        raise InputError(
            "name a model with --model (and its --heads and --prompts), or use the bundled one with --demo"
        )
    if chosen["model"] and not chosen["heads"]:
        raise InputError(
            "wanted the model's exit heads: --heads FOLDER from adadecode-train, or --heads identity:4,8 for its own LM head at those depths"
        )
    if chosen["model"] and not chosen["prompts"]:
        raise InputError("wanted prompts to run: --prompts FILE, JSONL or one a line")
    device, name, remote = (
        torch_device(chosen["device"]),
        str(chosen["model"] or MODEL),
        bool(chosen["trust_remote_code"]),
    )
    prompts = read_prompts(chosen["prompts"] or PROMPTS)
    console.print("loading the model")
    tokenizer = load_tokenizer(name, trust_remote_code=remote)
    longest = max(
        encode(tokenizer, prompt).shape[1]
        for prompt in choose_prompts(prompts, chosen["domains"], chosen["limit"])
    )
    reached = max(
        longest + int(chosen["max_new_tokens"]),
        *(integers(chosen["contexts"], "--contexts") if chosen["contexts"] else ()),
        1,
    )
    model, _ = load_model(
        name,
        chosen["dtype"],
        str(device),
        trust_remote_code=remote,
        weights=chosen["weights"],
        device_map=chosen["device_map"],
        positions=room_for(chosen["graphs"], reached),
        exits=exits_of(str(chosen["heads"] or MODEL), chosen),
        tokenizer=tokenizer,
    )
    heads = read_heads(chosen["heads"] or str(MODEL), model)
    with enough_memory(
        "use a device with more memory (--device), a 16-bit --dtype, or --graphs eager"
    ):
        return (
            AdaDecoder(model, heads, graphs=chosen["graphs"], numerics=chosen["numerics"]),
            tokenizer,
            prompts,
        )


def read_heads(name: str, model: Any) -> ExitHeads:
    """Heads from a folder, or ``identity:4,8``. Raises HeadsError, InputError."""
    if name.startswith("identity:"):
        return ExitHeads.identity(
            model, integers(name.removeprefix("identity:"), "--heads identity")
        )
    return ExitHeads.load(name, model)


def make_plan(
    decoder: AdaDecoder,
    tokenizer: Any,
    available: Sequence[Prompt],
    chosen: dict[str, Any],
    script: Script | None = None,
) -> Plan:
    """Everything that the options leave open, decided. script: whose prompts these are, already chosen. Raises InputError."""
    if script is None:
        prompts = choose_prompts(available, chosen["domains"], chosen["limit"])
        encoded = tuple(tuple(encode(tokenizer, prompt)[0].tolist()) for prompt in prompts)
    else:
        prompts, encoded = (
            list(available),
            script.encoded(decoder.parts.n_embeddings, int(chosen["seed"])),
        )
    check_lengths(encoded, chosen["max_new_tokens"], decoder.parts.model)
    for prompt, ids in zip(prompts, encoded, strict=True):
        check_vocabulary(ids, decoder.parts, f"of the prompt {prompt.text[:40]!r}")
    designs = make_designs(decoder, chosen)
    n_layers = decoder.parts.n_layers
    max_tokens = (
        int(chosen["cap"]) + 1 if chosen["max_tokens"] is None else int(chosen["max_tokens"])
    )
    lengths = sorted(map(len, encoded))
    low, high = lengths[0] + 1, lengths[-1] + int(chosen["max_new_tokens"])
    contexts = (
        integers(chosen["contexts"], "--contexts")
        if chosen["contexts"]
        else (low, (low + high) // 2, high)
    )
    if contexts[0] > low or contexts[-1] < high:
        raise InputError(
            f"the runs reach positions {low} to {high}, got --contexts {','.join(map(str, contexts))}: widen them"
        )
    depths = decoder.heads.depths
    walks = (
        integers(chosen["walks"], "--walks")
        if chosen["walks"]
        else depths[:: max(1, -(-len(depths) // 7))]
    )
    if deep := [d for d in walks if d > n_layers]:
        raise InputError(f"wanted --walks at depths 1..{n_layers} of this model, got {deep[0]}")
    used = {d for design in designs for d in design.placement}
    return Plan(
        prompts=tuple(prompts),
        encoded=encoded,
        designs=designs,
        contexts=tuple(sorted(set(contexts))),
        walks=tuple(sorted({*walks} | used | {n_layers})),
        max_tokens=max_tokens,
        max_new_tokens=int(chosen["max_new_tokens"]),
        repeats=int(chosen["repeats"]),
        samples=int(chosen["samples"]),
        floor=float(chosen["branch_floor"]),
        seed=int(chosen["seed"]),
        sampling=sampling_of(chosen),
        settings={
            **chosen,
            "designs": [d.label for d in designs],
            "n_prompts": len(prompts),
            "prompts_digest": fingerprints.of_json(
                [(ids, prompt.max_new_tokens) for ids, prompt in zip(encoded, prompts, strict=True)]
            ),
            "weights_digest": fingerprints.of_weights(decoder.parts.model),
            "heads_digest": decoder.heads.digest(),
            **({} if processes() == 1 else {"processes": processes()}),
            **({} if script is None else {"script_digest": fingerprints.of_json(script.about())}),
        },
    )


def choose_prompts(
    available: Sequence[Prompt], domains: str | None, limit: int | None
) -> list[Prompt]:
    """The prompts of the wanted domains, at most ``limit`` of each. Raises InputError."""
    known = sorted({p.domain for p in available})
    wanted = known if domains is None else [d.strip() for d in domains.split(",")]
    unknown = [d for d in wanted if d not in known]
    if unknown:
        raise InputError(f"no prompts of domain {', '.join(unknown)}: there are {', '.join(known)}")
    return [
        p for d in wanted for p in itertools.islice((p for p in available if p.domain == d), limit)
    ]


def make_designs(decoder: AdaDecoder, chosen: dict[str, Any]) -> tuple[Design, ...]:
    """Vanilla, adadecode at every placement and gamma, and fixed at every single head. Raises DesignError, HeadsError."""
    depths, n_layers, cap = decoder.heads.depths, decoder.parts.n_layers, int(chosen["cap"])
    placements = placements_of(chosen)
    if not placements:
        quarters = (
            [min(depths, key=lambda d: abs(d - n_layers * k / 4)) for k in (1, 2, 3)]
            if depths
            else []
        )
        placements = [tuple(sorted(set(quarters[:k]))) for k in (1, 2, 3) if depths]
    gammas = gammas_of(chosen)
    designs = [Design.of(Policy.VANILLA)]
    for placement in placements:
        decoder.heads.require(placement)
        designs += [
            Design.of(Policy.ADADECODE, gamma=g, placement=placement, cap=cap) for g in gammas
        ]
        if len(placement) == 1 and int(chosen["fixed_drafts"]):
            designs.append(
                Design.of(
                    Policy.FIXED, placement=placement, cap=min(cap, int(chosen["fixed_drafts"]))
                )
            )
    for design in designs:
        design.boundaries(n_layers)
    return tuple(dict.fromkeys(designs))
