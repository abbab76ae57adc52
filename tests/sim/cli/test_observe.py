"""``adadecode-sim observe``: a load at a small server, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adadecode.sim.cli import observe as command
from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim
from adadecode.sim.serving.observing.run_files import REQUESTS, UNFINISHED
from tests.sim.hardware.importers.test_llmservingsim import folder_of
from tests.support.openai_server import openai_server
from tests.support.sim_command import run, run_json

pytest.importorskip("httpx", reason="sends requests: install the extra 'observe'")

SPEC = "closed:2,count=6,prompt=20,output=4"


def test_a_simulation_is_held_against_what_was_observed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_llmservingsim(folder_of(tmp_path / "f"), tmp_path / "p")
    out = tmp_path / "out"
    with openai_server(does=("good", "good", "503"), gap_s=0.002) as server:
        assert run("observe", server.url, "--arrivals", SPEC, "--out", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sent"], found["requests"], found["failures"]) == (6, 4, {"status 503": 2})
    assert found["model"] == "tiny"
    assert found == json.loads((out / "result.json").read_text())
    path = out / REQUESTS
    words = ("serve", tmp_path / "p", "--kv-blocks", 200, "--requests", path, "--against", path)
    simulated = run_json(capsys, *words, "--json")
    assert simulated["left_out"] == 2
    for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        assert simulated["measured"][name] == pytest.approx(found[name], rel=1e-6)
        assert set(simulated["errors"][name]) == {"mean", "p50", "p90", "p95", "p99"}


def test_people_get_a_table_and_what_makes_it_doubtful(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("some words\n")
    words = ("--arrivals", "closed:2,count=6,output=4", "--prompts", prompts)
    with openai_server(does=("good", "cut"), gap_s=0.001) as server:
        assert run("observe", server.url, *words, "--out", tmp_path / "o") == 0
        assert {body["prompt"] for _, _, body in server.asked} == {"some words"}
    captured = capsys.readouterr()
    assert "answered by tiny" in captured.out
    assert "failed, and left out: closed 3" in captured.out
    assert "requests" in captured.err


def test_a_file_of_requests_is_sent_faster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,5,3\n0.4,7,2\n9,5,5\n")
    words = ("--requests", trace, "--first", 2, "--rate-scale", 10, "--max-tokens", 2)
    with openai_server() as server:
        found = run_json_lines(capsys, server.url, *words, "--out", tmp_path / "o")
        sent = [(len(body["prompt"].split()), body["max_tokens"]) for _, _, body in server.asked]
    assert found["requests"] == 2
    assert sent == [(5, 2), (7, 2)]


def run_json_lines(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """Return the document; progress is on stderr."""
    assert run("observe", *words, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_an_interrupted_run_keeps_what_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = command.send

    def interrupted(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "send", interrupted)
    out = tmp_path / "out"
    with openai_server() as server:
        assert run("observe", server.url, "--arrivals", SPEC, "--out", out) == 130
        kept = capsys.readouterr().err.splitlines()[-1]
        assert kept == f"interrupted: 6 of 6 requests ended, and are kept in {out / UNFINISHED}"
        assert [one.name for one in out.iterdir()] == [UNFINISHED]
        assert run("observe", server.url, "--arrivals", SPEC, "--out", out) == 2
    assert "not an empty directory" in capsys.readouterr().err


def test_a_key_is_taken_from_the_environment_and_written_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret\n")
    out = tmp_path / "out"
    words = ("--arrivals", SPEC, "--api-key-env", "MY_KEY", "--out", out)
    with openai_server() as server:
        assert run("observe", server.url, *words) == 0
        assert {headers["authorization"] for _, headers, _ in server.asked} == {"Bearer s3cret"}
    captured = capsys.readouterr()
    texts = [captured.out, captured.err, *(one.read_text() for one in out.iterdir())]
    assert not any("s3cret" in text for text in texts)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "either --arrivals SPEC or --requests FILE"),
        (["--arrivals", SPEC, "--requests", "x"], "either --arrivals SPEC or --requests FILE"),
        (["--arrivals", SPEC, "--first", "2"], "belong to --requests"),
        (["--arrivals", "closed:2,count=6,output=4"], "how long requests are"),
        (["--arrivals", SPEC, "--body", "[1]"], "as an object of JSON"),
        (["--arrivals", SPEC, "--body", '{"a":'], "JSON"),
        (["--arrivals", SPEC, "--body", '{"x": NaN}'], "with finite numbers"),
        (["--arrivals", SPEC, "--body", '{"x": 1e999}'], "with finite numbers"),
        (["--arrivals", SPEC, "--api-key-env", "NO_SUCH_KEY"], "got nothing"),
        (["--arrivals", SPEC, "--prompts", "no-such-file"], "no prompt file"),
        (["--arrivals", SPEC], "got no connection"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("observe", "127.0.0.1:1", *words, "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


def test_a_run_in_which_all_failed_ends_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with openai_server(does=("429",)) as server:
        assert run("observe", server.url, "--arrivals", SPEC, "--out", tmp_path / "out") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "all 6 requests failed, 6 of them with 'status 429'" in last
    assert not (tmp_path / "out").exists()


def test_a_host_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("http://☃.example", "--arrivals", SPEC, "--out", tmp_path / "out")
    assert run("observe", *words) == 2
    (line,) = " ".join(capsys.readouterr().err.split()).split("\n")
    assert "whose host has a name that no host can have" in line
    assert "Traceback" not in line
