"""Steps that were timed in pieces give the prices of other steps."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.schema import ALL_TABLES
from adadecode.profiles.store import read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Verify
from adadecode.sim.serving.batching.batcher import Batch, Span
from adadecode.sim.serving.latency.step_times import StepTimes
from adadecode.sim.serving.load_validation.batch_times import (
    BatchTimes,
    Part,
    Pricer,
    attention_terms,
)
from adadecode.sim.serving.load_validation.held import hold_loads
from adadecode.sim.serving.load_validation.serving_table import serving_of_pieces
from adadecode.sim.serving.load_validation.simulate import StepAsked
from adadecode.sim.serving.scheduling.step import Chunk, StepWork
from tests.support.paths import DEMO_PROFILE
from tests.support.toy_loads import toy_load, toy_pattern, with_loads

BLOCK = 4
PIECES = ("embed", "layers", "attention", "gates", "checks", "verified")


def piece(parts: list[tuple[int, int, int]], segment: int = 0, **more: float) -> dict[str, Any]:
    """Return a step of an engine whose times are sums of known terms."""
    rows = sum(one[0] for one in parts)
    terms = attention_terms([Part(*one) for one in parts], BLOCK)
    asked: dict[str, Any] = {"gates": 0, "checks": len(parts), "verified": 0, **more}
    return {
        "run": 0,
        "segment": segment,
        "rows": tuple(one[0] for one in parts),
        "stops": tuple(one[1] for one in parts),
        "n_prompts": tuple(one[2] for one in parts),
        **asked,
        "embed_s": 1e-6 * rows,
        "layers_s": 1e-4 + 1e-5 * rows,
        "attention_s": 1e-5 * terms[0] + 2e-6 * terms[1] + 1e-7 * terms[3] + 1e-8 * terms[7],
        "gates_s": 0.0,
        "checks_s": 1e-5 * (1 + asked["checks"]) * (asked["checks"] > 0),
        "verified_s": 3e-5 * (1 + asked["verified"]) * (asked["verified"] > 0),
        "host_s": 1e-5 + 1e-6 * len(parts),
        "wake_s": 2e-4 if len(parts) == 1 else math.nan,
    }


def pieces() -> pd.DataFrame:
    """Steps of 1 to 16 sequences of several lengths, some beside a chunk of a prompt."""
    rows = []
    for count, stop, chunk in itertools.product((1, 2, 4, 8, 16), (9, 30, 70), (0, 20)):
        decoding = [(1, stop + number % 3, 5) for number in range(count)]
        rows.append(piece([*decoding, *([(chunk, chunk, 40)] if chunk else [])]))
        deferred = [(1 + number % 4, stop + 3, 5) for number in range(count)]
        rows.append(piece(deferred, 1, checks=0, verified=sum(one[0] for one in deferred)))
    rows += [piece([(chunk, chunk, 40)], checks=0) for chunk in (10, 20, 40)]
    return pd.DataFrame(rows, columns=ALL_TABLES["load_pieces"].names)


def asked(segment: int, spans: tuple[Span, ...], *questions: Any, woken: bool = False) -> StepAsked:
    batch = Batch(step=0, segment=segment, spans=spans)
    return StepAsked(batch=batch, asked=tuple(questions), woken=woken)


def test_sums_of_known_terms_are_found_again() -> None:
    price = Pricer(times=BatchTimes.of(pieces(), BLOCK), n_prompts={"a": 5, "b": 5, "c": 40})
    spans = (Span("a", 29, 30), Span("b", 29, 30), Span("c", 0, 20))
    questions = (("a", Check(2, 29)), ("b", Check(2, 29)))
    wanted = whole(piece([(1, 30, 5), (1, 30, 5), (20, 20, 40)], checks=2))
    assert price(asked(0, spans, questions)) == pytest.approx(wanted, rel=0.03)
    woken = price(asked(0, spans, questions, woken=True)) - price(asked(0, spans, questions))
    assert woken == pytest.approx(2e-4)
    deferred = (Span("a", 30, 33), Span("b", 31, 33))
    verified = (("a", Verify(30, 33, (1, 2))), ("b", Verify(31, 33, (1,))))
    wanted = whole(piece([(3, 33, 5), (2, 33, 5)], 1, checks=0, verified=5))
    assert price(asked(1, deferred, verified)) == pytest.approx(wanted, rel=0.03)


def whole(row: dict[str, Any]) -> float:
    """Return the time of a step by its pieces."""
    return float(sum(row[f"{piece}_s"] for piece in (*PIECES, "host")))


def test_rows_that_attend_together_are_padded_and_others_alone() -> None:
    """Two decode beside each other, a prompt of 20 by itself, 2 rows of prompt and 1 beyond it."""
    parts = [Part(1, 30, 5), Part(1, 20, 5), Part(20, 20, 40), Part(3, 6, 5)]
    terms = attention_terms(parts, BLOCK)
    together = [2 * 8 * 4, 1 * 2 * 4, 1 * 2 * 4]
    assert terms[:3] == [1.0, 25.0, 3.0]
    assert terms[3] == sum(together)
    assert terms[4] == together[0] + 2 * together[1] + together[2]
    assert terms[5:] == [1.0, 20.0, 20 * (20 - 10)]


def test_what_was_never_timed_is_refused() -> None:
    price = Pricer(times=BatchTimes.of(pieces(), BLOCK), n_prompts={"a": 5})
    with pytest.raises(LatencyError, match="wanted times of segment 7"):
        price(asked(7, (Span("a", 0, 1),)))
    with pytest.raises(LatencyError, match="got none: record the load again"):
        BatchTimes.of(pieces().iloc[:0], BLOCK)


def pieces_alike() -> pd.DataFrame:
    """The same steps, each piece of which takes as long whatever the step runs."""
    found = pieces().assign(embed_s=1e-3, layers_s=4e-3, attention_s=6e-4, host_s=2e-4)
    for kind in ("checks", "verified"):
        found[f"{kind}_s"] = 3e-4 * (found[kind] > 0)
    return found


def test_the_table_serving_prices_a_server() -> None:
    """Four layers take twice what the two of each segment do, and all else comes once."""
    table = serving_of_pieces(pieces_alike(), {0: (0, 2, 4)})
    assert set(table["kind"]) == {"layer", "attention", "ends", "host", "check", "choice"}
    price = StepTimes.of(table, 4)
    for chunks, contexts in (([], [29, 29]), ([Chunk(16, 0)], []), ([Chunk(16, 0)], [29, 29])):
        seconds = price(StepWork(chunks=chunks, contexts=contexts))
        assert seconds == pytest.approx(2 * (4e-3 + 6e-4) + 1e-3 + 3e-4 + 2e-4)


def test_a_held_load_tells_errors_and_noise() -> None:
    """One request of a vanilla engine: a step for its prompt, then one for each token."""
    run = toy_load(toy_pattern(Design.of("vanilla"), count=1))
    about = {"model": {"n_layers": run.n_layers}, "eos_token_ids": []}
    profile = with_loads(read_profile(DEMO_PROFILE), [run, run], pieces_alike())
    (held,) = hold_loads(replace(profile, manifest={**profile.manifest, **about}))
    assert held.exact
    assert held.to_json()["steps"][0]["why"] == ""
    assert held.median_noise == 0
    (served,) = run.served
    arrival, step = served.request.arrival_s, 1e-3 + 4e-3 + 6e-4 + 3e-4 + 2e-4
    later_tokens = len(served.token_s) - 1
    simulated = {
        "ttft_s": 2e-4 + step,
        "tpot_s": step,
        "e2e_s": 2e-4 + step + later_tokens * step,
    }
    measured = {
        "ttft_s": served.token_s[0] - arrival,
        "tpot_s": (served.token_s[-1] - served.token_s[0]) / later_tokens,
        "e2e_s": served.token_s[-1] - arrival,
    }
    for time, ours in simulated.items():
        for name in ("mean", "p99"):
            wanted = ours / measured[time] - 1
            assert [one[time][name] for one in held.signed_errors] == pytest.approx([wanted] * 2)
            assert held.errors[time][name] == pytest.approx(abs(wanted))
