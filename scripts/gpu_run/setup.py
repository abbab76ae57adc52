"""Stages that look at the machine: what is installed there, and what its device sustains."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

from scripts.gpu_run.state import GpuRun

PACKAGES_OF_RECORDING = tuple(
    "torch transformers tokenizers safetensors huggingface_hub numpy pandas pyarrow rich typer "
    "psutil".split()
)
"""Needed to record."""
PACKAGES_OF_VALIDATION = ("scipy", "numba", "simpy")
"""Needed to validate, which can be done on another machine."""
PACKAGES_OF_TESTS = tuple(
    "pytest iniconfig pluggy packaging pygments hypothesis sortedcontainers".split()
)
"""Needed by the stage ``tests``."""
OPTIONAL_PACKAGES = ("pynvml",)
"""Reads the GPU's energy, clocks and driver; without it they are not recorded."""
NOT_REQUIRED = (*PACKAGES_OF_VALIDATION, *PACKAGES_OF_TESTS, *OPTIONAL_PACKAGES)
"""Packages without which the run goes on."""
WHEEL_NAMES = {"nvidia_ml_py": "pynvml"}
"""Packages by the name of their wheel, where it is another."""
REPEATS = 3
"""Times that each benchmark of the device is run."""


def missing_packages(names: tuple[str, ...]) -> list[str]:
    """Return those of these packages that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def package_of(wheel: str) -> str:
    """Return the package that a wheel of this file name installs."""
    name = wheel.split("-", maxsplit=1)[0].lower().replace(".", "_")
    return WHEEL_NAMES.get(name, name)


def setup(run: GpuRun) -> dict[str, Any]:
    """Install what is missing from the folder of wheels, and describe the machine.

    Raises:
        ModuleNotFoundError: If a package that recording needs is neither installed nor among the
            wheels.
    """
    missing = missing_packages((*PACKAGES_OF_RECORDING, *NOT_REQUIRED))
    wheels = sorted(run.wheels.glob("*.whl")) if run.wheels else []
    wanted = [wheel for wheel in wheels if package_of(wheel.name) in missing]
    if wanted:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        command = [*pip, "--target", str(run.site), *map(str, wanted)]
        subprocess.run(command, check=True)  # noqa: S603 - wheels that the user names
        importlib.invalidate_caches()
        sys.path.insert(0, str(run.site))
    if lacking := missing_packages(PACKAGES_OF_RECORDING):
        raise ModuleNotFoundError(
            f"{', '.join(lacking)} are missing, and not among the wheels in {run.wheels}"
        )
    from adadecode.engine.runtime.environment import (
        describe_machine,
        describe_software,
        torch_device,
    )

    return {
        "machine": describe_machine(torch_device(run.device)),
        "software": describe_software(),
        "python": sys.version.split()[0],
        "installed": [wheel.name for wheel in wanted],
        "missing": missing_packages(NOT_REQUIRED),
    }


def device(run: GpuRun) -> dict[str, Any]:
    """Measure the device's bandwidth and matrix products, and write an entry for the catalogue.

    Returns:
        The device's title, torch's threads, ``rates``, and why the products of some types were left
        out.
    """
    import torch

    from adadecode.engine.runtime.catalogue_entry import (
        DatasheetFigures,
        entry,
        reserved,
        write_entry,
    )
    from adadecode.engine.runtime.device_benchmark import (
        MATRIX_SIZES,
        array_size,
        bandwidth_benches,
        find_device,
        matmul_benches,
        measure,
        usual_dtypes,
    )

    place = find_device(run.device)
    benches = bandwidth_benches(place, array_size(place, 4 * 2**20 if run.dry else None))
    left_out = {}
    sizes = (256,) if run.dry else MATRIX_SIZES[place.device.type]
    for dtype in ("fp32",) if run.dry else usual_dtypes(place):
        try:
            benches += matmul_benches(place, dtype, sizes)
        except RuntimeError as error:  # torch has no such product there, which is a result
            left_out[dtype] = str(error).splitlines()[0][:200]
    measure(place, benches, 2 if run.dry else REPEATS)
    path = run.work / "device.toml"
    path.unlink(missing_ok=True)
    with reserved(path) as part:
        write_entry(entry("measured", place, benches, DatasheetFigures()), "measured", part)
    rates = [
        {
            "name": bench.name,
            "size": bench.size,
            "unit": f"{bench.unit}/s",
            "median": bench.median,
            "spread": bench.spread,
        }
        for bench in benches
    ]
    return {
        "title": place.title,
        "threads": torch.get_num_threads(),
        "rates": rates,
        "left_out": left_out,
    }
