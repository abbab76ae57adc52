"""One visit to a machine with a GPU: everything that this project wants to know of one, in named stages that can be cut short and gone on with.

    python scripts/gpu_visit.py --work WORK --out OUT [--stage setup,device,...] [--minutes 9.5] [--wheels FOLDER] [--dry-run]

Every stage is a process of its own: what fails is written down and stops nothing else, and what runs out of minutes is interrupted and goes on in the next
call with the same --work (or with --restore, from the files of an earlier OUT). ``pack`` puts it all into at most 8 zip files of at most 16 MB.
--dry-run does the same on a CPU with tiny shapes and short texts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

NEEDED = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "typer",
    "psutil",
)
"""What records. ``scipy``, ``numba`` and ``simpy`` are for validating, which can be done at home."""
VALIDATING = ("scipy", "numba", "simpy")

VOLUMES, VOLUME_BYTES = 8, 15_500_000
"""Files that may come back, and bytes in each, a little under the 16 MB allowed."""
PACKING_S = 20.0
"""Kept of the minutes for packing."""
GRACE_S = 25.0
"""From an interrupt to the end: a recording finishes the piece it is at."""

SHAPES = {"llama-8b": "llama-3.1-8b", "codellama-34b": "codellama-34b"}
"""Stages that record a shape with scripted decisions, and which."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What every stage is told. seconds: it has. source: the profile whose decisions the shapes follow."""

    work: Path
    out: Path
    source: Path
    device: str
    dry: bool
    wheels: Path | None
    seconds: float

    @property
    def profiles(self) -> Path:
        """Where recordings lie."""
        return self.work / "profiles"

    @property
    def graphs(self) -> str:
        """How the engine runs layers: compiled and captured, or on a CPU by the same code without either. It falls back by itself, with a message."""
        return "cuda+compile" if self.device == "cuda" else "static"

    @property
    def site(self) -> Path:
        """Where wheels are installed."""
        return self.work / "site"


class Found(RuntimeError):
    """What a stage found is not as it should be. told: all that it found."""

    def __init__(self, what: str, told: dict[str, Any]) -> None:
        super().__init__(what)
        self.told = told


# -- stages: each returns what is to be told of it, or raises ------------------------------------------------------------------


def setup(visit: Visit) -> dict[str, Any]:
    """Install what is missing from the wheels that were brought; say what is there."""
    absent = [name for name in (*NEEDED, *VALIDATING) if importlib.util.find_spec(name) is None]
    wheels = sorted(visit.wheels.glob("*.whl")) if visit.wheels else []
    brought = [wheel for wheel in wheels if wheel.name.split("-")[0].lower().replace(".", "_") in absent]
    if brought:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(visit.site), *map(str, brought)]
        subprocess.run(command, check=True)  # noqa: S603 - wheels that the user names
        importlib.invalidate_caches()
        sys.path.insert(0, str(visit.site))
    absent = [name for name in (*NEEDED, *VALIDATING) if importlib.util.find_spec(name) is None]
    if lacking := [name for name in absent if name in NEEDED]:
        raise ModuleNotFoundError(f"{', '.join(lacking)} are missing, and not among the wheels in {visit.wheels}")
    from engine.machine import describe_machine, describe_software, torch_device

    about = {"machine": describe_machine(torch_device(visit.device)), "software": describe_software(), "python": sys.version.split()[0]}
    return {**about, "installed": [wheel.name for wheel in brought], "missing": absent}


def device(visit: Visit) -> dict[str, Any]:
    """What the device sustains: bandwidth and matmuls; an entry for the catalogue."""
    import torch

    from engine.device_bench import MATRIX_SIZES, array_size, bandwidth_benches, find_place, matmul_benches, measure, usual_dtypes
    from engine.device_entry import Given, entry, write_entry

    place = find_place(visit.device)
    benches = bandwidth_benches(place, array_size(place, 4 * 2**20 if visit.dry else None))
    left_out = {}
    for dtype in ("fp32",) if visit.dry else usual_dtypes(place):
        try:
            benches += matmul_benches(place, dtype, (256,) if visit.dry else MATRIX_SIZES[place.device.type])
        except RuntimeError as error:  # torch has no such matmul there, which is an answer
            left_out[dtype] = str(error).splitlines()[0][:200]
    measure(place, benches, 2 if visit.dry else 7)
    path = visit.work / "device.toml"
    path.unlink(missing_ok=True)
    write_entry(entry("visited", place, benches, Given()), "visited", path)
    rates = [{"name": b.name, "size": b.size, "unit": f"{b.unit}/s", "median": b.median, "spread": b.spread} for b in benches]
    return {"title": place.title, "threads": torch.get_num_threads(), "rates": rates, "left_out": left_out}


