"""adadecode-sim account, on the committed recording of the demo model."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles.catalog.devices import TEMPLATE
from tests.support.paths import DEMO_PROFILE
from tests.support.sim_command import run, run_json

DESIGN = ("--heads", "3,7", "--gamma", "0.3")


def test_a_design_is_compared_with_vanilla(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "account", DEMO_PROFILE, *DESIGN, "--json")
    assert (
        document["design"],
        document["hypothetical"],
        document["energy"],
        document["measured_watts"],
    ) == (
        "adadecode 3/7 gamma 0.3",
        False,
        None,
        None,
    )
    flops = document["flops_per_token"]
    assert document["flops_over_vanilla"] == pytest.approx(
        flops["total"] / document["vanilla"]["flops_per_token"]
    )
    assert 0 < flops["discarded"] < flops["wasted"] < flops["useful"] < flops["total"]
    assert document["bytes_over_vanilla"] < 1 < document["flops_over_vanilla"]


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("account", DEMO_PROFILE, *DESIGN) == 0
    shown = capsys.readouterr().out
    assert all(
        word in shown
        for word in (
            "layers, positions dropped",
            "of which wasted",
            "over vanilla's",
            "MFLOP",
            "modelled branches",
        )
    )


def test_joules_are_given_for_a_device_whose_watts_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody measured the demo model on a GPU: from the datasheet, which a note mentions."""
    document = run_json(capsys, "account", DEMO_PROFILE, *DESIGN, "--to", "rtx-3060-8gb", "--json")
    assert (document["energy"]["device"], document["energy"]["basis"]) == (
        "rtx-3060-8gb",
        "datasheet",
    )
    joules = document["energy"]["joules"]
    assert 0 < joules["low"] < joules["middle"] < joules["high"]
    assert "nothing was measured" in " ".join(document["notes"])
    document = run_json(
        capsys, "account", DEMO_PROFILE, *DESIGN, "--to", "tpu-v4", "--dtype", "bf16", "--json"
    )
    assert document["energy"] is None
    assert "the watts of tpu-v4 are unknown" in document["notes"][0]


def test_another_model_with_as_many_layers_is_hypothetical(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = run_json(
        capsys, "account", DEMO_PROFILE, *DESIGN, "--model", "llama-3.2-1b", "--to", "l4", "--json"
    )
    assert (document["model"], document["hypothetical"]) == ("llama-3.2-1b", True)
    assert document["vanilla"]["flops_per_token"] == pytest.approx(2 * 1.24e9, rel=0.02)
    assert document["notes"][0].startswith("hypothetical: the text is of adadecode demo model")


def test_heads_of_the_trace_stand_elsewhere_in_a_deeper_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same exits in Llama-2-7B, whose heads weigh less beside its layers."""
    where = ("--model", "llama-2-7b", "--map", "3:6,7:14", "--heads", "6,14", "--gamma", "0.3")
    document = run_json(capsys, "account", DEMO_PROFILE, *where, "--to", "h100-sxm", "--json")
    assert (document["model"], document["hypothetical"], document["energy"]["basis"]) == (
        "llama-2-7b",
        True,
        "datasheet",
    )
    assert document["design"] == "adadecode 6/14 gamma 0.3"
    here = run_json(capsys, "account", DEMO_PROFILE, *DESIGN, "--json")
    assert document["bytes_over_vanilla"] < here["bytes_over_vanilla"]


def test_a_model_that_does_not_fit_has_no_joules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.toml").write_text(TEMPLATE.replace("memory_gib = 24", "memory_gib = 1"))
    assert (
        run("account", DEMO_PROFILE, "--model", "llama-3.2-1b", "--to", tmp_path / "small.toml")
        == 2
    )
    assert "llama-3.2-1b does not fit on my-gpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--model", "llama-2-7b"),
            "llama-2-7b has 32 layers, the trace 16: say where its heads would stand",
        ),
        (("--map", "3:6"), "name it with --model"),
        (("--heads", "99"), "depths 1..15, got [99]"),
        (("--from", "l4"), "take it with --to, and without --model"),
        (("--to", "gtx-1"), "no device 'gtx-1'"),
        (("--model", "llama-3.2-1b", "--to", "t4"), "t4 has no bf16 peak"),
        (("--dtype", "fp2"), "no dtype 'fp2'"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run("account", DEMO_PROFILE, *words) == 2
    assert message in capsys.readouterr().err
