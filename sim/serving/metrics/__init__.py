"""What requests waited, and whether a server keeps up.

::

    from adadecode.sim.serving.metrics import Slo, errors, measure

    run = measure(served, warmup_s=60, slo=Slo.parse("ttft_p99=2s,itl_p99=50ms"))
    run.ttft_s.p99, run.throughput.output_tokens_per_s, run.judgement.verdict
    errors(run, measure(read_served("requests.jsonl")))["ttft_s"]["mean"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.sim.serving.metrics.comparison import errors
    from adadecode.sim.serving.metrics.load_metrics import LoadMetrics, measure
    from adadecode.sim.serving.metrics.replications import Interval, Replications, difference
    from adadecode.sim.serving.metrics.server_use import ServerUse
    from adadecode.sim.serving.metrics.slo import Slo
    from adadecode.sim.serving.metrics.verdict import Verdict
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Interval": "adadecode.sim.serving.metrics.replications",
            "LoadMetrics": "adadecode.sim.serving.metrics.load_metrics",
            "Replications": "adadecode.sim.serving.metrics.replications",
            "ServerUse": "adadecode.sim.serving.metrics.server_use",
            "Slo": "adadecode.sim.serving.metrics.slo",
            "Verdict": "adadecode.sim.serving.metrics.verdict",
            "difference": "adadecode.sim.serving.metrics.replications",
            "errors": "adadecode.sim.serving.metrics.comparison",
            "measure": "adadecode.sim.serving.metrics.load_metrics",
        },
    )

__all__ = [
    "Interval",
    "LoadMetrics",
    "Replications",
    "ServerUse",
    "Slo",
    "Verdict",
    "difference",
    "errors",
    "measure",
]