def lossless(visit: Visit) -> dict[str, Any]:
    """The demo model's own greedy text against every design: FP32, then BF16, each difference with its gap.

    Raises Found where FP32 differs at all, or a token lies further below the model's own than rounding explains.
    """
    import torch

    from engine.decode import AdaDecoder
    from engine.demo import load_demo
    from engine.flips import flip_report
    from engine.prompts import encode
    from sim.design import Design

    tokens, per_domain = (6, 1) if visit.dry else (96, 4)
    told: dict[str, Any] = {}
    wrong = []
    for dtype in ("float32", "bfloat16"):
        demo = load_demo(dtype=dtype, device=visit.device)
        chosen = [prompt for domain in demo.prompts for prompt in demo.of(domain)[:per_domain]][: 2 if visit.dry else None]
        ids = [encode(demo.tokenizer, prompt) for prompt in chosen]
        decoder = AdaDecoder(demo.model, demo.heads, graphs=visit.graphs)
        designs = [Design.of("adadecode", gamma=gamma, placement=(4, 8, 12)) for gamma in (0.5, 0.9)] + [Design.of("fixed", placement=(4,))]
        report = flip_report(decoder, [one[0].tolist() for one in ids], designs, tokens)
        equal = 0
        for one in ids:
            own = demo.model.generate(one.to(demo.model.device), max_new_tokens=tokens, do_sample=False, pad_token_id=0)[0, one.shape[1] :]
            equal += decoder.generate(one, tokens, policy="vanilla").tokens == own.tolist()
        told[dtype] = {"graphs": visit.graphs, "fallbacks": decoder.parts.fallbacks, "equal_to_generate": equal, **report}
        wrong += _losses(dtype, told[dtype])
        del demo, decoder
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if wrong:
        raise Found("; ".join(wrong), told)
    return told


def demo(visit: Visit) -> dict[str, Any]:
    """The demo model, with its own heads and decisions."""
    small = ["--limit", "1", "--domains", "arithmetic", "--max-new-tokens", "5", "--walks", "4", "--placements", "4", "--gammas", "0.5"]
    full = ["--limit", "4", "--repeats", "5"]
    return _record(visit, "demo", ["--demo", *(small if visit.dry else full)])


def shape(visit: Visit, stage: str) -> dict[str, Any]:
    """A large shape with random weights and scripted decisions; as many of its layers as fit."""
    return _record_shape(visit, stage, [])


def baselines(visit: Visit) -> dict[str, Any]:
    """``transformers`` generate and its kin beside vanilla and AdaDecode: all of them on the demo model, those without drafts on a shape."""
    small = ["--limit", "1", "--domains", "arithmetic", "--max-new-tokens", "5", "--walks", "4"]
    of_demo = ["--demo", "--baselines", "generate,lookup:3" if visit.dry else "all", "--placements", "4", "--gammas", "0.5"]
    told = {"demo-baselines": _attempt(lambda: _record(visit, "demo-baselines", [*of_demo, *(small if visit.dry else ["--limit", "2"])]))}
    few = ["--baselines", "generate" if visit.dry else "generate,static", "--limit", "1"]
    told["llama-8b-baselines"] = _attempt(lambda: _record_shape(visit, "llama-8b", few, name="llama-8b-baselines"))
    if failed := [name for name, one in told.items() if "error" in one]:
        raise Found(f"{', '.join(failed)} failed", told)
    return told


