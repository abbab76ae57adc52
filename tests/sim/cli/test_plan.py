"""``adadecode-sim plan``: the smallest deployments, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.support.paths import ROOT, SHARED_DATA
from tests.support.sim_command import run, run_json

LOAD = "poisson:6,count=60,prompt=500,output=20..60"
WORDS = ("plan", "datasheet", "--model", "llama-3.1-8b", "--slo", "ttft_p99=1s,tpot_p99=60ms")


def test_each_device_gets_the_fewest_servers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("a100-80gb-sxm = 1.5\nh100-sxm = 3\n")
    words = (*WORDS, "--devices", "a100-80gb-sxm,h100-sxm", "--price", prices, "--arrivals", LOAD)
    out = tmp_path / "out"
    found = run_json(capsys, *words, "--seeds", 3, "--out", out, "--json")
    assert [one["device"] for one in found["deployments"]] == ["a100-80gb-sxm", "h100-sxm"]
    for one in found["deployments"]:
        assert one["meets"]
        assert one["replicas"] == one["devices"] >= 1
        assert one["cost_per_million_output_tokens"] > 0
    slow, fast = found["deployments"]
    assert slow["replicas"] >= fast["replicas"]
    assert slow["cost_per_hour"] == 1.5 * slow["replicas"]
    assert found["cheapest"] in {"a100-80gb-sxm", "h100-sxm"}
    assert json.loads((out / "plan.json").read_text()) == found
    assert len(pd.read_csv(out / "trials.csv")) == sum(
        len(one["trials"]) for one in found["deployments"]
    )


def test_people_get_a_row_for_each_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*WORDS, "--devices", "a100-80gb-sxm", "--arrivals", LOAD, "--seeds", 1) == 0
    captured = capsys.readouterr()
    assert "a100-80gb-sxm: trying 1 servers" in captured.err
    assert captured.out.startswith("60 requests, ")
    assert "one less" in captured.out
    assert "not sure: more seeds may turn the answer" in captured.out
    assert "nothing was measured" in captured.out


def test_an_objective_that_nothing_meets_says_by_how_much(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["plan", "datasheet", "--model", "llama-3.1-8b", "--devices", "a100-80gb-sxm"]
    words += ["--slo", "tpot_mean=1ms", "--max-replicas", "2", "--arrivals", LOAD]
    assert run(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ">2" in said
    assert "no number of servers meets tpot_mean, which even a request that has a server" in said
    words[words.index("tpot_mean=1ms")] = "ttft_p99=60ms"
    words[-1] = "poisson:60,count=60,prompt=500,output=20..60"
    assert run(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 servers miss ttft_p99 by" in said


def test_a_policy_of_early_exits_is_planned_beside_vanilla(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", ROOT / "profiles/recorded/demo-cpu", "--kv-blocks", 200, "--seeds", 1]
    words += ["--arrivals", "poisson:20,count=30,prompt=60,output=20", "--slo", "e2e_p90=1s"]
    words += ["--policy", "adadecode", "--gamma", 0.6]
    found = run_json(capsys, *words, "--json", "--out", tmp_path / "out")
    vanilla, exits = found["deployments"]
    assert vanilla["policy"] == "vanilla"
    assert exits["policy"].startswith("adadecode")
    assert vanilla["device"] == exits["device"]
    assert (tmp_path / "out/trials.csv").read_text().count("adadecode") == len(exits["trials"])
    assert run(*words, "--no-async", "--routing", "prefix-aware") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "adadecode" in said
    assert "so that requests go to the least loaded server: vanilla has prefix caching" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--arrivals", "posson:5"), "which is neither: check the name"),
        (("--arrivals", LOAD, "--slo", "ttft=2s"), "wanted objectives like"),
        (("--arrivals", LOAD, "--first", "3"), "wanted a file to take a part of"),
        (("--arrivals", LOAD, "--routing", "luck"), "wanted a routing of round-robin"),
        (("--arrivals", LOAD, "--price", "PRICES"), "has no price of h100-sxm: add it"),
        (("--arrivals", LOAD, "--kv-blocks", "3"), "blocks"),
        (("--arrivals", LOAD, "--gamma", "0.6"), "--gamma is of servers with early exits"),
        (("--arrivals", LOAD, "--policy", "adadecode"), "name a recording or a synthetic trace"),
        (("--arrivals", LOAD, "--kv-blocks", 10**10), "in [2, 1000000000]"),
        (
            ("--arrivals", "poisson:1,count=3,prompt=131072,output=6"),
            "has 131,072 positions, got request 0 of 131,078",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("a100-80gb-sxm = 1.5\n")
    typed = [str(prices) if word == "PRICES" else word for word in words]
    assert run(*WORDS, "--devices", "a100-80gb-sxm,h100-sxm", *typed) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["code", "conv"])
def test_the_azure_traces_are_planned(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = SHARED_DATA / "azure" / f"AzureLLMInferenceTrace_{name}.csv"
    if not path.exists():
        pytest.skip(f"no {path.name} beside this checkout")
    words = ("--devices", "a100-80gb-sxm,h100-sxm", "--arrivals", path, "--first", 3000)
    found = run_json(capsys, *WORDS, *words, "--json")
    assert all(one["meets"] for one in found["deployments"])
