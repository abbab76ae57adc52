"""C++ of ours, compiled once for this machine and kept in the folder of caches."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from adadecode.engine.runtime.cache_folder import cache_folder
from adadecode.profiles.atomic_write import write_bytes
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import InputError

FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared")
_PARALLEL = "-fopenmp"
_COMPILERS = ("g++", "clang++", "c++")
_PATIENCE = 120.0
"""Seconds that a compiler may take."""


def native_library(source: Path) -> ctypes.CDLL:
    """Return the library of a file of C++, compiled where there is none of it yet.

    Args:
        source: The file.

    Raises:
        LookupError: It cannot be compiled or loaded here; the message says why.
    """
    compiler = _compiler()
    text = source.read_bytes()
    name = sha256_hex(
        text, " ".join((*FLAGS, _PARALLEL)).encode(), _version(compiler), _processor()
    )
    kept = cache_folder() / "native" / f"{source.stem}-{name[:24]}.so"
    with suppress(OSError):
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / kept.name
        _compile(compiler, source, made)
        with suppress(InputError, OSError):
            write_bytes(kept, made.read_bytes())
            made = kept
        try:
            return ctypes.CDLL(str(made))
        except OSError as error:
            raise LookupError(f"what {compiler} made cannot be loaded: {error}") from error


def _compiler() -> str:
    """Return the C++ compiler: that of the environment variable CXX, or the first that is here."""
    named = os.environ.get("CXX")
    found = next(filter(None, map(shutil.which, (named,) if named else _COMPILERS)), None)
    if found is None:
        raise LookupError(
            "no C++ compiler was found: install g++, or name one in the environment variable CXX"
        )
    return found


def _version(compiler: str) -> bytes:
    return _run(compiler, "--version").stdout


def _processor() -> bytes:
    """Return what the processor can do, for which code is compiled."""
    about = Path("/proc/cpuinfo")
    with suppress(OSError):
        for line in about.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line.encode()
    return f"{platform.machine()} {platform.processor()}".encode()


def _compile(compiler: str, source: Path, to: Path) -> None:
    """Compile a file, for several threads where the compiler can do that.

    Raises:
        LookupError: The compiler fails.
    """
    for more in ((_PARALLEL,), ()):
        done = _run(compiler, *FLAGS, *more, str(source), "-o", str(to))
        if done.returncode == 0:
            return
    said = done.stderr.decode(errors="replace").strip().splitlines()
    raise LookupError(f"{compiler} could not compile {source.name}: {' '.join(said[:1])}")


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 -- a compiler, on a file of ours
            command, capture_output=True, check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(f"{command[0]} does not run: {error}") from error
