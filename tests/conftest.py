"""What holds for every test: no clock decides, torch keeps to one thread, and the marker ``gpu`` skips where there is no GPU."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from adadecode.profiles import Profile
from tests.support.synthetic_profile import full_profile

# No test is timed: on a busy machine a deadline fails at random.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A whole profile with rows in every table; not to be changed."""
    return full_profile(tmp_path_factory.mktemp("profile") / "p")


@pytest.fixture
def folder(original: Profile, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(original.path, tmp_path / "copy"))


def why_no_gpu() -> str | None:
    """The reason to skip a gpu test here, or None where it can run."""
    try:
        import torch
    except ImportError:
        return "needs torch: install the extra 'engine'"
    if not torch.cuda.is_available():
        return "needs a CUDA device: torch finds none on this machine"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = (
        why_no_gpu() if marked else None
    )  # torch takes seconds to import: only ask where it matters
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(
            1
        )  # sums in the same order everywhere, and no fight between test workers
