"""The stage ``validate``: compare recordings with the simulator and the weight-read ceiling."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.gpu_run.bandwidth import bytes_per_token, read_bandwidth
from scripts.gpu_run.recordings import attempt
from scripts.gpu_run.state import GpuRun, StageFailure, read_result, write_result

if TYPE_CHECKING:
    from pandas import DataFrame

    from adadecode.profiles.store import Profile

MANIFEST_KEYS = ("graphs", "graphs_bytes", "scripted", "limitations", "heads")
"""What is copied from a recording's manifest."""


def validate(run: GpuRun) -> dict[str, Any]:
    """Validate every finished recording.

    A recording that an earlier call found valid is not validated again.

    Returns:
        By recording, what `validate_recording` returns, or its ``error``.

    Raises:
        StageFailure: If one recording could not be validated, or the simulator takes other rounds
            than its measured runs.
    """
    found = {}
    for folder in sorted(path.parent for path in run.profiles.glob("*/manifest.json")):
        known = read_result(run.work, f"validated/{folder.name}")
        if not _is_current(run, folder, known):
            known = attempt(partial(validate_recording, run, folder))
            write_result(run.work, f"validated/{folder.name}", known)
        found[folder.name] = known
    if not found:
        raise RuntimeError("nothing was recorded yet: run demo, paper or codellama-34b first")
    errors = [f"{name}: {one['error']}" for name, one in found.items() if "error" in one]
    errors += [
        f"{name}: the simulator takes other rounds than its measured runs"
        for name, one in found.items()
        if one.get("holds") is False
    ]
    if errors:
        raise StageFailure("; ".join(errors), found)
    return found


def _is_current(run: GpuRun, folder: Path, known: dict[str, Any]) -> bool:
    """Whether a recording was found valid as it is, with the bandwidth that is known now."""
    if not known.get("holds"):
        return False
    digest = json.loads((folder / "manifest.json").read_text()).get("digest")
    return (known["digest"], known["read_bytes_per_s"]) == (digest, read_bandwidth(run))


def validate_recording(run: GpuRun, folder: Path) -> dict[str, Any]:
    """Return the tiers T0 to T2 of a recording, its speeds and its baselines.

    Vanilla's speed is given as a share of what reading all weights once a token would allow.
    """
    from adadecode.engine.profiling.summary import summarize
    from adadecode.profiles.store import read_profile
    from adadecode.sim.measurements.baselines import standings
    from adadecode.sim.validation.tiers import validate as validate_profile

    profile = read_profile(folder)
    manifest, prompts = profile.manifest, profile.prompts
    speeds = summarize(profile)
    vanilla = float(speeds.loc[speeds["policy"] == "vanilla", "tokens_per_s"].iloc[0])
    comparison = validate_profile(profile)
    return {
        "digest": manifest.get("digest"),
        "model": manifest["model"]["name"],
        "dtype": manifest["dtype"],
        **{key: manifest.get(key) for key in MANIFEST_KEYS},
        "speeds": _rows(speeds),
        **_ceiling(run, profile, vanilla),
        "baselines": _rows(standings(profile, {"": tuple(prompts["prompt"])})),
        "domains": {
            str(domain): _speedups(profile, comparison.cells, tuple(part["prompt"]))
            for domain, part in prompts.groupby("domain", sort=False)
        },
        "holds": comparison.holds,
        **comparison.to_dict(),
    }


def _rows(table: DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return rows


def _speedups(profile: Profile, cells: DataFrame, prompts: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the speedup of each design on these prompts, measured and predicted.

    The rates are those of the paper: positions predicted early of those tested, and positions
    rejected of those drafted.
    """
    from adadecode.sim.core.design import Design
    from adadecode.sim.measurements.runs import timed_runs
    from adadecode.sim.measurements.speed import measured_speeds
    from adadecode.sim.prediction.predictor import Predictor

    measured = cells[cells["prompt"].isin(prompts) & cells["measured_s"].notna()]
    times = measured.groupby("design", sort=False)[["measured_s", "predicted_s"]].sum()
    predictor = Predictor.of(profile)
    in_turn = {one.design.label: one.speedup for one in measured_speeds(profile, prompts)}
    designs: dict[str, Design] = {design.label: design for design, _ in timed_runs(profile)}
    rows = []
    for label, time in times.iterrows():
        prediction = predictor.predict(designs[str(label)], prompts)
        row = {
            "design": str(label),
            "measured_speedup": float(times.loc["vanilla", "measured_s"] / time["measured_s"]),
            "predicted_speedup": float(times.loc["vanilla", "predicted_s"] / time["predicted_s"]),
            "speedup": in_turn.get(str(label)),
            "early_rate": prediction.early_rate,
            "reject_rate": prediction.reject_rate,
        }
        rows.append(row)
    return rows


def _ceiling(run: GpuRun, profile: Profile, tokens_per_s: float) -> dict[str, Any]:
    """Return vanilla's speed if reading the weights took all its time, and the share reached.

    The bandwidth is the one that the stage ``device`` measured.
    """
    from adadecode.engine.loading.model_loader import DTYPES
    from adadecode.profiles.catalog.model_shape import ModelShape

    bandwidth, model = read_bandwidth(run), profile.manifest["model"]
    if bandwidth is None or not model.get("shape"):
        return {"read_bytes_per_s": bandwidth}
    itemsize = DTYPES[profile.manifest["dtype"]].itemsize
    read_bytes = bytes_per_token(ModelShape(**model["shape"]), model["n_parameters"], itemsize)
    return {
        "read_bytes_per_s": bandwidth,
        "ceiling_tokens_per_s": bandwidth / read_bytes,
        "share_of_ceiling": tokens_per_s * read_bytes / bandwidth,
    }