def validate(visit: Visit) -> dict[str, Any]:
    """Tiers T0 to T2 of every finished recording, its speeds, and its vanilla against the weight-read ceiling. Raises Found where one does not hold."""
    from profiles.store import read_profile

    told = {}
    for folder in sorted(visit.profiles.glob("*/manifest.json")):
        told[folder.parent.name] = _attempt(lambda folder=folder: _validated(visit, read_profile(folder.parent)))
    if not told:
        raise RuntimeError("nothing was recorded yet: run demo, llama-8b or codellama-34b first")
    wrong = [f"{name}: {one['error']}" for name, one in told.items() if "error" in one]
    wrong += [f"{name}: the simulator goes other rounds than its measured runs" for name, one in told.items() if one.get("holds") is False]
    if wrong:
        raise Found("; ".join(wrong), told)
    return told


def pack(visit: Visit) -> dict[str, Any]:
    """Everything under --work but installed wheels, in zip files; small files first, so that the most comes through."""
    visit.out.mkdir(parents=True, exist_ok=True)
    for old in visit.out.glob("visit-*.zip"):
        old.unlink()
    files = [path for path in visit.work.rglob("*") if path.is_file() and visit.site not in path.parents and path.suffix != ".part"]
    volumes: list[int] = []
    left_out: list[str] = []
    archive: zipfile.ZipFile | None = None
    for size, path in sorted((_packed_bytes(path), path) for path in files):
        if archive is None or volumes[-1] + size > VOLUME_BYTES:
            if size > VOLUME_BYTES or len(volumes) == VOLUMES:
                left_out.append(str(path.relative_to(visit.work)))
                continue
            if archive is not None:
                archive.close()
            volumes.append(0)
            archive = zipfile.ZipFile(visit.out / f"visit-{len(volumes)}.zip", "w", zipfile.ZIP_DEFLATED)
        archive.write(path, path.relative_to(visit.work))
        volumes[-1] += size
    if archive is not None:
        archive.close()
    return {"files": [path.name for path in sorted(visit.out.glob("visit-*.zip"))], "left_out": left_out}


STAGES: dict[str, Callable[[Visit], dict[str, Any]]] = {
    "setup": setup,
    "device": device,
    "lossless": lossless,
    "demo": demo,
    **{name: lambda visit, name=name: shape(visit, name) for name in SHAPES},
    "baselines": baselines,
    "validate": validate,
    "pack": pack,
}


# -- what stages are made of ---------------------------------------------------------------------------------------------------


def _losses(dtype: str, told: Mapping[str, Any]) -> list[str]:
    """What is wrong with one dtype of `lossless`: FP32 texts that differ, tokens beyond the tolerance."""
    wrong = []
    if dtype == "float32":
        if (equal := told["equal_to_generate"]) != (count := told["prompts"]):
            wrong.append(f"float32: vanilla wrote generate's text on {equal} of {count} prompts")
        unlike = [row for row in told["designs"] if row["equal_texts"] != row["texts"]]
        wrong += [f"float32: {row['design']} wrote vanilla's text on {row['equal_texts']} of {row['texts']} prompts" for row in unlike]
    beyond = [row for row in told["designs"] if row["beyond"]]
    return wrong + [f"{dtype}: {row['design']} has {row['beyond']} tokens beyond {told['tolerance_nats']} nats" for row in beyond]


def _packed_bytes(path: Path) -> int:
    """What a file takes in an archive, its entry in the directory included."""
    packer, size = zlib.compressobj(), 512
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())


