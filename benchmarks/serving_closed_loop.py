"""Simulate requests of one length in a closed loop, and compare with what was measured on an H100.

The measured server is TensorRT-LLM; the times of kernels are those of vLLM on the same card.
Nothing is fitted to what was measured.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.importers.aiconfigurator import import_kernels, system_device
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.serving.served_run import Server, run_server
from adadecode.sim.serving.workloads import arrivals
from benchmarks.harness import write_result

DATA = Path("../shared/data/aiconfigurator")
MEASURED = "silicon_h100_llama-3.1-8b_tp1.csv"
SYSTEM, MODEL = "h100_sxm", "llama-3.1-8b"
VERSIONS = ("0.14.0", "0.24.0")
"""Versions of vLLM whose kernels were measured."""

ROUNDS = 5
"""Requests for each one in flight."""


def rows_of(profile: Profile, measured: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the medians of each measured point, simulated, and by how much they miss it."""
    for point in measured.to_dict("records"):
        users, prompt, output = (int(point[name]) for name in ("batch_size", "isl", "osl"))
        spec = f"closed:{users},count={ROUNDS * users},prompt={prompt},output={output}"
        found = run_server(profile, arrivals(spec), Server()).metrics
        assert found.tpot_s is not None
        yield {
            "users": users,
            "prompt": prompt,
            "output": output,
            "tpot_s": found.tpot_s.p50,
            "ttft_s": found.ttft_s.p50,
            "tpot_error": 1e3 * found.tpot_s.p50 / float(point["silicon_tpot_ms"]) - 1,
            "ttft_error": 1e3 * found.ttft_s.p50 / float(point["silicon_ttft_ms"]) - 1,
        }


def main(arguments: list[str] | None = None) -> None:
    """Compare, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="tables of AIConfigurator")
    data: Path = parser.parse_args(arguments).data
    measured = pd.read_csv(data / MEASURED)
    library = KernelLibrary.of(data)
    versions = {}
    with tempfile.TemporaryDirectory() as folder:
        for version in VERSIONS:
            tables = library.tables(SYSTEM, "vllm", version)
            device, place = system_device(SYSTEM), Path(folder) / version
            profile = import_kernels(tables, find_model(MODEL), device, place)
            rows = list(rows_of(profile, measured))
            errors = np.array([[row["tpot_error"], row["ttft_error"]] for row in rows])
            versions[version] = {
                "tpot_error": float(np.median(np.abs(errors[:, 0]))),
                "tpot_bias": float(np.median(errors[:, 0])),
                "tpot_worst": float(np.abs(errors[:, 0]).max()),
                "ttft_bias": float(np.median(errors[:, 1])),
                "rows": rows,
            }
            print(version, {key: one for key, one in versions[version].items() if key != "rows"})
    write_result("serving_closed_loop", {"system": SYSTEM, "model": MODEL, "versions": versions})


if __name__ == "__main__":
    main()
