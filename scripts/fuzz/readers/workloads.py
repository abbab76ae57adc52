"""Files of requests, and what benchmarks of servers measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.fuzz.reader import Reader

CSV = {
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:17:03.9799600,480,10\n2023-11-16 18:17:04.0319600,318,8\n",
    "burst.csv": "Timestamp,Model,Request tokens,Response tokens\n5,a,472,18\n45,b,108,0\n",
    "vidur.csv": "arrived_at,num_prefill_tokens,num_decode_tokens\n0.25,100,7\n0.75,200,9\n",
}

SENT = [
    {"input_toks": 35, "output_toks": 5, "arrival_time_ns": 46926808, "hash_ids": [4, 5]},
    {"input_toks": 33, "output_toks": 2, "arrival_time_ns": 146926808, "hash_ids": [4, 6]},
]

MEASURED = [
    {
        "request_id": f"bench-{index}",
        "input_toks": tokens,
        "output_toks": output,
        "queued_ts": 100.5 + index,
        "scheduled_ts": 100.75 + index,
        "first_token_ts": 102.0 + index,
        "last_token_ts": 103.0 + index,
    }
    for index, (tokens, output) in enumerate(((35, 5), (33, 2)))
]

AIPERF = [
    {
        "metadata": {"request_start_ns": 1759813207532900363 + index, "was_cancelled": False},
        "metrics": {
            "input_sequence_length": {"value": 550, "unit": "tokens"},
            "output_sequence_length": {"value": 4, "unit": "tokens"},
            "time_to_first_token": {"value": 250.0, "unit": "ms"},
            "request_latency": {"value": 400.0, "unit": "ms"},
            "inter_chunk_latency": {"value": [50.0, 100.0], "unit": "ms"},
        },
        "error": None,
    }
    for index in range(2)
]

TIMES = {"request_start": 1.5, "first_token_iteration": 1.75, "last_token_iteration": 2.25}

GUIDELLM = {
    "benchmarks": [
        {
            "requests": {
                "successful": [
                    {"prompt_tokens": 20, "output_tokens": 3, "info": {"timings": TIMES}},
                    {"prompt_tokens": 10, "output_tokens": 2, "start_time": 1.0}
                    | {"first_token_time": 1.5, "last_token_time": 2.0},
                ],
                "errored": [],
            }
        }
    ]
}

MOONCAKE = [
    {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]},
    {"timestamp": 3052, "input_length": 600, "output_length": 6, "hash_ids": [0, 9]},
]

SPECIFICATION = "gamma:5,cv=2,count=9,prompt=lognormal:20/0.5,output=1..9,seed=3"


def _build() -> None:
    for name, text in CSV.items():
        Path(name).write_text(text)
    for name, rows in (
        *(("sent.jsonl", SENT), ("measured.jsonl", MEASURED)),
        *(("aiperf.jsonl", AIPERF), ("mooncake.jsonl", MOONCAKE)),
    ):
        Path(name).write_text(_lines(rows))
    Path("guidellm.json").write_text(json.dumps(GUIDELLM, indent=1))
    Path("arrivals.txt").write_text(SPECIFICATION)
    Path("times.txt").write_text("0.5\n0.75\n2.5\n")
    Path("slo.txt").write_text("ttft_p99=2s,itl_p50=50ms")


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _read() -> str:
    from adadecode.sim.serving.workloads import read_workload

    names = (*CSV, "sent.jsonl", "measured.jsonl", "aiperf.jsonl", "mooncake.jsonl")
    found = [read_workload(name) for name in (*names, "guidellm.json")]
    return "\n".join(f"{one.to_json()} {one.requests}" for one in found)


def _serve() -> str:
    from adadecode.profiles.input_file import read_text
    from adadecode.sim.serving.metrics import Slo, measure
    from adadecode.sim.serving.workloads import read_served

    slo = Slo.parse(read_text("slo.txt"))
    measured = read_served("measured.jsonl", workload="sent.jsonl")
    found = [measured, read_served("aiperf.jsonl"), read_served("guidellm.json")]
    return "\n".join(
        json.dumps(measure(one).to_json(), allow_nan=False) for one in found
    ) + json.dumps(slo.margins(measure(read_served("aiperf.jsonl"))))


def _draw() -> str:
    from adadecode.profiles.input_file import read_text
    from adadecode.sim.serving.workloads import arrivals

    drawn = (read_text("arrivals.txt"), "times:times.txt,prompt=5,output=1..9")
    return "\n".join(str(arrivals(one).requests[:50]) for one in drawn)


WORKLOADS = Reader(
    name="workloads", build=_build, actions={"read": _read, "serve": _serve, "draw": _draw}
)
