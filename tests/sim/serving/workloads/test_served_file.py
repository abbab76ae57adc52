"""What a real server did with each request, as benchmarks recorded it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads import read_served
from tests.support.paths import SHARED_DATA

VLLM = SHARED_DATA / "llmservingsim/RTX4090/Llama-3.1-8B/vllm"

MEASURED = [
    {
        "request_id": "bench-0", "input_toks": 35, "output_toks": 5, "arrival_time": 1.7e9,
        "queued_ts": 100.5, "scheduled_ts": 100.75, "first_token_ts": 101.0, "last_token_ts": 103.0,
    },
    {
        "request_id": "bench-1", "input_toks": 33, "output_toks": 1, "arrival_time": 1.7e9,
        "queued_ts": 100.0, "scheduled_ts": 100.0, "first_token_ts": 100.5, "last_token_ts": 100.5,
    },
]  # fmt: skip
SENT = """{"input_toks": 35, "output_toks": 5, "arrival_time_ns": 1, "hash_ids": [4, 5]}
{"input_toks": 33, "output_toks": 1, "arrival_time_ns": 2, "hash_ids": [4, 6]}
"""


def lines(items: list[dict[str, object]]) -> str:
    return "".join(f"{json.dumps(one)}\n" for one in items)


def test_times_are_counted_from_the_first_request_that_was_queued(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(lines(MEASURED))
    first, second = read_served(path)
    assert (first.request.name, first.request.arrival_s, first.scheduled_s) == ("bench-1", 0, 0)
    assert first.token_s == (0.5,)
    assert (second.request.arrival_s, second.scheduled_s) == (0.5, 0.75)
    assert second.token_s == (1, 3)
    assert (second.request.n_prompt, second.request.n_output) == (35, 5)


def test_the_workload_that_was_sent_gives_the_blocks(tmp_path: Path) -> None:
    path, sent = tmp_path / "requests.jsonl", tmp_path / "workload.jsonl"
    path.write_text(lines(MEASURED))
    sent.write_text(SENT)
    assert [one.request.blocks for one in read_served(path, workload=sent)] == [(4, 6), (4, 5)]
    sent.write_text(SENT.splitlines()[0])
    with pytest.raises(InputError, match=r"wanted the same requests in .*, got 2 and 1: give"):
        read_served(path, workload=sent)
    sent.write_text(SENT.replace("33", "34"))
    with pytest.raises(InputError, match="got prompts of 33 and 34 tokens as request 2"):
        read_served(path, workload=sent)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"scheduled_ts": 100.75', '"scheduled_ts": 99.0', "times that rise in line 1"),
        ('"last_token_ts": 103.0', '"last_token_ts": 100.9', "times that rise in line 1"),
        ('"first_token_ts": 101.0', '"first_token_ts": null', "the first and the last token in li"),
        (', "last_token_ts": 103.0', "", "line 1 of .* lacks last_token_ts"),
        ('"queued_ts": 100.5', '"queued_ts": NaN', "an arrival in seconds, got no number in line"),
        ('"output_toks": 5', '"output_toks": 0', "tokens of the output .* got 0 in line 1"),
    ],
)
def test_impossible_times_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "requests.jsonl"
    assert old in lines(MEASURED)
    path.write_text(lines(MEASURED).replace(old, new))
    with pytest.raises(InputError, match=message):
        read_served(path)


def test_a_trace_was_served_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "workload.jsonl"
    path.write_text(SENT)
    with pytest.raises(InputError, match="wanted what a server measured in"):
        read_served(path)


def test_aiperf_gives_the_time_of_every_chunk(tmp_path: Path) -> None:
    """Without chunks the last token came at the end; without streaming nobody knows the first."""
    path = tmp_path / "profile_export.jsonl"
    metrics = {
        "input_sequence_length": {"value": 550, "unit": "tokens"},
        "output_token_count": {"value": 4, "unit": "tokens"},
        "time_to_first_token": {"value": 250.0, "unit": "ms"},
        "request_latency": {"value": 400.0, "unit": "ms"},
        "inter_chunk_latency": {"value": [50.0, 100.0], "unit": "ms"},
    }
    record = {"metadata": {"request_start_ns": 1759813207532900363}, "metrics": metrics}
    path.write_text(json.dumps(record))
    (one,) = read_served(path)
    assert one.token_s == pytest.approx((0.25, 0.3, 0.4))
    assert math.isnan(one.scheduled_s)
    del metrics["inter_chunk_latency"]
    path.write_text(json.dumps(record))
    assert read_served(path)[0].token_s == pytest.approx((0.25, 0.4))
    del metrics["time_to_first_token"]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="measure with streaming"):
        read_served(path)


def test_the_run_of_a_real_server_is_read_with_its_blocks() -> None:
    if not VLLM.exists():
        pytest.skip("no measured run of LLMServingSim beside this checkout")
    served = read_served(VLLM / "requests.jsonl", workload=VLLM / "workload.jsonl")
    assert len(served) == 300
    assert all(len(one.request.blocks) == one.request.n_prompt // 16 for one in served)
    assert served[0].token_s == pytest.approx((0.689434586, 17.570317551), abs=1e-6)