def _attempt(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it returns, or what went wrong."""
    try:
        return do()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - one failure among several is told, and the others go on
        return {"error": f"{type(error).__name__}: {error}"}


def _record(visit: Visit, name: str, options: list[str]) -> dict[str, Any]:
    """One recording, begun or gone on with. Raises KeyboardInterrupt where it was interrupted, InputError where it was refused."""
    from typer import Exit

    from engine.parts import SETTINGS
    from engine.profile_cli import app

    folder = visit.profiles / name
    if not (folder / "manifest.json").exists():
        begun = (folder / SETTINGS).exists()
        more = ["--device", visit.device, "--graphs", visit.graphs, *(["--repeats", "1"] if visit.dry else [])]
        try:
            code = app(["--out", str(folder), *(["--resume"] if begun else [*options, *more])], standalone_mode=False)
        except Exit as ended:
            code = ended.exit_code
        if code == 130:
            raise KeyboardInterrupt
    from engine.summary import summarize
    from profiles.store import read_profile

    return {"profile": name, "designs": json.loads(summarize(read_profile(folder)).to_json(orient="records"))}


def _record_shape(visit: Visit, stage: str, more: list[str], name: str | None = None) -> dict[str, Any]:
    """A recording of this stage's shape, cut to the layers that the engine says would fit where not all do."""
    from engine.shapes import sized_shape
    from profiles.errors import InputError
    from profiles.store import read_profile
    from sim.options import in_proportion

    source = read_profile(visit.source)
    wanted = _tiny_file(visit, SHAPES[stage]) if visit.dry else SHAPES[stage]
    small = ["--limit", "1", "--domains", source.prompts["domain"].iloc[0], "--max-new-tokens", "8", "--gammas", "0.5"]
    full = ["--limit", "2", "--max-new-tokens", "64", "--gammas", "0.5,0.9", "--repeats", "3", "--dtype", "bfloat16"]
    layers: int | None = None
    while True:
        n_layers = sized_shape(wanted, layers).n_layers
        deep = [depth for depth in source.depths if n_layers >= source.n_layers or depth % -(-source.n_layers // n_layers) == 0]
        mapping = in_proportion(deep, source.n_layers, n_layers)
        options = ["--shape", wanted, "--scripted", str(visit.source), "--map", mapping, *(small if visit.dry else full), *more]
        try:
            return _record(visit, name or stage, [*options, *(["--layers", str(layers)] if layers else [])])
        except InputError as refused:
            fits = re.search(r"take --layers (\d+)", str(refused))
            if fits is None or layers is not None:
                raise
            layers = int(fits[1])


def _tiny_file(visit: Visit, name: str) -> str:
    """A shape of the same make with a few narrow layers, as a file that --shape reads."""
    from profiles.models import find_model

    real = find_model(name)
    sizes = {
        "n_layers": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "n_heads": 4,
        "n_kv_heads": max(1, 4 * real.n_kv_heads // real.n_heads),
    }
    lines = [f'["{name}-tiny"]', *(f"{key} = {value}" for key, value in {**sizes, "vocab_size": 256, "max_positions": 1024}.items())]
    path = visit.work / "tiny.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, f'source = "{name}, made tiny"']) + "\n")
    return f"{path}:{name}-tiny"


def _validated(visit: Visit, profile: Any) -> dict[str, Any]:  # noqa: ANN401 - torch and pandas are imported where they are used
    """One recording, held against the simulator."""
    from engine.summary import summarize

    table = summarize(profile)
    told: dict[str, Any] = {"scripted": profile.manifest.get("scripted"), "speeds": json.loads(table.to_json(orient="records"))}
    told |= _ceiling(visit, profile, float(table.loc[table["policy"] == "vanilla", "tokens_per_s"].iloc[0]))
    from sim.compare import compare  # needs simpy, which may be missing where the rest is there

    comparison = compare(profile)
    return {**told, "holds": comparison.holds, **comparison.to_dict()}


def _ceiling(visit: Visit, profile: Any, tokens_per_s: float) -> dict[str, Any]:  # noqa: ANN401 - as above
    """What reading every weight once a token would allow, at the read bandwidth that the stage ``device`` measured."""
    from engine.loading import DTYPES

    rates = (_result(visit.work, "device").get("result") or {}).get("rates", [])
    read = next((rate["median"] for rate in rates if rate["name"] == "read"), None)
    about = profile.manifest["model"]
    if read is None or not about.get("shape"):
        return {}
    sizes = about["shape"]
    table = 0 if sizes["tied_embeddings"] else sizes["vocab_size"] * sizes["hidden_size"]  # of which a token reads one row
    read_bytes = (about["n_parameters"] - table) * DTYPES[profile.manifest["dtype"]].itemsize
    return {"ceiling_tokens_per_s": read / read_bytes, "share_of_ceiling": tokens_per_s * read_bytes / read}


# -- the parent ----------------------------------------------------------------------------------------------------------------


def _result(work: Path, stage: str) -> dict[str, Any]:
    """What is known of a stage; empty where it never ran."""
    path = work / "results" / f"{stage}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _tell(work: Path, stage: str, told: Mapping[str, Any]) -> None:
    path = work / "results" / f"{stage}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(told, indent=1, default=str) + "\n")
    partial.replace(path)


def inside(visit: Visit, stage: str) -> None:
    """One stage, in its own process."""
    began = time.monotonic()
    told: dict[str, Any]
    try:
        told = {"state": "done", "result": STAGES[stage](visit)}
    except KeyboardInterrupt:
        told = {"state": "unfinished", "error": "interrupted; what was finished is kept"}
    except Found as wrong:
        told = {"state": "failed", "error": str(wrong), "result": wrong.told}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is written down, and the visit goes on
        traceback.print_exc()
        told = {"state": "failed", "error": f"{type(error).__name__}: {error}"}
    _tell(visit.work, stage, {**told, "seconds": time.monotonic() - began})


def _run(visit: Visit, stage: str, arguments: list[str], seconds: float) -> dict[str, Any]:
    """A stage in a process that is interrupted after so many seconds; what is known of it then."""
    log = visit.work / "logs" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    places = [str(visit.site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, str(Path(__file__).resolve()), *arguments, "--inside", stage]
    _tell(visit.work, stage, {"state": "failed", "error": f"ended without a word: see logs/{stage}.log"})
    late = False
    with log.open("a") as file:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)  # noqa: S603 - this very script
        for send, wait in ((signal.SIGINT, max(1.0, seconds)), (signal.SIGKILL, GRACE_S)):
            try:
                child.wait(wait)
                break
            except subprocess.TimeoutExpired:
                late = True
                child.send_signal(send)
        child.wait()
    if late and _result(visit.work, stage).get("state") != "done":
        _tell(visit.work, stage, {"state": "unfinished", "error": "out of time; what was finished is kept"})
    return _result(visit.work, stage)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 where every stage asked for is done, 1 where one is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where everything is kept between calls")
    parser.add_argument("--out", type=Path, required=True, help="where pack puts its zip files")
    parser.add_argument("--stage", default=",".join(STAGES), help="comma list, in this order: %(default)s")
    parser.add_argument("--minutes", type=float, default=9.5, help="of this call, packing included")
    parser.add_argument(
        "--source", type=Path, default=ROOT / "profiles/recorded/demo-cpu", help="profile whose decisions the shapes follow"
    )
    parser.add_argument("--wheels", type=Path, help="folder of wheels, for what is missing")
    parser.add_argument("--restore", type=Path, help="folder of an earlier call's zip files, to go on from")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="cuda, or cpu with --dry-run")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes and short texts")
    parser.add_argument("--inside", choices=tuple(STAGES), help=argparse.SUPPRESS)
    given = sys.argv[1:] if arguments is None else arguments
    chosen = parser.parse_args(given)
    wanted = [name.strip() for name in chosen.stage.split(",")]
    if unknown := [name for name in wanted if name not in STAGES]:
        parser.error(f"no stage {', '.join(unknown)}: there are {', '.join(STAGES)}")
    visit = Visit(
        work=chosen.work.resolve(),
        out=chosen.out.resolve(),
        source=chosen.source.resolve(),
        device=chosen.device or ("cpu" if chosen.dry_run else "cuda"),
        dry=chosen.dry_run,
        wheels=chosen.wheels.resolve() if chosen.wheels else None,
        seconds=60 * chosen.minutes,
    )
    if chosen.inside:
        sys.path.insert(0, str(visit.site))
        inside(visit, chosen.inside)
        return 0
    began = time.monotonic()
    for archive in sorted(chosen.restore.glob("visit-*.zip")) if chosen.restore else []:
        with zipfile.ZipFile(archive) as file:
            file.extractall(visit.work)
    states = {}
    for stage in [name for name in STAGES if name in wanted]:
        left = visit.seconds - (time.monotonic() - began) - (0 if stage == "pack" else PACKING_S)
        if stage not in ("setup", "validate", "pack") and _result(visit.work, stage).get("state") == "done":
            states[stage] = "done"
            print(f"{stage}: done before")
            continue
        if left < 1 and stage != "pack":
            states[stage] = "unfinished"
            print(f"{stage}: no time left in this call")
            continue
        told = _run(visit, stage, given, left - (GRACE_S if stage != "pack" else 0))
        states[stage] = str(told.get("state"))
        print(f"{stage}: {told.get('state')} in {told.get('seconds', 0.0):.0f} s {told.get('error', '')}".rstrip(), flush=True)
    return 0 if set(states.values()) <= {"done"} else 1


if __name__ == "__main__":
    sys.exit(main())
