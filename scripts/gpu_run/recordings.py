"""Stages that record: the demo model, large shapes with scripted decisions, and baselines.

The demo model has its own heads. The large shapes have random weights, and decisions that follow a
profile (``--source``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from adadecode.profiles.atomic_write import write_text
from scripts.gpu_run.estimates import (
    BASELINES,
    DEMO,
    DEMO_BASELINES,
    DRY,
    HEAD_FORMS,
    LARGE,
    PAPER,
    Size,
)
from scripts.gpu_run.state import GpuRun, StageFailure

LLAMA, CODELLAMA = "llama-3.1-8b", "codellama-34b"
FORM_OPTIONS = {"shortlist": ("--shortlist", "16384"), "int8": ("--head-dtype", "int8")}
"""Options of the cheaper heads. A full head of the 8B shape reads as much as 2.4 layers, and a
shortlist of 16384 tokens as much as half a layer."""
DRY_FORM_OPTIONS = {"shortlist": ("--shortlist", "64"), "int8": ("--head-dtype", "int8")}
DRY_DEMO_OPTIONS = ("--domains", "arithmetic", "--walks", "4", *DRY.options)
INTERRUPTED = 130
"""Exit code of ``adadecode-profile`` after Ctrl-C."""


def demo(run: GpuRun) -> dict[str, Any]:
    """Record the demo model with its own heads and decisions."""
    options = ["--placements", "4", *DRY_DEMO_OPTIONS] if run.dry else DEMO.options
    return record(run, "demo", ["--demo", *options])


def paper(run: GpuRun) -> dict[str, Any]:
    """Record Llama-3.1-8B at the paper's rates, placement and gammas, with full heads."""
    return record_shape(run, LLAMA, "llama-8b", PAPER)


def forms(run: GpuRun) -> dict[str, Any]:
    """Record the same with cheaper heads, each form in turn.

    Raises:
        StageFailure: If one of them failed; the others are recorded all the same.
    """
    kinds = DRY_FORM_OPTIONS if run.dry else FORM_OPTIONS
    found = {
        f"llama-8b-{kind}": attempt(
            partial(record_shape, run, LLAMA, f"llama-8b-{kind}", HEAD_FORMS, options)
        )
        for kind, options in kinds.items()
    }
    errors = [f"{name}: {one['error']}" for name, one in found.items() if "error" in one]
    if errors:
        raise StageFailure("; ".join(errors), found)
    return found


def codellama(run: GpuRun) -> dict[str, Any]:
    """Record CodeLlama-34B at the same rates, with the layers that fit."""
    return record_shape(run, CODELLAMA, "codellama-34b", LARGE)


def baselines(run: GpuRun) -> dict[str, Any]:
    """Record ``generate`` in turn with vanilla and the paper's design on the 8B shape.

    ``generate`` is that of ``transformers``, with a dynamic cache, and compiled with a static one.
    """
    options = ["--baselines", "generate" if run.dry else "generate,static"]
    return record_shape(run, LLAMA, "llama-8b-baselines", BASELINES, options)


def demo_baselines(run: GpuRun) -> dict[str, Any]:
    """Record all baselines, those that draft too, in turn with the demo model's designs."""
    options = (
        ["--baselines", "generate,lookup:3", *DRY_DEMO_OPTIONS]
        if run.dry
        else ["--baselines", "all", *DEMO_BASELINES.options]
    )
    return record(run, "demo-baselines", ["--demo", "--placements", "4", *options])


