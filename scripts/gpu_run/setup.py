"""Stages that look at the machine: what is installed there, and what the device sustains."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

from scripts.gpu_run.state import GpuRun

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
"""What records."""
VALIDATING = ("scipy", "numba", "simpy")
"""What validates besides, which can be done at home."""
TESTING = (
    "pytest",
    "iniconfig",
    "pluggy",
    "packaging",
    "pygments",
    "hypothesis",
    "sortedcontainers",
)
"""What the stage ``tests`` needs."""
OPTIONAL = ("pynvml",)
"""What reads the GPU's energy, clocks and driver; without it they are not recorded."""
REPEATS = 3
"""Of each benchmark."""
WHEELS = {"nvidia_ml_py": "pynvml"}
"""Packages that come in a wheel of another name."""


def absent(names: tuple[str, ...]) -> list[str]:
    """Those of these packages that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def package_of(wheel: str) -> str:
    """The package that a wheel of this file name installs."""
    name = wheel.split("-", maxsplit=1)[0].lower().replace(".", "_")
    return WHEELS.get(name, name)


def setup(visit: GpuRun) -> dict[str, Any]:
    """Install what is missing from the wheels that were brought; say what is there."""
    missing = absent((*NEEDED, *VALIDATING, *TESTING, *OPTIONAL))
    wheels = sorted(visit.wheels.glob("*.whl")) if visit.wheels else []
    brought = [wheel for wheel in wheels if package_of(wheel.name) in missing]
    if brought:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-index",
            "--no-deps",
            "--target",
            str(visit.site),
            *map(str, brought),
        ]
        subprocess.run(command, check=True)
        importlib.invalidate_caches()
        sys.path.insert(0, str(visit.site))
    if lacking := absent(NEEDED):
        raise ModuleNotFoundError(
            f"{', '.join(lacking)} are missing, and not among the wheels in {visit.wheels}"
        )
    from adadecode.engine.runtime.environment import (
        describe_machine,
        describe_software,
        torch_device,
    )

    about = {
        "machine": describe_machine(torch_device(visit.device)),
        "software": describe_software(),
        "python": sys.version.split()[0],
    }
    return {
        **about,
        "installed": [wheel.name for wheel in brought],
        "missing": absent((*VALIDATING, *TESTING, *OPTIONAL)),
    }


def device(visit: GpuRun) -> dict[str, Any]:
    """What the device sustains: bandwidth and matmuls; an entry for the catalogue."""
    import torch

    from adadecode.engine.runtime.catalogue_entry import Given, entry, write_entry
    from adadecode.engine.runtime.device_benchmark import (
        MATRIX_SIZES,
        array_size,
        bandwidth_benches,
        find_place,
        matmul_benches,
        measure,
        usual_dtypes,
    )

    place = find_place(visit.device)
    benches = bandwidth_benches(place, array_size(place, 4 * 2**20 if visit.dry else None))
    left_out = {}
    for dtype in ("fp32",) if visit.dry else usual_dtypes(place):
        try:
            benches += matmul_benches(
                place, dtype, (256,) if visit.dry else MATRIX_SIZES[place.device.type]
            )
        except RuntimeError as error:  # torch has no such matmul there, which is an answer
            left_out[dtype] = str(error).splitlines()[0][:200]
    measure(place, benches, 2 if visit.dry else REPEATS)
    path = visit.work / "device.toml"
    path.unlink(missing_ok=True)
    write_entry(entry("visited", place, benches, Given()), "visited", path)
    rates = [
        {
            "name": b.name,
            "size": b.size,
            "unit": f"{b.unit}/s",
            "median": b.median,
            "spread": b.spread,
        }
        for b in benches
    ]
    return {
        "title": place.title,
        "threads": torch.get_num_threads(),
        "rates": rates,
        "left_out": left_out,
    }
