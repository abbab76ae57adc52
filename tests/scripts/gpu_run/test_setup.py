"""The stage ``setup``: what is missing, and which wheels would install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.gpu_run import setup
from tests.support.gpu_run import gpu_run


@pytest.mark.parametrize(
    ("wheel", "package"),
    [
        ("nvidia_ml_py-13.580.82-py3-none-any.whl", "pynvml"),
        ("simpy-4.1.1-py3-none-any.whl", "simpy"),
        ("Pygments-2.19-x.whl", "pygments"),
    ],
)
def test_a_wheel_may_have_another_name_than_its_package(wheel: str, package: str) -> None:
    assert setup.package_of(wheel) == package


def test_a_missing_optional_package_is_reported_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = setup.importlib.util.find_spec
    monkeypatch.setattr(
        setup.importlib.util, "find_spec", lambda name: None if name == "pynvml" else find(name)
    )
    assert "pynvml" in setup.setup(gpu_run(tmp_path))["missing"]