def attempt(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a function returns, or its error under the key ``error``."""
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the others are recorded all the same
        return {"error": f"{type(error).__name__}: {error}"}


def record(run: GpuRun, name: str, options: Sequence[str]) -> dict[str, Any]:
    """Make one recording, or resume it.

    Args:
        run: The settings of this call.
        name: Of the recording's folder.
        options: Of ``adadecode-profile``, for a new recording.

    Returns:
        The profile's name and the table of its designs.

    Raises:
        KeyboardInterrupt: If it was interrupted.
        InputError: If an option was refused.
    """
    from typer import Exit

    from adadecode.engine.cli.profile import app
    from adadecode.engine.profiling.piece_store import SETTINGS
    from adadecode.engine.profiling.summary import summarize
    from adadecode.profiles.store import read_profile

    folder = run.profiles / name
    if not (folder / "manifest.json").exists():
        resumed = (folder / SETTINGS).exists()
        execution = ["--device", run.device, "--graphs", run.graphs]
        print(f"{name}: layers run with --graphs {run.graphs}", flush=True)
        arguments = ["--out", str(folder), *(["--resume"] if resumed else [*options, *execution])]
        try:
            code = app(arguments, standalone_mode=False)
        except Exit as ended:
            code = ended.exit_code
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    designs = json.loads(summarize(read_profile(folder)).to_json(orient="records"))
    return {"profile": name, "designs": designs}


def record_shape(
    run: GpuRun, shape: str, name: str, size: Size, more: Sequence[str] = ()
) -> dict[str, Any]:
    """Record a shape with scripted decisions.

    Where not all of its layers fit, it is cut to the number that the engine says would fit.

    Args:
        run: The settings of this call.
        shape: The model's name in the catalogue.
        name: Of the recording's folder.
        size: How much to record.
        more: Further options of ``adadecode-profile``.
    """
    from adadecode.profiles.errors import InputError

    try:
        return record(run, name, _shape_options(run, shape, size, None, more))
    except InputError as refused:
        fitting = re.search(r"take --layers (\d+)", str(refused))
        if fitting is None:
            raise
        return record(run, name, _shape_options(run, shape, size, int(fitting[1]), more))


def _shape_options(
    run: GpuRun, shape: str, size: Size, n_layers: int | None, more: Sequence[str]
) -> list[str]:
    """Return the options that record a shape, of which ``n_layers`` are kept (None: all)."""
    from adadecode.engine.loading.random_model import sized_shape
    from adadecode.profiles.store import read_profile

    source = read_profile(run.source)
    if run.dry:
        shape, size = tiny_shape_file(run, shape), DRY
        extent = [*size.options, "--domains", source.prompts["domain"].iloc[0]]
    else:
        extent = [*size.options, "--dtype", "bfloat16"]
    layers = sized_shape(shape, n_layers).n_layers
    heads = heads_at_quarters(source.depths, source.n_layers, layers)
    return [
        *("--shape", shape, "--scripted", str(run.source)),
        *("--map", ",".join(f"{source_depth}:{depth}" for source_depth, depth in heads.items())),
        *("--placements", ";".join(placements(list(heads.values()))[: size.placements])),
        *extent,
        *more,
        *(["--layers", str(n_layers)] if n_layers else []),
    ]


def heads_at_quarters(
    depths: Sequence[int], source_layers: int, target_layers: int
) -> dict[int, int]:
    """Return where the heads nearest to the quarters of one stack stand in another.

    The quarters are the paper's placement.

    Args:
        depths: Of the heads in the first stack.
        source_layers: Layers of the first stack.
        target_layers: Layers of the other.

    Returns:
        Depths in the first stack and in the other, where no two heads have the same.
    """
    from adadecode.sim.core.parsing import parse_head_map, scale_head_map

    nearest = {
        min(depths, key=lambda depth: abs(4 * depth - quarter * source_layers))
        for quarter in (1, 2, 3)
    }
    return parse_head_map(scale_head_map(sorted(nearest), source_layers, target_layers))


def placements(heads: Sequence[int]) -> list[str]:
    """Return values of ``--placements``: all heads as in the paper, the middle one, the first two.

    Each head less is a check less.
    """
    chosen = [tuple(heads), tuple(heads[len(heads) // 2 :][:1]), tuple(heads[:2])]
    return [",".join(map(str, depths)) for depths in dict.fromkeys(chosen)]


def tiny_shape_file(run: GpuRun, name: str) -> str:
    """Write a shape of the same kind with few narrow layers, and return its ``--shape``."""
    from adadecode.profiles.catalog.models import find_model

    real = find_model(name)
    sizes = {
        "n_layers": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "n_heads": 4,
        "n_kv_heads": max(1, 4 * real.n_kv_heads // real.n_heads),
        "vocab_size": 256,
        "max_positions": 1024,
    }
    lines = [
        f'["{name}-tiny"]',
        *(f"{key} = {value}" for key, value in sizes.items()),
        f'source = "{name}, made tiny"',
    ]
    path = run.work / "tiny.toml"
    write_text(path, "\n".join(lines) + "\n")
    return f"{path}:{name}-tiny"
