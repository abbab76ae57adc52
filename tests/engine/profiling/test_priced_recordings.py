"""A recording of any architecture that is served is shaped, accounted for, carried and swept."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.profiling.recorder import record_plan
from adadecode.profiles import plausibility
from adadecode.profiles.catalog.recorded import recorded_shape
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from tests.support.every_model import LAYERS, small_model
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.paths import ROOT
from tests.support.quick import quick_or_slow
from tests.support.sim_command import run, run_json

_LISTED = json.loads((ROOT / "benchmarks" / "results" / "architectures.json").read_text("utf-8"))
SERVED = [name for name, one in _LISTED["architectures"].items() if one["kind"] == "served"]
QUICK = ("afmoe", "deepseek_v3", "gpt_oss", "jetmoe", "opt", "whisper")
"""Of windows, experts, latent attention, shared experts, and weights that are never read."""
_GOLDEN = ROOT / "tests" / "integration" / "golden"
MADE_ON, CPU, TO = ("--from", _GOLDEN / "this_cpu.toml"), _GOLDEN / "other_cpu.toml", "h100-sxm"


def record(name: str, folder: Path) -> Profile:
    """Return the shortest recording of a small model: one prompt, four tokens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what small models make ``transformers`` say
        model = small_model(name)
        model.generation_config.eos_token_id = model.config.eos_token_id = None  # texts go on
        decoder = AdaDecoder(model, ExitHeads.identity(model, (1, 2)))
        plan = RecordingPlan(
            prompts=(Prompt(text="a", domain="x"),),
            encoded=((5, 6, 7),),
            designs=(Design.of("vanilla"), Design.of(gamma=0.05, placement=(2,))),
            contexts=(4, 9),
            walks=(LAYERS,),
            max_tokens=6,
            max_new_tokens=4,
            repeats=1,
            samples=1,
            floor=0.9,
            seed=0,
            settings={"model": name, "heads": "identity", "shortlist_from": None},
        )
        return record_plan(decoder, plan, folder / name, resume=False)


def weights_of(model: torch.nn.Module) -> int:
    """Return the number of a model's parameters, each counted once."""
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", [quick_or_slow(name, quick=QUICK, id=name) for name in SERVED])
def test_a_recording_of_a_served_architecture_is_priced(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # To verify 97 tokens takes no time, and to embed by a model's own forward pass does.
    monkeypatch.setattr(plausibility, "SWAPPED_OF_FEW", 1000.0)
    profile = record(name, tmp_path)
    shape = recorded_shape(profile.manifest)
    assert shape.total_parameters == weights_of(small_model(name))
    assert all(layer.parameters and layer.cache for layer in shape.each_layer)

    account = run_json(capsys, "account", profile.path, "--heads", "2", "--to", TO, "--json")
    assert_positive(account["flops_per_token"]["total"], account["bytes_per_token"]["total"])
    at = ("--heads", "2", "--gamma", "0.5")
    carried = run_json(capsys, "predict", profile.path, *MADE_ON, "--to", CPU, *at, "--json")
    assert carried["basis"] == "carried"
    guessed = run_json(capsys, "predict", profile.path, "--to", TO, *at, "--json")
    assert guessed["basis"] == "datasheet"
    space = ("--max-heads", "1", "--gammas", "0.5", "--out", tmp_path / "swept")
    assert run("sweep", profile.path, *MADE_ON, "--devices", f"{TO},l4", *space, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert all(device in json.dumps(found) for device in (TO, "l4"))
    short = ("--context", "64", "--dtype", "fp32")
    answer = run_json(capsys, "memory", profile.path, "--device", TO, *short, "--json")
    assert answer["model"] == name
    assert answer["answers"][0]["bytes"]["weights"] == 4 * shape.total_parameters


def assert_positive(*numbers: Any) -> None:
    """Check that there is something of each."""
    assert all(number > 0 for number in numbers)
