"""Files of requests: every format, found by what the file holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads import read_lengths, read_requests, read_workload
from tests.support.paths import SHARED_DATA

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
"""
BURST_GPT = """Timestamp,Session ID,Model,Request tokens,Response tokens,Total tokens,Log Type
5,1,ChatGPT,472,18,490,Conversation log
45,2,GPT-4,1087,0,1087,API log
118.5,3,ChatGPT,417,276,693,Conversation log
"""
VIDUR = """arrived_at,num_prefill_tokens,num_decode_tokens
0.25,100,7
0.75,200,9
"""
MOONCAKE = """{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 3052, "input_length": 600, "output_length": 6, "hash_ids": [0, 9]}
"""
SENT = """{"input_toks": 35, "output_toks": 5, "arrival_time_ns": 46926808, "hash_ids": [4, 5]}
{"input_toks": 33, "output_toks": 2, "arrival_time_ns": 1046926808, "hash_ids": [4, 6]}
"""
AIPERF = [
    {
        "metadata": {
            "x_request_id": f"r{index}",
            "request_start_ns": 1759813207532900363 + start,
            "benchmark_phase": phase,
            "was_cancelled": False,
        },
        "metrics": {
            "input_sequence_length": {"value": 550, "unit": "tokens"},
            "output_sequence_length": {"value": 4, "unit": "tokens"},
            "time_to_first_token": {"value": 250.0, "unit": "ms"},
            "request_latency": {"value": 0.4, "unit": "sec"},
            "inter_chunk_latency": {"value": [50.0, 100.0], "unit": "ms"},
        },
        "error": error,
    }
    for index, start, phase, error in (
        (0, 500_000_000, "profiling", None),
        (1, 0, "profiling", None),
        (2, 9, "warmup", None),
        (3, 9, "profiling", {"code": 499}),
    )
]
GUIDE = {
    "benchmarks": [
        {
            "requests": {
                "successful": [
                    {
                        "request_id": "b",
                        "prompt_tokens": 20,
                        "output_tokens": 3,
                        "info": {
                            "timings": {
                                "request_start": 101.5,
                                "first_token_iteration": 101.75,
                                "last_token_iteration": 102.25,
                            }
                        },
                    },
                    {
                        "request_id": "a",
                        "prompt_tokens": 10,
                        "output_tokens": 2,
                        "start_time": 100.0,
                        "first_token_time": 100.5,
                        "last_token_time": 101.0,
                    },
                ],
                "errored": [{}],
                "incomplete": [],
            }
        }
    ]
}


def lines(items: list[dict[str, object]]) -> str:
    return "".join(f"{json.dumps(one)}\n" for one in items)


@pytest.mark.parametrize(
    ("text", "arrivals", "prompts", "outputs", "left_out"),
    [
        (AZURE, (0, 0.052), (4808, 3180), (10, 8), 0),
        (AZURE_2024, (0, 0.99007), (2162, 2399), (5, 6), 0),
        (BURST_GPT, (0, 113.5), (472, 417), (18, 276), 1),
        (VIDUR, (0, 0.5), (100, 200), (7, 9), 0),
        (MOONCAKE, (0, 3.052), (1100, 600), (5, 6), 0),
        (SENT, (0, 1), (35, 33), (5, 2), 0),
        (lines(AIPERF), (0, 0.5), (550, 550), (4, 4), 2),
        (json.dumps(GUIDE), (0, 1.5), (10, 20), (2, 3), 1),
        (json.dumps(GUIDE, indent=1), (0, 1.5), (10, 20), (2, 3), 1),
    ],
)
def test_each_format_is_known_by_what_it_holds(
    tmp_path: Path, text: str, arrivals, prompts, outputs, left_out: int
) -> None:
    path = tmp_path / "any.name"
    path.write_text(text)
    found = read_workload(path)
    assert [one.arrival_s for one in found.requests] == pytest.approx(arrivals, abs=1e-9)
    assert tuple(one.n_prompt for one in found.requests) == prompts
    assert tuple(one.n_output for one in found.requests) == outputs
    assert found.left_out == left_out
    assert found.requests == read_requests(path)


def test_benchmarks_list_requests_as_they_end_and_are_sorted_as_they_arrive(tmp_path: Path) -> None:
    path = tmp_path / "profile_export.jsonl"
    path.write_text(lines(AIPERF))
    assert [one.name for one in read_requests(path)] == ["r1", "r0"]


def test_blocks_are_those_of_the_server(tmp_path: Path) -> None:
    """A block of 512 tokens is two of 256; those of a file's last, started block count as well."""
    path = tmp_path / "t.jsonl"
    path.write_text(MOONCAKE)
    first, second = read_requests(path, block_size=256)
    assert len(first.blocks) == 4
    assert len(second.blocks) == 2
    assert first.blocks[:2] == second.blocks
    assert len({*first.blocks, *second.blocks}) == 4


def test_the_whole_blocks_of_a_workload_keep_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(SENT)
    assert [one.blocks for one in read_requests(path)] == [(4, 5), (4, 6)]


