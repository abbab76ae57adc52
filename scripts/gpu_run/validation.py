"""The stage ``validate``: what was recorded, against the simulator and against what reading the weights would allow."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.gpu_run.recordings import attempt
from scripts.gpu_run.state import GpuRun, StageFailure, result, tell
from scripts.gpu_run.vanilla_speed import bytes_a_token, read_rate

if TYPE_CHECKING:
    from adadecode.profiles.store import Profile


def validate(visit: GpuRun) -> dict[str, Any]:
    """Tiers T0 to T2 of every finished recording, its speeds, and its vanilla against the weight-read ceiling. Raises StageFailure where one does not hold.

    What was told of a recording in an earlier call, and held, is not worked out again.
    """
    told = {}
    for folder in sorted(path.parent for path in visit.profiles.glob("*/manifest.json")):
        digest = json.loads((folder / "manifest.json").read_text()).get("digest")
        known = result(visit.work, f"validated/{folder.name}")
        if not (
            known.get("holds")
            and (known["digest"], known["read_bytes_per_s"]) == (digest, read_rate(visit))
        ):
            known = attempt(partial(validated, visit, folder))
            tell(visit.work, f"validated/{folder.name}", known)
        told[folder.name] = known
    if not told:
        raise RuntimeError("nothing was recorded yet: run demo, paper or codellama-34b first")
    wrong = [f"{name}: {one['error']}" for name, one in told.items() if "error" in one]
    wrong += [
        f"{name}: the simulator goes other rounds than its measured runs"
        for name, one in told.items()
        if one.get("holds") is False
    ]
    if wrong:
        raise StageFailure("; ".join(wrong), told)
    return told


def validated(visit: GpuRun, folder: Path) -> dict[str, Any]:
    """One recording, held against the simulator."""
    from adadecode.engine.profiling.summary import summarize
    from adadecode.profiles.store import read_profile

    profile = read_profile(folder)
    table = summarize(profile)
    manifest = profile.manifest
    told: dict[str, Any] = {
        "digest": manifest.get("digest"),
        "model": manifest["model"]["name"],
        "dtype": manifest["dtype"],
    }
    told |= {
        name: manifest.get(name)
        for name in ("graphs", "graphs_bytes", "scripted", "limitations", "heads")
    }
    told["speeds"] = json.loads(table.to_json(orient="records"))
    told |= _ceiling(
        visit, profile, float(table.loc[table["policy"] == "vanilla", "tokens_per_s"].iloc[0])
    )
    from adadecode.sim.measurements.baselines import standings
    from adadecode.sim.validation.tiers import (
        validate,  # needs simpy, which may be missing where the rest is there
    )

    domains = {
        domain: tuple(part["prompt"])
        for domain, part in profile.prompts.groupby("domain", sort=False)
    }
    told["baselines"] = json.loads(
        standings(profile, {"": tuple(profile.prompts["prompt"])}).to_json(orient="records")
    )
    comparison = validate(profile)
    told["domains"] = {
        domain: _of_domain(profile, comparison.cells, prompts)
        for domain, prompts in domains.items()
    }
    return {**told, "holds": comparison.holds, **comparison.to_dict()}


def _of_domain(profile: Profile, cells: Any, prompts: tuple[int, ...]) -> list[dict[str, Any]]:
    """By design, on the prompts of one domain: speedup measured and predicted; early predicted of tested and rejected of drafted positions, as the paper counts them."""
    from adadecode.sim.core.design import Design
    from adadecode.sim.measurements.runs import timed_runs
    from adadecode.sim.prediction.predictor import Predictor

    part = cells[cells["prompt"].isin(prompts) & cells["measured_s"].notna()]
    times = part.groupby("design", sort=False)[["measured_s", "predicted_s"]].sum()
    predictor = Predictor.of(profile)
    designs: dict[str, Design] = {design.label: design for design, _ in timed_runs(profile)}
    rows = []
    for label, row in times.iterrows():
        rates = predictor.predict(designs[str(label)], prompts)
        rows.append({
            "design": str(label),
            "measured_speedup": float(times.loc["vanilla", "measured_s"] / row["measured_s"]),
            "predicted_speedup": float(times.loc["vanilla", "predicted_s"] / row["predicted_s"]),
            "early_rate": rates.early_rate,
            "reject_rate": rates.reject_rate,
        })  # fmt: skip
    return rows


def _ceiling(visit: GpuRun, profile: Profile, tokens_per_s: float) -> dict[str, Any]:
    """What reading every weight once a token would allow, at the read bandwidth that the stage ``device`` measured."""
    from adadecode.engine.loading.model_loader import DTYPES
    from adadecode.profiles.catalog.model_shape import ModelShape

    read, about = read_rate(visit), profile.manifest["model"]
    if read is None or not about.get("shape"):
        return {"read_bytes_per_s": read}
    read_bytes = bytes_a_token(
        ModelShape(**about["shape"]),
        about["n_parameters"],
        DTYPES[profile.manifest["dtype"]].itemsize,
    )
    return {
        "read_bytes_per_s": read,
        "ceiling_tokens_per_s": read / read_bytes,
        "share_of_ceiling": tokens_per_s * read_bytes / read,
    }
