"""Stages that record: the demo model with its own heads, large shapes with random weights and scripted decisions, and baselines beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from scripts.gpu_run.estimates import BESIDE, DEMO, DEMO_BESIDE, DRY, FORMS, LARGE, PAPER, Size
from scripts.gpu_run.state import GpuRun, StageFailure

LLAMA, CODELLAMA = "llama-3.1-8b", "codellama-34b"

HEAD_FORMS = {"shortlist": ("--shortlist", "16384"), "int8": ("--head-dtype", "int8")}
"""Cheaper heads: a full one of the 8B shape reads as much as 2.4 layers, a shortlist of 16384 tokens half a layer."""
DRY_FORMS = {"shortlist": ("--shortlist", "64"), "int8": ("--head-dtype", "int8")}


def demo(visit: GpuRun) -> dict[str, Any]:
    """The demo model, with its own heads and decisions."""
    dry = ["--domains", "arithmetic", "--walks", "4", "--placements", "4"]
    return record(visit, "demo", ["--demo", *(dry + DRY.options if visit.dry else DEMO.options)])


def paper(visit: GpuRun) -> dict[str, Any]:
    """Llama-3.1-8B at the paper's rates, placement and gammas, with full heads; and with the middle one alone."""
    return record_shape(visit, LLAMA, "llama-8b", PAPER)


def forms(visit: GpuRun) -> dict[str, Any]:
    """The same with cheaper heads: what a full one costs decides."""
    kinds = DRY_FORMS if visit.dry else HEAD_FORMS
    return all_of(
        {
            name: _form(visit, name, options)
            for name, options in ((f"llama-8b-{kind}", each) for kind, each in kinds.items())
        }
    )


def codellama(visit: GpuRun) -> dict[str, Any]:
    """CodeLlama-34B at the same rates; as many of its layers as fit."""
    return record_shape(visit, CODELLAMA, "codellama-34b", LARGE)


def baselines(visit: GpuRun) -> dict[str, Any]:
    """``transformers`` generate, dynamic and over a static cache compiled, beside vanilla and the paper's design on the 8B shape."""
    beside = ["--baselines", "generate" if visit.dry else "generate,static"]
    return record_shape(visit, LLAMA, "llama-8b-baselines", BESIDE, beside)


def demo_baselines(visit: GpuRun) -> dict[str, Any]:
    """All baselines, those that draft too, beside vanilla and AdaDecode on the demo model."""
    dry = [
        "--domains",
        "arithmetic",
        "--walks",
        "4",
        "--baselines",
        "generate,lookup:3",
        *DRY.options,
    ]
    full = ["--baselines", "all", *DEMO_BESIDE.options]
    return record(
        visit, "demo-baselines", ["--demo", "--placements", "4", *(dry if visit.dry else full)]
    )


def _form(visit: GpuRun, name: str, options: Sequence[str]) -> Callable[[], dict[str, Any]]:
    return lambda: record_shape(visit, LLAMA, name, FORMS, options)


def all_of(parts: dict[str, Callable[[], dict[str, Any]]]) -> dict[str, Any]:
    """What each of them returns, by name. Raises StageFailure where one failed."""
    told = {name: attempt(do) for name, do in parts.items()}
    if failed := [f"{name}: {one['error']}" for name, one in told.items() if "error" in one]:
        raise StageFailure("; ".join(failed), told)
    return told


def attempt(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it returns, or what went wrong."""
    try:
        return do()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}


def record(visit: GpuRun, name: str, options: Sequence[str]) -> dict[str, Any]:
    """One recording, begun or gone on with. Raises KeyboardInterrupt where it was interrupted, InputError where it was refused."""
    from typer import Exit

    from adadecode.engine.cli.profile import app
    from adadecode.engine.profiling.piece_store import SETTINGS

    folder = visit.profiles / name
    if not (folder / "manifest.json").exists():
        begun = (folder / SETTINGS).exists()
        where = ["--device", visit.device, "--graphs", visit.graphs]
        print(f"{name}: layers run with --graphs {visit.graphs}", flush=True)
        try:
            code = app(
                ["--out", str(folder), *(["--resume"] if begun else [*options, *where])],
                standalone_mode=False,
            )
        except Exit as ended:
            code = ended.exit_code
        if code == 130:
            raise KeyboardInterrupt
    from adadecode.engine.profiling.summary import summarize
    from adadecode.profiles.store import read_profile

    return {
        "profile": name,
        "designs": json.loads(summarize(read_profile(folder)).to_json(orient="records")),
    }


def record_shape(
    visit: GpuRun, shape: str, name: str, size: Size, more: Sequence[str] = ()
) -> dict[str, Any]:
    """A recording of a shape with scripted decisions, cut to the layers that the engine says would fit where not all do."""
    from adadecode.engine.loading.random_model import sized_shape
    from adadecode.profiles.errors import InputError
    from adadecode.profiles.store import read_profile

    source = read_profile(visit.source)
    wanted = tiny_file(visit, shape) if visit.dry else shape
    sized = (
        [*DRY.options, "--domains", source.prompts["domain"].iloc[0]]
        if visit.dry
        else [*size.options, "--dtype", "bfloat16"]
    )
    layers: int | None = None
    while True:
        heads = quarters(source.depths, source.n_layers, sized_shape(wanted, layers).n_layers)
        mapping = ",".join(f"{depth}:{place}" for depth, place in heads.items())
        stand = [
            "--map",
            mapping,
            "--placements",
            ";".join(
                placements(list(heads.values()))[: DRY.placements if visit.dry else size.placements]
            ),
        ]
        options = ["--shape", wanted, "--scripted", str(visit.source), *stand, *sized, *more]
        try:
            return record(visit, name, [*options, *(["--layers", str(layers)] if layers else [])])
        except InputError as refused:
            fits = re.search(r"take --layers (\d+)", str(refused))
            if fits is None or layers is not None:
                raise
            layers = int(fits[1])


def quarters(depths: Sequence[int], had: int, has: int) -> dict[int, int]:
    """The heads nearest to the quarters of a stack of ``had`` layers, the paper's placement, and where they stand in one of ``has``, each in a place of its own."""
    from adadecode.sim.core.parsing import parse_head_map, scale_head_map

    return parse_head_map(
        scale_head_map(
            sorted({min(depths, key=lambda depth: abs(4 * depth - k * had)) for k in (1, 2, 3)}),
            had,
            has,
        )
    )


def placements(heads: Sequence[int]) -> list[str]:
    """All heads, as in the paper; the middle one alone; all without the deepest: each head less is a check less. As --placements takes them."""
    chosen = [tuple(heads), tuple(heads[len(heads) // 2 :][:1]), tuple(heads[:2])]
    return [",".join(map(str, depths)) for depths in dict.fromkeys(chosen)]


def tiny_file(visit: GpuRun, name: str) -> str:
    """A shape of the same make with a few narrow layers, as a file that --shape reads."""
    from adadecode.profiles.catalog.models import find_model

    real = find_model(name)
    sizes = {
        "n_layers": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "n_heads": 4,
        "n_kv_heads": max(1, 4 * real.n_kv_heads // real.n_heads),
    }
    lines = [
        f'["{name}-tiny"]',
        *(
            f"{key} = {value}"
            for key, value in {**sizes, "vocab_size": 256, "max_positions": 1024}.items()
        ),
    ]
    path = visit.work / "tiny.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, f'source = "{name}, made tiny"']) + "\n")
    return f"{path}:{name}-tiny"
