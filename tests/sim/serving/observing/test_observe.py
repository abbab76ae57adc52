"""A load at a small server: what is recorded, and what each failure becomes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.errors import InputError, PromptError
from adadecode.sim.serving.metrics import measure
from adadecode.sim.serving.metrics.request_times import e2e_s
from adadecode.sim.serving.observing import client
from adadecode.sim.serving.observing.endpoint import Endpoint
from adadecode.sim.serving.observing.observe import Observation, observe
from adadecode.sim.serving.observing.observed_request import ObservedRequest
from adadecode.sim.serving.observing.prompt_texts import drawn_texts, texts_of_file
from adadecode.sim.serving.observing.run_files import REQUESTS, UNFINISHED, RunFiles
from adadecode.sim.serving.workloads import arrivals, read_served, read_workload
from tests.support.openai_server import OpenAiServer, openai_server
from tests.support.serving import request

pytest.importorskip("httpx", reason="sends requests: install the extra 'observe'")

ONE_BY_ONE = "closed:1,prompt=3,output=4"


def observed(server: OpenAiServer, spec: str, **options: Any) -> Observation:
    found = Observation()
    path = options.pop("path", "")
    observe(Endpoint.parse(server.url + path), arrivals(spec), found, **options)
    return found


@pytest.mark.parametrize("path", ["", "/v1/chat/completions"])
def test_every_time_of_a_good_answer_is_recorded(path: str) -> None:
    with openai_server(gap_s=0.01) as server:
        found = observed(server, "poisson:200,count=5,prompt=3,output=4", path=path)
    assert found.model == "tiny"
    assert sorted(one.name for one in found.requests) == list("01234")
    for one in found.requests:
        assert one.failure is None
        assert (one.n_prompt, one.n_output) == (5, 4)  # as the server counts
        assert len(one.chunk_ns) == 4
        times = [one.due_ns, one.sent_ns, *one.chunk_ns, one.end_ns]
        assert times == sorted(times)
        assert one.chunk_ns[-1] - one.sent_ns >= 4 * 10**7
    starts = [one.sent_ns for one in sorted(found.requests, key=lambda one: one.number)]
    due = arrivals("poisson:200,count=5,prompt=3,output=4").requests
    assert starts[-1] - starts[0] >= 1e9 * (due[-1].arrival_s - due[0].arrival_s) - 10**7


@pytest.mark.parametrize("what", ["split", "burst"])
def test_however_events_come_the_answer_is_the_same(what: str) -> None:
    with openai_server(does=(what,), gap_s=0.01) as server:
        (one,) = observed(server, f"{ONE_BY_ONE},count=1").requests
    assert one.failure is None
    assert one.n_output == 4
    if what == "burst":  # two tokens at once are one moment
        assert len(one.chunk_ns) == 3


FAILURES: Mapping[str, str] = {
    "429": "status 429",
    "500": "status 500",
    "whole": "not streamed",
    "dropped": "closed",
    "cut": "closed",
    "unfinished": "closed",
    "stuck": "timeout",
    "malformed": "malformed",
    "strange": "malformed",
    "garbled": "malformed",
    "sorry": "server error",
    "silent": "no tokens",
    "uncounted": "no usage",
}


def test_every_failure_is_recorded_and_the_others_go_on() -> None:
    does = [one for what in FAILURES for one in (what, "good")]
    with openai_server(does=does) as server:
        found = observed(server, f"{ONE_BY_ONE},count={len(does)}", timeout_s=0.5)
    ordered = sorted(found.requests, key=lambda one: one.number)
    names = [None if one.failure is None else one.failure.name for one in ordered]
    assert names == [one for name in FAILURES.values() for one in (name, None)]
    assert sum(found.failures.values()) == len(FAILURES)
    assert len(found.answered) == len(FAILURES)
    words = {one.failure.name: one.failure.words for one in ordered if one.failure is not None}
    assert "come back" in words["status 429"]
    assert "\x1b" not in words["status 429"]
    assert "out of memory" in words["server error"]


def test_a_server_that_is_not_there_is_told_before_anything_is_sent() -> None:
    found = Observation()
    with openai_server() as server:
        url = server.url
    with pytest.raises(InputError, match="got no connection"):
        observe(Endpoint.parse(url), arrivals(f"{ONE_BY_ONE},count=1"), found, model="m")
    assert not found.requests


def test_a_server_that_ends_in_mid_run_is_recorded() -> None:
    found, load = Observation(), arrivals("constant:20,count=12,prompt=3,output=4")
    with openai_server() as server:

        def report(done: int, _count: int) -> None:
            if done == 3:
                server.stop()

        observe(Endpoint.parse(server.url), load, found, report=report)
    assert len(found.requests) == 12
    assert found.answered
    assert set(found.failures) <= {"unreachable", "closed"}
    assert found.failures["unreachable"]


def test_at_most_so_many_are_in_flight() -> None:
    with openai_server(gap_s=0.005) as server:
        found = observed(server, "poisson:5000,count=12,prompt=3,output=4", concurrency=3)
        assert server.together == 3
    assert len(found.answered) == 12
    assert found.late > 0
    with openai_server(gap_s=0.005) as server:
        observed(server, "closed:4,count=12,prompt=3,output=4")
        assert server.together == 4


def test_a_seed_sends_the_same_prompts_and_another_one_others() -> None:
    bodies = []
    for seed in (3, 3, 4):
        with openai_server() as server:
            observed(server, f"{ONE_BY_ONE},count=3", texts=drawn_texts(seed))
            bodies.append([body for _, _, body in server.asked])
    assert bodies[0] == bodies[1] != bodies[2]
    prompts = [body["prompt"] for body in bodies[0]]
    assert len(set(prompts)) == 3
    assert {len(one.split()) for one in prompts} == {3}


def test_what_is_asked_is_what_was_wanted() -> None:
    with openai_server() as server:
        observed(
            server,
            f"{ONE_BY_ONE},count=1",
            model="other",
            key="s3cret",
            most_tokens=2,
            more={"ignore_eos": True},
            texts=lambda _number, _request: "hello",
        )
    ((path, headers, body),) = server.asked
    assert path == "/v1/completions"
    assert headers["authorization"] == "Bearer s3cret"
    assert body["model"] == "other"
    assert (body["prompt"], body["max_tokens"], body["ignore_eos"]) == ("hello", 2, True)
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("models", [None, (), ("a", "b")])
def test_a_model_is_asked_for_where_the_server_has_not_one_alone(models: Any) -> None:
    with openai_server(models=models) as server, pytest.raises(InputError, match="--model"):
        observed(server, f"{ONE_BY_ONE},count=1")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "got status 401: give a key that it takes with --api-key-env, or name one with"),
        (500, "got status 500: name one with --model"),
        (0, "got no answer in 0.3 s: name one with --model"),
    ],
)
def test_why_no_model_is_known_is_told(
    monkeypatch: pytest.MonkeyPatch, status: int, message: str
) -> None:
    monkeypatch.setattr(client, "PROBE_S", 0.3)
    with (
        openai_server(models=None, list_status=status) as server,
        pytest.raises(InputError, match=message),
    ):
        observed(server, f"{ONE_BY_ONE},count=1")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_body_of_no_json_is_refused_before_anything_is_sent(number: float) -> None:
    with openai_server() as server, pytest.raises(InputError, match="finite numbers"):
        observed(server, f"{ONE_BY_ONE},count=1", more={"x": [number]})
    assert not server.asked


@pytest.mark.parametrize(("n_output", "last_s"), [(1, 0.25), (2, 0.75)])
def test_one_token_in_several_pieces_ends_with_the_first(
    tmp_path: Path, n_output: int, last_s: float
) -> None:
    """In the figures, in the file, and in what is read from it again."""
    one = ObservedRequest(
        name="a", number=0, due_ns=0, sent_ns=10**9, end_ns=2 * 10**9,
        chunk_ns=(1_250_000_000, 1_750_000_000), n_prompt=3, n_output=n_output,
    )  # fmt: skip
    assert e2e_s(one.served(one.sent_ns)) == pytest.approx(last_s)
    metrics = json.loads(one.line())["metrics"]
    assert metrics["time_to_first_token"]["value"] == pytest.approx(250)
    assert metrics["request_latency"]["value"] == pytest.approx(1e3 * last_s)
    assert ("inter_chunk_latency" in metrics) == (n_output > 1)
    path = tmp_path / REQUESTS
    path.write_text(one.line())
    assert e2e_s(read_served(path)[0]) == pytest.approx(last_s)


def test_the_file_says_of_answered_requests_what_was_observed(tmp_path: Path) -> None:
    """What `serve --against` reads is what came."""
    does = ("good", "500", "burst", "good")
    with openai_server(does=does, gap_s=0.002) as server:
        found = observed(server, f"{ONE_BY_ONE},count=8")
    metrics, document = RunFiles(tmp_path, found, {"url": "x"}).finish()
    path = tmp_path / REQUESTS
    served = read_served(path)
    assert len(served) == 6
    again = measure(served)
    for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        ours, theirs = getattr(metrics, name).to_json(), getattr(again, name).to_json()
        assert ours == pytest.approx(theirs, rel=1e-6), name
    assert read_workload(path).left_out == 2
    assert document["failures"] == {"status 500": 2}
    assert json.loads((tmp_path / "result.json").read_text()) == document
    first = json.loads(path.read_text().splitlines()[0])
    assert first["metadata"]["request_start_ns"] >= first["metadata"]["due_ns"]


def test_what_is_unfinished_is_taken_for_no_measurement(tmp_path: Path) -> None:
    with openai_server() as server:
        found = observed(server, f"{ONE_BY_ONE},count=2")
        files = RunFiles(tmp_path, found, {"url": "x"})
        files.keep()
        observe(
            Endpoint.parse(server.url), arrivals(f"{ONE_BY_ONE},count=1"), found, keep=files.keep
        )
    files.keep()
    unfinished = tmp_path / UNFINISHED
    assert len(unfinished.read_text().splitlines()) == 1 + 3
    for read in (read_served, read_workload):
        with pytest.raises(InputError):
            read(unfinished)
    files.finish()
    assert sorted(one.name for one in tmp_path.iterdir()) == [REQUESTS, "result.json"]
    files.keep()
    assert not unfinished.exists()


def test_a_run_in_which_all_failed_says_why_and_writes_nothing(tmp_path: Path) -> None:
    with openai_server(does=("429", "500", "500")) as server:
        found = observed(server, f"{ONE_BY_ONE},count=6")
    files = RunFiles(tmp_path / "out", found, {})
    files.keep()
    with pytest.raises(InputError, match="all 6 requests failed, 4 of them with 'status 500'"):
        files.finish()
    assert not (tmp_path / "out").exists()


def test_prompts_of_a_file_come_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("one\n\ntwo words\n")
    text = texts_of_file(path)
    assert [text(number, request("a")) for number in range(3)] == ["one", "two words", "one"]
    path.write_text('{"prompt": "one"}\n{"text": "two"}\n')
    with pytest.raises(PromptError, match="line 2"):
        texts_of_file(path)
    path.write_text("\n")
    with pytest.raises(PromptError, match="no prompts"):
        texts_of_file(path)
    with pytest.raises(PromptError, match="no prompt file"):
        texts_of_file(tmp_path / "none")
