"""``adadecode-train``: exit codes, and what it says."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from adadecode.engine.cli import train
from adadecode.engine.cli.entry_points import train_main
from adadecode.engine.cli.errors import plain_errors
from adadecode.engine.cli.train import TrainedModel
from adadecode.engine.demo import DEMO
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.runtime.option_fields import from_settings
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.options import TrainingOptions
from adadecode.profiles.errors import HeadsError, InputError
from tests.support.held_folder import held_elsewhere
from tests.support.models import tiny_model
from tests.support.training_run import PROMPTS, interrupt, letter_tokenizer


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def checkpoint(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    letter_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def run(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """``adadecode-train`` with changed options, None leaves one out: exit code, stdout, stderr."""
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": prompt.text}) + "\n" for prompt in PROMPTS[:4])
    )
    good = {
        "model": checkpoint,
        "prompts": tmp_path / "prompts.jsonl",
        "out": tmp_path / "out",
        "device": "cpu",
    }
    good |= {"depths": "3", "max-new-tokens": 8, "epochs": 1}

    def call(*flags: str, **options: Any) -> tuple[int, str, str]:
        chosen = good | {name.replace("_", "-"): value for name, value in options.items()}
        words = [
            word
            for name, value in chosen.items()
            if value is not None
            for word in (f"--{name}", str(value))
        ]
        monkeypatch.setattr(sys, "argv", ["adadecode-train", *words, *flags])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            train_main()
        return (stop.value.code or 0, *capsys.readouterr())

    return call


def test_the_command_trains_and_says_what_it_measured(
    run: Run, model: PreTrainedModel, tmp_path: Path
) -> None:
    """Exit code 0, a table, and heads that load."""
    code, out, _ = run()
    assert code == 0
    assert "KL, trained" in out
    assert "heads at depths 3" in out
    assert ExitHeads.load(tmp_path / "out", model).depths == (3,)


def test_ctrl_c_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130 and the command to repeat, which then finishes."""
    with monkeypatch.context() as patch:
        interrupt(patch, BatchedGeneration, "continued", 0)
        code, _, err = run()
    assert code == 130
    assert (
        "what was finished is kept, and the same command goes on where it stopped: adadecode-train"
        in err
    )
    assert run()[0] == 0


def test_a_second_run_in_one_folder_is_refused_before_it_loads_anything(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first goes on, and then the same command gives its heads."""
    monkeypatch.setattr(train, "_load", lambda _: pytest.fail("it was loaded"))
    with held_elsewhere(tmp_path / "out"):
        code, _, err = run()
    assert code == 2
    assert f"another process is writing into {tmp_path / 'out'}: wait for it" in err


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "file"])
def test_an_out_that_is_no_directory_exits_with_2_and_is_left(
    run: Run, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_load", lambda _: pytest.fail("it was loaded"))
    place, kept = tmp_path / "out", tmp_path / "kept"
    {
        "link": lambda: (kept.mkdir(), place.symlink_to(kept)),
        "dangling": lambda: place.symlink_to(kept),
        "pipe": lambda: os.mkfifo(place),
        "file": lambda: place.write_text("kept"),
    }[kind]()
    code, _, err = run()
    assert (code, err.startswith("error: cannot write")) == (2, True), err
    assert kept.exists() == (kind == "link")


def test_prompts_from_a_pipe_are_refused_and_not_waited_for(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    code, _, err = run(prompts=tmp_path / "pipe.jsonl")
    assert (code, "pipe" in err) == (2, True), err


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without torch a command says what to install."""
    with pytest.raises(SystemExit) as stop, plain_errors():
        raise ModuleNotFoundError(name="torch.nn")
    assert stop.value.code == 2
    assert (
        capsys.readouterr().err
        == "error: torch.nn is not installed: pip install 'adadecode[engine]'\n"
    )


def test_ctrl_c_while_loading_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    """One line is printed, and no traceback."""
    with pytest.raises(SystemExit) as stop, plain_errors():
        raise KeyboardInterrupt
    assert stop.value.code == 130
    assert (
        capsys.readouterr().err == "interrupted: nothing was written; run the same command again\n"
    )


def test_a_module_missing_by_mistake_is_not_hidden() -> None:
    """Only what the extra installs is the user's to put right."""
    with pytest.raises(ModuleNotFoundError), plain_errors():
        raise ModuleNotFoundError(name="adadecode.engine.typo")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None}, "either --model NAME or --demo"),
        ({"model": "/nowhere/at/all"}, "no folder /nowhere/at/all"),
        ({"prompts": "/nowhere.txt"}, "no prompt file /nowhere.txt"),
        ({"dtype": "int3"}, "wanted --dtype as one of auto, float16"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"device": "mps"}, "unknown device 'mps'"),
        ({"depths": "six"}, "--depths such as 4,8,12"),
        ({"depths": "9"}, "got [9]"),
        ({"held_out": 0}, "--held-out"),
    ],
)
def test_what_a_user_can_put_right_exits_with_2(
    run: Run, options: dict[str, Any], message: str
) -> None:
    """One sentence on stderr, no traceback."""
    code, _, err = run(**options)
    assert code == 2
    assert err.splitlines()[-1].startswith("error: ")
    assert message in err


