"""What one request waited, under the definitions of vLLM's and AIPerf's benchmarks.

=======  ==========================================================================================
TTFT     Time to first token: from the arrival to the first token. Both tools.
TPOT     Time per output token: (last token - first token) / (output tokens - 1). It is vLLM's
         ``tpot``, and what AIPerf calls ``inter_token_latency``. A request of one token has none.
ITL      Inter-token latency: the gaps between the moments at which tokens came. It is vLLM's
         ``itl``, and what AIPerf calls ``inter_chunk_latency``. Tokens that came at once are one
         moment, so where several tokens come at once ITL is longer than TPOT.
E2E      End to end: from the arrival to the last token. vLLM's ``e2el``, AIPerf's
         ``request_latency``.
wait     From the arrival until the server began with it. Clients do not see it.
=======  ==========================================================================================
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.serving.request import ServedRequest

TIMES = ("ttft_s", "tpot_s", "itl_s", "e2e_s")
"""The times that are summed up, in the order in which they are printed."""

_NONE: NDArray[np.float64] = np.zeros(0)


def ttft_s(served: ServedRequest) -> float:
    """Return seconds from the arrival to the first token."""
    return served.token_s[0] - served.request.arrival_s


def e2e_s(served: ServedRequest) -> float:
    """Return seconds from the arrival to the last token."""
    return served.token_s[-1] - served.request.arrival_s


def wait_s(served: ServedRequest) -> float:
    """Return seconds from the arrival until the server began; NaN where nobody knows."""
    return served.scheduled_s - served.request.arrival_s


def tpot_s(served: ServedRequest) -> float | None:
    """Return seconds per output token after the first; None where there is no second one."""
    if served.request.n_output < 2:
        return None
    return (served.token_s[-1] - served.token_s[0]) / (served.request.n_output - 1)


def gaps_s(served: ServedRequest) -> NDArray[np.float64] | None:
    """Return the gaps between the moments at which tokens came, in seconds.

    It is None where only the first and the last of several tokens were measured.
    """
    if len(served.token_s) < 2:
        return _NONE
    if len(served.token_s) == 2 and served.request.n_output > 2:
        return None
    gaps: NDArray[np.float64] = np.diff(np.asarray(served.token_s, dtype=np.float64))
    return gaps[gaps > 0]
