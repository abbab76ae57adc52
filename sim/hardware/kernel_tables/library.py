"""Find kernel tables by system, engine and version, in a folder or in the installed package."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from adadecode.profiles.errors import DeviceError, InputError, nearest
from adadecode.profiles.input_file import is_folder
from adadecode.sim.hardware.kernel_tables.tables import (
    ATTENTION,
    COLLECTIVES,
    NCCL,
    PRODUCTS,
    KernelTables,
)

PACKAGE = "aiconfigurator_core"
"""The module that carries the tables, of the extra ``kernels``."""

_WITHIN = Path("systems") / "data"
"""Where they lie in it."""

_KINDS = (PRODUCTS, ATTENTION, COLLECTIVES)


@dataclass(frozen=True, kw_only=True)
class KernelLibrary:
    """A folder of kernel tables, a folder for each system. Build it with `of` or `installed`.

    Attributes:
        folder: The folder.
        systems: Names of the systems of which it holds products, in order.
    """

    folder: Path
    systems: tuple[str, ...]

    @classmethod
    def of(cls, folder: str | Path) -> KernelLibrary:
        """Return the tables of a folder.

        Args:
            folder: The folder, or one that has it at ``systems/data``.

        Raises:
            InputError: If it is no folder, or holds no table of any system.
        """
        place = Path(folder)
        if not is_folder(place):
            raise InputError(f"wanted a folder of kernel tables, got {place}: {_layout()}")
        if is_folder(place / _WITHIN):
            place /= _WITHIN
        systems = tuple(name for name in _folders(place) if is_folder(place / name / PRODUCTS))
        if not systems:
            raise InputError(f"no kernel tables in {place}: {_layout()}")
        return cls(folder=place, systems=systems)

    @classmethod
    def installed(cls) -> KernelLibrary:
        """Return the tables of the installed package, which is looked for and not imported.

        Raises:
            InputError: If it is not installed.
        """
        spec = find_spec(PACKAGE)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            raise InputError(
                f"the package {PACKAGE.replace('_', '-')}, which carries the kernel tables, is "
                "not installed: pip install 'adadecode[kernels]' (it may ask for another Python "
                "than this), or name a folder of tables with --tables"
            )
        return cls.of(places[0])

    def backends(self, system: str) -> tuple[str, ...]:
        """Return the engines that were measured on a system, in order.

        Raises:
            DeviceError: If the system is unknown.
        """
        if system not in self.systems:
            raise DeviceError(
                f"no system {system!r} in {self.folder}: {nearest(system, self.systems)}"
            )
        return tuple(_folders(self.folder / system / PRODUCTS))

    def versions(self, system: str, backend: str) -> tuple[str, ...]:
        """Return the versions of an engine that were measured on a system, the newest last.

        Raises:
            DeviceError: If the system is unknown, or the engine was not measured on it.
        """
        known = self.backends(system)
        if backend not in known:
            raise DeviceError(
                f"no engine {backend!r} was measured on {system} in {self.folder}: "
                + nearest(backend, known)
            )
        return tuple(sorted(_folders(self.folder / system / PRODUCTS / backend), key=_by_number))

    def tables(self, system: str, backend: str, version: str | None = None) -> KernelTables:
        """Return what one version of an engine took on a system.

        Args:
            system: Name of the system, such as ``h200_sxm``.
            backend: Name of the engine, such as ``vllm``.
            version: Its version; the newest by default.

        Raises:
            DeviceError: If one of them is unknown; the message names the nearest.
        """
        known = self.versions(system, backend)
        if version is not None and version not in known:
            raise DeviceError(
                f"no version {version!r} of {backend} was measured on {system} in {self.folder}: "
                + nearest(version, known)
            )
        if not known:
            raise DeviceError(
                f"no version of {backend} on {system} in {self.folder}: choose another engine"
            )
        chosen = known[-1] if version is None else version
        return KernelTables(
            system=system,
            backend=backend,
            version=chosen,
            paths={
                **{kind: self.folder / system / kind / backend / chosen for kind in _KINDS},
                NCCL: self._newest_nccl(system),
            },
        )

    def _newest_nccl(self, system: str) -> Path:
        """Return the folder of the newest NCCL that was measured on a system, if there is any."""
        place = self.folder / system / COLLECTIVES / NCCL
        versions = sorted(_folders(place), key=_by_number) if is_folder(place) else ()
        return place / versions[-1] if versions else place / "VERSION"


def _folders(place: Path) -> Iterable[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones."""
    try:
        with os.scandir(place) as entries:
            return sorted(one.name for one in entries if one.is_dir() and one.name[0] not in "._")
    except OSError as problem:
        raise InputError(
            f"cannot read the folder {place} ({problem.strerror}): check its permissions"
        ) from None


def _by_number(version: str) -> tuple[tuple[int, int], ...]:
    """Return what orders versions: numbers by size, a candidate before its release, a patch after.

    The end of a version stands between the two.
    """
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    order = ((3, int(one)) if one.isdigit() else (2 if one == "post" else 0, 0) for one in parts)
    return (*order, (1, 0))


def _layout() -> str:
    return "give one that holds SYSTEM/gemm/ENGINE/VERSION/gemm_perf.parquet"