def test_model_and_demo_exclude_each_other(run: Run) -> None:
    """Exit code 2: it is one or the other."""
    code, _, err = run("--demo")
    assert code == 2
    assert "not both" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_gpu_exits_with_2(run: Run) -> None:
    """The message says what to use."""
    code, _, err = run(device="cuda")
    assert code == 2
    assert "CUDA devices on this machine: use --device cpu" in err


def test_other_settings_in_the_folder_exit_with_2(run: Run) -> None:
    """The difference is named."""
    run()
    code, _, err = run(epochs=2)
    assert code == 2
    assert "epochs was 1, is now 2" in err


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _torn(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"torn")


def _without_a_matrix(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("lm_head.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("tokenizer.json"), "no tokenizer for"),
        (_without("config.json"), "cannot be loaded"),
        (_without("model.safetensors"), "cannot be loaded"),
        (_torn, "is damaged: copy it again"),
        (_without_a_matrix, "lacks weights that its model has (lm_head.weight)"),
    ],
)
def test_a_damaged_checkpoint_exits_with_2(
    run: Run, checkpoint: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    """Incomplete or torn, it is never trained on with random weights in place."""
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    damage(broken)
    code, _, err = run(model=broken)
    assert code == 2
    assert message in err


def test_depths_are_read_from_a_list_or_all() -> None:
    """They may come in any order; without any, the default holds."""

    def depths(text: str, n_layers: int) -> tuple[int, ...]:
        return from_settings(TrainingOptions, {"depths": text}).depths_in(n_layers)

    assert depths("8, 4,12", 16) == (4, 8, 12)
    assert depths("all", 5) == (1, 2, 3, 4)
    assert depths("", 16) == (4, 8, 12)
    with pytest.raises(InputError, match="got '4;8'"):
        depths("4;8", 16)
    with pytest.raises(HeadsError, match=r"from 1 to 15, each once .*, got \[4, 4, 8\]"):
        depths("8,4,4", 16)


def test_it_says_before_it_begins_how_long_it_takes(run: Run) -> None:
    """And how much disk it needs; not again where the texts are there."""
    code, _, err = run("--keep-cache")
    assert code == 0
    assert "at most 32 tokens take about" in err
    assert err.index("at most 32 tokens") < err.index("greedy continuations: 4 of 4 (100%)")
    assert "GB of disk at most, and the closed form" in err


def test_a_model_has_the_name_that_it_is_loaded_by_and_called() -> None:
    """That of the demo model is said in one place."""
    assert TrainedModel(model="smollm2").name == TrainedModel(model="smollm2").called == "smollm2"
    demo = TrainedModel(demo=True)
    assert (demo.name, demo.called) == (DEMO.model, DEMO.called)


def test_an_estimate_trains_nothing(run: Run, tmp_path: Path) -> None:
    """It needs neither the weights of the model nor the device."""
    code, out, _ = run(model="llama-3.1-8b", estimate="h100-sxm", depths="8,16")
    assert code == 0
    assert "greedy continuations" in out
    assert "at least" in out
    said = " ".join(out.split())
    assert "fewer positions than the 4096 that determine the closed form" in said
    assert not (tmp_path / "out").exists()
    code, _, err = run(model="llama-3.1-8b", estimate="h9000")
    assert (code, "h9000" in err) == (2, True)


def test_texts_of_an_earlier_run_are_used_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other depths and epochs, in another folder."""
    assert run()[0] == 0
    monkeypatch.setattr(
        BatchedGeneration, "continued", lambda *_: pytest.fail("a text was made again")
    )
    code, out, err = run(out=tmp_path / "other", reuse=tmp_path / "out", depths="2,4", epochs=2)
    assert code == 0, err
    assert "heads at depths 2, 4" in out


def test_a_folder_without_continuations_is_no_earlier_run(run: Run, tmp_path: Path) -> None:
    code, _, err = run(reuse=tmp_path)
    assert code == 2
    assert "holds no continuations.jsonl: name another" in err