def test_blocks_of_another_size_ask_for_it(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(SENT)
    with pytest.raises(InputError, match=r"one id for every 8 tokens .* file_block_size, like 18"):
        read_requests(path, block_size=8)
    first, second = read_requests(path, block_size=8, file_block_size=16)
    assert first.blocks[:2] == second.blocks[:2]
    assert first.blocks[2:] != second.blocks[2:]


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"got the empty file .*: give a CSV of Azure"),
        ("a,b\n1,2\n", r"wanted a CSV of requests with the columns .*, got a, b in"),
        (changed(AZURE, (",GeneratedTokens", ",Generated")), "lacks the columns GeneratedTokens"),
        (AZURE.splitlines()[0], r"wanted requests in .*: it holds none"),
        (changed(VIDUR, ("arrived_at", "at")), r"does not say when requests arrive: draw them"),
        (changed(VIDUR, ("0.75", "0.125")), r"line 3 of .* arrives 0.125 s before .* line 2: sort"),
        (changed(VIDUR, (",200,", ",0,")), r"tokens of the prompt .*, got 0 in line 3"),
        (changed(VIDUR, (",9", ",nan")), r"tokens of the output .*, got no number in line 3"),
        (changed(VIDUR, (",9", ",1.5")), r"tokens of the output .*, got 1.5 in line 3"),
        (changed(VIDUR, ("0.75", "inf")), r"an arrival in seconds, got inf in line 3"),
        (changed(AZURE, ("2023-11-16 18:17:04.0319600", "soon")), "got no number in line 3"),
        (changed(BURST_GPT, (",18,", ",0,"), (",276,", ",0,")), "got 3 that were left out"),
        (changed(MOONCAKE, ('"output_length": 6, ', "")), "line 2 of .* lacks output_length"),
        (changed(MOONCAKE, ("[0, 9]", "[0, 9.5]")), "wanted hash_ids as a list of whole numbers"),
        (changed(MOONCAKE, (', "hash_ids": [0, 9]', "")), "got none in line 2: add them"),
        (changed(MOONCAKE, ("[0, 1, 2]", "[0]")), "got 1 ids for 1,100 tokens in request 1"),
        ('{"timestamp": 1}\n', r"got JSON with the keys timestamp in .*: give one of these"),
        (f"{MOONCAKE}7\n", r"wanted an object in line 3 of .*, got '7'"),
        (f"{MOONCAKE}{{\n", r"wanted JSON in line 3 of"),
        ('[{"conversations": []}]', "holds conversations, and not when requests arrive: draw them"),
        ('{"benchmarks": []}', "wanted a list of benchmarks in .*, got none"),
        ('{"benchmarks": [{}, {}]}', "wanted one benchmark, got 2 in .*: say which"),
        ('{"benchmarks": [{}]}', "holds no requests of benchmark 0, only figures about all"),
        (
            changed(lines(AIPERF), ('"r1"', '"r0"')),
            "of different names in .*, got 'r0' twice: leave",
        ),
        (f'{lines(AIPERF)}{{"metrics": {{}}}}', "line 5 of .* lacks metadata: wanted a record of"),
        (changed(lines(AIPERF), ('"ms"', '"min"')), "got the unit 'min' in line 1 of"),
        (changed(lines(AIPERF), ("1759813207532900363", "0.5")), "got no number in line 2"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        read_requests(path)
    assert "\n" not in str(refused.value)


def test_lengths_need_no_arrivals(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text(VIDUR.replace("arrived_at", "at"))
    assert read_lengths(path) == ((100, 7), (200, 9))
    path.write_text(MOONCAKE)
    assert read_lengths(path) == ((1100, 5), (600, 6))


def test_conversations_are_counted_by_a_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "sharegpt.json"
    turns = [{"from": "human", "value": "two words"}, {"from": "gpt", "value": "one"}]
    document = [{"conversations": turns}, {"conversations": turns[:1]}, {"conversations": []}]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="whose length depends on the tokenizer: give count_token"):
        read_lengths(path)
    assert read_lengths(path, count_tokens=lambda text: len(text.split())) == ((2, 1),)


@pytest.mark.parametrize(
    ("name", "count", "seconds", "tokens"),
    [
        ("code", 8819, 3435.948056, (18059974, 245896)),
        ("conv", 19366, 3501.721937, (22361870, 4088665)),
    ],
)
def test_the_azure_traces_are_read_whole(
    name: str, count: int, seconds: float, tokens: tuple[int, int]
) -> None:
    path = SHARED_DATA / "azure" / f"AzureLLMInferenceTrace_{name}.csv"
    if not path.exists():
        pytest.skip(f"no {path.name} beside this checkout")
    found = read_workload(path).to_json()
    assert (found["requests"], found["left_out"]) == (count, 0)
    assert found["seconds"] == pytest.approx(seconds, abs=1e-6)
    assert (found["prompt_tokens"], found["output_tokens"]) == tokens
