"""The figures of one run: what requests waited, and what the server did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError
from adadecode.sim.core.parsing import finite
from adadecode.sim.serving.metrics.request_times import (
    TIMES,
    e2e_s,
    gaps_s,
    tpot_s,
    ttft_s,
    wait_s,
)
from adadecode.sim.serving.metrics.server_use import ServerUse
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.metrics.summary import Summary
from adadecode.sim.serving.metrics.verdict import Judgement, judge
from adadecode.sim.serving.request import Request, ServedRequest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What is answered a second, from the first arrival that counts to the last token.

    Attributes:
        requests_per_s: Requests that end.
        output_tokens_per_s: Tokens that come out.
        total_tokens_per_s: The same with the prompts of the requests that end.
    """

    requests_per_s: float
    output_tokens_per_s: float
    total_tokens_per_s: float


@dataclass(frozen=True, kw_only=True)
class Goodput:
    """What keeps the objectives by itself.

    Attributes:
        slo: The objectives.
        requests_per_s: Requests a second that keep all of them.
        share: Share of the requests that keep all of them; the unfinished keep none.
    """

    slo: str
    requests_per_s: float
    share: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadMetrics:
    """The figures of one run. Requests that arrive in the warm-up are left out.

    Attributes:
        ttft_s: Time to first token.
        tpot_s: Time per output token after the first; None where no request has a second one.
        itl_s: Gaps between tokens, over all requests; None where they were not measured.
        e2e_s: From the arrival to the last token.
        wait_s: Until the server begins; None where nobody knows.
        requests: How many requests count.
        warmup: How many were left out.
        unfinished: How many arrived, and were not answered when the run was stopped.
        seconds: From the first arrival that counts to the last token.
        whole_s: From the first arrival of all to the last token; what the server did is of them.
        throughput: What was answered a second.
        goodput: What kept the objectives; None without any.
        preemptions: How often a request lost its keys and values.
        judgement: Whether the server keeps up, and why.
        use: What the server did; None where nobody knows.
        table: A row for each request that counts; see `to_frame`.
    """

    ttft_s: Summary
    tpot_s: Summary | None
    itl_s: Summary | None
    e2e_s: Summary
    wait_s: Summary | None
    requests: int
    warmup: int
    unfinished: int
    seconds: float
    whole_s: float
    throughput: Throughput
    goodput: Goodput | None
    preemptions: int
    judgement: Judgement
    use: ServerUse | None
    table: pd.DataFrame

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``adadecode-sim serve --json`` prints of a run."""
        use = self.use or ServerUse()
        return {
            **{name: _json(getattr(self, name)) for name in (*TIMES, "wait_s")},
            "throughput": asdict(self.throughput),
            "goodput": None if self.goodput is None else asdict(self.goodput),
            "verdict": str(self.judgement.verdict),
            "reason": self.judgement.reason,
            "requests": self.requests,
            "warmup": self.warmup,
            "unfinished": self.unfinished,
            "seconds": self.seconds,
            "preemptions": self.preemptions,
            "utilisation": use.utilisation(self.whole_s),
            "kv_mean": use.kv_mean,
            "kv_peak": use.kv_peak,
            "acceptance_length": use.acceptance_length,
            "acceptance_rate": use.acceptance_rate,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row per request, in the order in which they arrived.

        =========================  ===============================================================
        column                     meaning
        =========================  ===============================================================
        name, n_prompt, n_output   The request.
        arrival_s, scheduled_s,    When it arrived, when the server began with it (NaN where
        first_s, last_s            nobody knows), and when its first and last token came.
        ttft_s, tpot_s, e2e_s,     Its times, as `adadecode.sim.serving.metrics.request_times`
        wait_s                     defines them; NaN where it has none.
        preemptions                How often it lost its keys and values.
        =========================  ===============================================================
        """
        return self.table.copy()


