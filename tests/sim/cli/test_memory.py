"""adadecode-sim memory: yes or no, with numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.paths import DEMO_PROFILE
from tests.support.sim_command import run, run_json


def test_every_named_device_gets_its_answer(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(
        capsys,
        "memory",
        "llama-3.1-8b",
        "--device",
        "rtx-3060-8gb",
        "--device",
        "l4",
        "--heads",
        "8,16,24",
        "--json",
    )
    assert [(one["device"], one["fits"]) for one in document["answers"]] == [
        ("rtx-3060-8gb", False),
        ("l4", True),
    ]
    assert all(
        one["heads"] == [8, 16, 24] and sum(one["bytes"].values()) == one["total_bytes"]
        for one in document["answers"]
    )


def test_a_no_is_an_answer_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("memory", "llama-3.1-8b", "--device", "rtx-3060-8gb", "--sequences", "2") == 0
    shown = capsys.readouterr().out
    assert "llama-3.1-8b in bf16: 2048 positions, 2048 filled at once, 2 sequences" in shown
    assert all(
        word in shown
        for word in ("weights", "activations", "reserve", "rtx-3060-8gb", "no", "int4")
    )


def test_the_format_of_a_recording_is_said_where_another_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The demo model is recorded in FP32, and counted as it would be served."""
    said = "recorded in fp32, counted in bf16: --dtype fp32 counts as recorded"
    words = ("memory", DEMO_PROFILE, "--device", "l4", "--context", "512")
    assert run(*words) == 0
    assert said in capsys.readouterr().out
    assert run(*words, "--dtype", "fp32") == 0
    assert "recorded in" not in capsys.readouterr().out


def test_a_config_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {
        "model_type": "llama",
        "num_hidden_layers": 4,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
    }
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"vocab_size": 100, "max_position_embeddings": 256})
    )
    document = run_json(
        capsys,
        "memory",
        tmp_path / "config.json",
        "--device",
        "l4",
        "--context",
        "200",
        "--prompt",
        "50",
        "--json",
    )
    assert document["answers"][0]["fits"]
    assert (document["answers"][0]["prompt"], document["answers"][0]["longest_context"]) == (
        50,
        256,
    )


def test_what_is_assumed_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(
        capsys,
        "memory",
        "llama-3.2-1b",
        "--device",
        "t4",
        "--reserve-gib",
        "0",
        "--usable",
        "1",
        "--json",
    )
    assert document["answers"][0]["bytes"]["reserve"] == 0
    assert document["answers"][0]["capacity_bytes"] == 16 * 2**30


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--heads", "8,99"), "wanted rising depths of 1..31"),
        (("--heads", "a"), "wanted --heads as whole numbers separated by commas"),
        (("--context", "200000"), "llama-3.1-8b has 131072 positions"),
        (("--dtype", "int2"), "wanted one of fp32, bf16"),
        (("--reserve-gib", "inf"), "wanted --reserve-gib"),
        (("--cap", "-1"), "wanted --cap"),
        (("--device", "gtx-1"), "no device 'gtx-1'"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run("memory", "llama-3.1-8b", "--device", "l4", *words) == 2
    assert message in capsys.readouterr().err
