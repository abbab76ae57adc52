"""A load that a user typed: a file or a specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads import Selection, arrivals
from adadecode.sim.serving.workloads.load import find_load

SPEC = "poisson:5,count=9,prompt=5,output=5"


def test_a_specification_is_drawn_anew_for_every_seed() -> None:
    load = find_load(SPEC, seed=3)
    assert not load.recorded
    assert load.workload(0).requests == arrivals(SPEC, seed=3).requests
    assert load.workload(1).requests == arrivals(SPEC, seed=4).requests
    within = find_load(f"{SPEC},seed=3")
    assert within.workload(1).requests == arrivals(SPEC, seed=4).requests


def test_a_file_is_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,2\n1,3,4\n")
    load = find_load(str(path), selection=Selection(first=1))
    assert load.recorded
    assert load.workload(0) is load.workload(5)
    assert len(load.workload(0).requests) == 1


def test_what_is_neither_is_refused() -> None:
    with pytest.raises(InputError, match=r"got 'posson:5', which is neither: check the name"):
        find_load("posson:5")
    with pytest.raises(InputError, match=r"wanted a file to take a part of, got the arrivals"):
        find_load(SPEC, selection=Selection(first=1))
    with pytest.raises(InputError, match=r"add count=1000"):
        find_load("poisson:5,prompt=5,output=5")
