"""``adadecode-sim serve``: many users on one deployment, from files and specifications."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adadecode.sim.cli import serve as command
from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim
from adadecode.sim.serving.served_run import run_server
from tests.sim.hardware.importers.test_llmservingsim import folder_of
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile

SPEC = "poisson:2,count=12,prompt=20,output=6"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("serve")
    import_llmservingsim(folder_of(place / "f"), place / "p")
    return place / "p"


def measured(place: Path, *, late: float = 0.0) -> list[Path]:
    """Write what a server measured of three requests, and the requests as they were sent."""
    rows: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []
    for number in range(3):
        start = 100.0 + number
        rows.append(
            {
                "request_id": f"r{number}",
                "input_toks": 40,
                "output_toks": 3,
                "arrival_time": 1e9,
                "queued_ts": start,
                "scheduled_ts": start + 1e-3,
                "first_token_ts": start + 0.03 + late,
                "last_token_ts": start + 0.08 + late,
            }
        )
        sent.append(
            {
                "input_toks": 40,
                "output_toks": 3,
                "arrival_time_ns": number * 10**9,
                "hash_ids": [1, 2],
            }
        )
    paths = [place / "requests.jsonl", place / "workload.jsonl"]
    for path, lines in zip(paths, (rows, sent), strict=True):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return paths


def test_drawn_requests_give_the_figures_of_a_run(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("serve", profile, "--arrivals", SPEC, "--seed", 3, "--kv-blocks", 200, "--json")
    found = run_json(capsys, *words, "--out", tmp_path / "out", "--slo", "ttft_p99=1s")
    assert found["requests"] == 12
    assert found["verdict"] == "stable"
    assert found["kv_blocks"] == 200
    assert found["goodput"]["share"] == 1.0
    assert set(found["ttft_s"]) == {"mean", "p50", "p90", "p95", "p99"}
    assert found["ttft_s"]["mean"] < found["e2e_s"]["mean"]
    assert json.loads((tmp_path / "out/result.json").read_text()) == found
    assert len(pd.read_csv(tmp_path / "out/requests.csv")) == 12
    assert len(pd.read_csv(tmp_path / "out/steps.csv")) == found["steps"]
    again = run_json(capsys, *words, "--slo", "ttft_p99=1s")
    assert again == found


def test_measured_requests_are_served_again_and_compared(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests, sent = measured(tmp_path)
    words = ("serve", profile, "--kv-blocks", 200, "--requests", requests)
    found = run_json(capsys, *words, "--sent", sent, "--against", requests, "--json")
    assert found["measured"]["ttft_s"]["mean"] == pytest.approx(0.03)
    ratio = found["ttft_s"]["mean"] / 0.03 - 1
    assert found["errors"]["ttft_s"]["mean"] == pytest.approx(ratio)
    # The first 32 of 40 tokens are the same in all three.
    assert found["cached_share"] == pytest.approx(64 / 120)
    plain = run_json(capsys, *words, "--json")
    assert plain["cached_share"] == 0
    assert run(*words, "--against", requests) == 0
    assert "simulated / measured - 1" in capsys.readouterr().out


def test_rows_that_are_no_answered_request_are_told(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "burst.csv"
    columns = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    rows = ["1,ChatGPT,20,4,24,API log", "2,GPT-4,30,0,30,API log", "3,GPT-4,30,5,35,API log"]
    trace.write_text(columns + "\n".join(rows) + "\n")
    words = ("serve", profile, "--requests", trace, "--kv-blocks", 200)
    found = run_json(capsys, *words, "--json")
    assert (found["requests"], found["left_out"]) == (2, 1)
    assert run(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "rows of the file that are no request that was answered, left out: 1" in said


def test_steps_are_kept_where_they_are_written(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    kept = []

    def keep(*args, **named):
        kept.append(run_server(*args, **named))
        return kept[-1]

    monkeypatch.setattr(command, "run_server", keep)
    words = ("serve", profile, "--arrivals", SPEC, "--kv-blocks", 200, "--json")
    run_json(capsys, *words)
    run_json(capsys, *words, "--out", tmp_path / "out")
    assert [len(one.load.steps) for one in kept] == [0, kept[1].load.n_steps]


def test_progress_is_shown_of_many_requests(
    profile: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MANY", 12)
    for extra, shown in (((), True), (("--json",), False)):
        assert run("serve", profile, "--arrivals", SPEC, "--kv-blocks", 200, *extra) == 0
        assert ("12 of 12 requests (100%)" in capsys.readouterr().err) is shown


def test_blocks_follow_from_memory_where_they_are_not_given(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(capsys, "serve", profile, "--arrivals", SPEC, "--json")
    assert 2000 < found["kv_blocks"] < 3000
    assert any("worked out from the device's memory" in one for one in found["notes"])


def test_a_datasheet_serves_on_replicas(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(
        capsys, "serve", "datasheet", "--to", "h100-sxm", "--model", "llama-3.1-8b", "--arrivals",
        "closed:4,count=12,prompt=20,output=6", "--replicas", 2, "--routing", "least-loaded",
        "--json",
    )  # fmt: skip
    assert found["basis"] == "datasheet"
    assert found["requests"] == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "either --requests FILE or --arrivals SPEC"),
        (["--arrivals", SPEC, "--requests", "x"], "either --requests FILE or --arrivals SPEC"),
        (["--arrivals", SPEC, "--sent", "x"], "--sent belongs to --requests"),
        (["--requests", "x", "--seed", "1"], "--seed belongs to --arrivals"),
        (["--arrivals", SPEC, "--routing", "x"], "round-robin, least-loaded"),
        (["--arrivals", SPEC, "--kv-blocks", "1"], "in [2, 1000000000]"),
        (["--arrivals", SPEC, "--block-size", "5000"], "in [1, 4096]"),
        (["--arrivals", "poisson:2,count=3,prompt=900,output=6", "--kv-blocks", "9"], "needs 57"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    profile: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("serve", profile, *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in " ".join(captured.err.split())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_profile(tmp_path_factory.mktemp("serve") / "r").path


EXITS = ("--arrivals", "closed:3,count=9,prompt=20,output=40", "--kv-blocks", 200, "--heads", "2,4")


def test_early_exits_give_the_figures_of_a_run_with_its_drafts(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("serve", recorded, *EXITS, "--policy", "adadecode", "--gamma", "0.6", "--cap", 3)
    found = run_json(capsys, *words, "--json", "--out", tmp_path / "out")
    assert found["requests"] == 9
    assert 1 < found["acceptance_length"] < 4
    assert 0 < found["acceptance_rate"] < 1
    assert found["policy"] == "adadecode 2/4 gamma 0.6 cap 3, order lockstep"
    steps = pd.read_csv(tmp_path / "out/steps.csv")
    assert len(steps) == found["steps"]
    assert set(steps["segment"]) == {0, 1, 2}
    assert run_json(capsys, *words, "--json") == found
    replicas = ("--replicas", 2, "--routing", "least-loaded", "--order", "worth")
    assert run(*words, *replicas) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "order worth" in said
    assert "tokens a verification" in said
    vanilla = run_json(capsys, "serve", recorded, *EXITS[:4], "--json")
    assert vanilla["policy"] == "vanilla"
    assert vanilla["acceptance_length"] is None


def test_texts_of_requests_in_a_file_are_drawn_with_a_seed(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "requests.csv"
    columns = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    trace.write_text(columns + "".join(f"{k},GPT-4,20,20,40,API log\n" for k in range(6)))
    words = ("serve", recorded, "--requests", trace, "--kv-blocks", 200)
    words = (*words, "--policy", "adadecode", "--gamma", "0.6", "--json")
    found = [run_json(capsys, *words, "--seed", seed) for seed in (0, 1, 0)]
    assert found[0] == found[2] == run_json(capsys, *words)
    assert found[0]["e2e_s"] != found[1]["e2e_s"]


def test_drafting_by_load_says_which_policy_is_better(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("serve", recorded, *EXITS, "--policy", "adaptive")
    found = run_json(capsys, *words, "--json")
    means = {name: one["e2e_s"]["mean"] for name, one in found["policies"].items()}
    assert set(means) == {"vanilla", "adadecode", "adaptive"}
    assert found["better"] == min(("vanilla", "adadecode"), key=lambda name: means[name])
    assert [one["sequences"] for one in found["drafting"]] == [2**k for k in range(9)]
    knows = "the rule of adaptive knows what heads say about the very requests that it serves"
    assert [one.startswith(knows) for one in found["notes"]].count(True) == 1
    assert run(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{found['better']} is the better of two" in said
    assert "by sequences that decode at once:" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--order", "worth"], "--order is of servers with early exits"),
        (["--policy", "vanilla", "--gamma", "0.5"], "--gamma is of servers with early exits"),
        (["--policy", "oracle"], "unknown policy 'oracle'"),
        (["--policy", "adadecode", "--order", "deep"], "the nearest are deepest"),
        (["--policy", "adadecode", "--heads", "3"], "no head at depth 3"),
        (["--policy", "adadecode", "--gate", "0.5"], "no gates in this recording"),
        (["--policy", "fixed"], "exactly one head"),
        (["--policy", "fixed", "--gamma", "0.5"], "--gamma is of policies that ask how sure"),
        (["--policy", "fixed", "--gate", "0.5"], "--gate is of policies that ask how sure"),
        (["--policy", "adadecode", "--age-limit", "3"], "orders largest and worth, and under lock"),
        (["--policy", "adaptive", "--age-limit", "3", "--order", "deepest"], "under deepest"),
        (["--policy", "adadecode", "--no-async"], "--no-async is of servers without early exits"),
        (["--policy", "fixed", "--no-prefix-caching"], "--no-prefix-caching is of servers without"),
        (["--policy", "adadecode", "--routing", "prefix-aware"], "--routing prefix-aware is of"),
    ],
)
def test_policies_that_make_no_sense_are_refused_in_one_line(
    recorded: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("serve", recorded, "--arrivals", SPEC, "--kv-blocks", 200, *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in " ".join(captured.err.split())


def test_latencies_without_a_text_ask_for_one(
    profile: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("serve", profile, "--arrivals", SPEC, "--kv-blocks", 200, "--policy", "adadecode")
    assert run(*words) == 2
    assert "name a recording or a synthetic trace with --trace" in capsys.readouterr().err
    assert run(*words, "--trace", recorded) == 2
    assert "--map 2:8,4:16,6:24" in " ".join(capsys.readouterr().err.split())
    found = run_json(capsys, *words, "--trace", recorded, "--map", "2:8,6:24", "--json")
    assert found["policy"].startswith("adadecode 8/24 gamma 0.75")
    assert any("a check of a head was not measured" in one for one in found["notes"])
