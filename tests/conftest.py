"""Settings and fixtures of all tests.

Property tests have no deadline, torch keeps to one thread, compilers keep their caches inside the
tree, and tests marked ``gpu`` are skipped where there is no GPU.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from adadecode.profiles import Profile
from tests.support.paths import ROOT
from tests.support.synthetic_profile import full_profile

# No test is timed: on a busy machine a deadline fails at random. `make test` draws the same
# examples every time; `make test-all` (--hypothesis-profile=thorough) draws more, and new ones
# (see tests/support/property_tests.py).
settings.register_profile(
    "thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile(
    "quick", settings.get_profile("thorough"), derandomize=True, max_examples=25
)
settings.load_profile("quick")

# What torch compiles is kept in the tree and shared by all test workers. It is found by its
# content, so an old cache is only slower, never wrong. (numba keeps its own in __pycache__.)
CACHE = ROOT / ".cache"
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE / "inductor"))
os.environ.setdefault("TRITON_CACHE_DIR", str(CACHE / "triton"))


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Let nothing wait until the disk has written: what tests write need not survive a crash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _temporary_files_of_this_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no worker see what another one holds, such as the lock of whoever times things."""
    folder = str(tmp_path_factory.getbasetemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Return a whole profile with rows in every table; tests do not change it."""
    return full_profile(tmp_path_factory.mktemp("profile") / "p")


@pytest.fixture
def folder(original: Profile, tmp_path: Path) -> Path:
    """Return the folder of a copy of ``original`` that a test may change."""
    return Path(shutil.copytree(original.path, tmp_path / "copy"))


def skip_reason_without_gpu() -> str | None:
    """Return why a test marked ``gpu`` cannot run here, or None where it can."""
    try:
        import torch
    except ImportError:
        return "needs torch: install the extra 'engine'"
    if not torch.cuda.is_available():
        return "needs a CUDA device: torch finds none on this machine"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``gpu`` where they cannot run."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return  # importing torch takes seconds
    reason = skip_reason_without_gpu()
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Give torch one thread: sums have the same order everywhere, and workers do not compete."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
