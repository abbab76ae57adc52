"""Service level objectives: how they are read, and what keeps them."""

from __future__ import annotations

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics import Slo, measure
from adadecode.sim.serving.request import Request, ServedRequest

REQUEST = Request(name="r", arrival_s=0, n_prompt=5, n_output=4)
SERVED = ServedRequest(request=REQUEST, scheduled_s=0, token_s=(1.0, 1.1, 1.2, 1.4))


def test_objectives_are_read_with_their_units() -> None:
    slo = Slo.parse("ttft_p99=2s, itl_p95=50ms")
    assert [(one.metric, one.statistic, one.limit_s) for one in slo.targets] == [
        ("ttft_s", "p99", 2),
        ("itl_s", "p95", 0.05),
    ]
    assert str(slo) == "ttft_p99=2s,itl_p95=0.05s"
    assert Slo.parse(str(slo)) == slo


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wanted objectives like ttft_p99=2s,itl_p99=50ms .*, got ''"),
        ("ttft=2s", "got 'ttft=2s'"),
        ("ttft_p98=2s", "got 'ttft_p98=2s'"),
        ("latency_p99=2s", "got 'latency_p99=2s'"),
        ("ttft_p99=2", r"wanted ttft_p99 as a duration with its unit .*, got '2'"),
        ("ttft_p99=-2s", "wanted ttft_p99 as a duration"),
        ("ttft_p99=1e999s", "wanted ttft_p99 as a duration"),
        ("ttft_p99=2s,ttft_p99=3s", "wanted ttft_p99 once, got it twice"),
    ],
)
def test_an_objective_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Slo.parse(text)


def test_margins_say_how_much_of_the_limit_is_left() -> None:
    margins = Slo.parse("ttft_p99=2s,e2e_mean=1s").margins(measure([SERVED]))
    assert margins == pytest.approx({"ttft_p99": 0.5, "e2e_mean": -0.4})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("ttft_p99=1s", True),
        ("ttft_p99=0.9s", False),
        ("e2e_mean=1.4s", True),
        ("tpot_p50=0.134s", True),
        ("tpot_p50=0.133s", False),
        ("itl_p50=0.11s", True),
        ("itl_p99=0.11s", False),
        ("itl_mean=0.13s,ttft_p99=2s", False),
    ],
)
def test_a_request_keeps_its_limits_by_itself(text: str, kept: bool) -> None:
    assert Slo.parse(text).is_kept_by(SERVED) is kept


def test_a_limit_on_what_was_not_measured_is_refused() -> None:
    ends = ServedRequest(request=REQUEST, scheduled_s=0, token_s=(1.0, 2.0))
    with pytest.raises(InputError, match="limit tpot instead"):
        Slo.parse("itl_p99=1s").is_kept_by(ends)
    with pytest.raises(InputError, match="wanted itl_p99, got a run that does not know it"):
        Slo.parse("itl_p99=1s").margins(measure([ends]))