def measure(
    served: Sequence[ServedRequest],
    *,
    warmup_s: float = 0.0,
    slo: Slo | None = None,
    use: ServerUse | None = None,
    unfinished: Sequence[Request] = (),
) -> LoadMetrics:
    """Return the figures of a run.

    Args:
        served: The requests that were answered, simulated or measured, in any order.
        warmup_s: Requests that arrive within so many seconds after the first one are left out, and
            the throughput is counted from then on.
        slo: Objectives, for the goodput.
        use: What the server did in the whole run.
        unfinished: Requests that arrived, and were not answered when the run was stopped.

    Raises:
        InputError: If no request is left, or a request has no token.
    """
    import pandas as pd

    finite("the warm-up", warmup_s, low=0)
    if empty := next((one for one in served if not one.token_s), None):
        raise InputError(f"wanted the tokens of request {empty.request.name}, got none")
    everyone = sorted(served, key=lambda one: one.request.arrival_s)
    begins = [one.request.arrival_s for one in everyone[:1]] + [one.arrival_s for one in unfinished]
    start = min(begins, default=0.0) + warmup_s
    counted = tuple(one for one in everyone if one.request.arrival_s >= start)
    waiting = [one for one in unfinished if one.arrival_s >= start]
    if not counted:
        raise InputError(
            f"wanted requests that arrive after a warm-up of {warmup_s:g} s and are answered, got "
            f"none of {len(served) + len(unfinished):,}: give a shorter warm-up or more requests"
        )
    seconds = max(one.token_s[-1] for one in everyone) - start
    if not seconds > 0:
        raise InputError(f"wanted a run that takes time, got one of {seconds:g} s")
    columns = _columns(counted)
    gaps = [gaps_s(one) for one in counted]
    known = [one for one in gaps if one is not None]
    return LoadMetrics(
        ttft_s=_summary(columns["ttft_s"]),
        tpot_s=Summary.of(columns["tpot_s"]),
        itl_s=Summary.of(np.concatenate(known)) if len(known) == len(gaps) else None,
        e2e_s=_summary(columns["e2e_s"]),
        wait_s=Summary.of(columns["wait_s"]),
        requests=len(counted),
        warmup=len(everyone) - len(counted),
        unfinished=len(unfinished),
        seconds=seconds,
        whole_s=seconds + warmup_s,
        throughput=_throughput(everyone, start, seconds),
        goodput=None if slo is None else _goodput(slo, counted, len(waiting), seconds),
        preemptions=sum(columns["preemptions"]),
        judgement=judge(counted, waiting),
        use=use,
        # The times of all tokens stay behind: a plan keeps the figures of many runs.
        table=pd.DataFrame(columns),
    )


def _summary(values: list[float]) -> Summary:
    found = Summary.of(values)
    assert found is not None  # every request that counts has a first and a last token
    return found


def _throughput(everyone: Sequence[ServedRequest], start: float, seconds: float) -> Throughput:
    """Return what was answered a second from ``start`` on.

    Of a request that arrived before, the tokens that came later count; where only the first and
    the last were measured, they are taken to have come evenly.
    """
    ended = [one for one in everyone if one.token_s[-1] >= start]
    tokens = sum(one.request.n_output * _share_after(one.token_s, start) for one in ended)
    prompts = sum(one.request.n_prompt for one in ended if one.token_s[0] >= start)
    return Throughput(
        requests_per_s=len(ended) / seconds,
        output_tokens_per_s=tokens / seconds,
        total_tokens_per_s=(tokens + prompts) / seconds,
    )


def _share_after(token_s: Sequence[float], start: float) -> float:
    """Return the share of tokens that came from ``start`` on."""
    if token_s[0] >= start:
        return 1.0
    times: NDArray[np.float64] = np.asarray(token_s)
    if len(times) == 2:
        return float((times[1] - start) / (times[1] - times[0]))
    return float((times >= start).mean())


def _goodput(
    slo: Slo, counted: Sequence[ServedRequest], unfinished: int, seconds: float
) -> Goodput:
    good = sum(slo.is_kept_by(one) for one in counted)
    return Goodput(
        slo=str(slo),
        requests_per_s=good / seconds,
        share=good / (len(counted) + unfinished),
    )


def _json(summary: Summary | None) -> dict[str, float] | None:
    return None if summary is None else summary.to_json()


def _columns(counted: Sequence[ServedRequest]) -> dict[str, list[Any]]:
    """Return the columns of `LoadMetrics.to_frame`."""
    tpots = map(tpot_s, counted)
    return {
        "name": [one.request.name for one in counted],
        "n_prompt": [one.request.n_prompt for one in counted],
        "n_output": [one.request.n_output for one in counted],
        "arrival_s": [one.request.arrival_s for one in counted],
        "scheduled_s": [one.scheduled_s for one in counted],
        "first_s": [one.token_s[0] for one in counted],
        "last_s": [one.token_s[-1] for one in counted],
        "ttft_s": [ttft_s(one) for one in counted],
        "tpot_s": [np.nan if tpot is None else tpot for tpot in tpots],
        "e2e_s": [e2e_s(one) for one in counted],
        "wait_s": [wait_s(one) for one in counted],
        "preemptions": [one.preemptions for one in counted],
    }
