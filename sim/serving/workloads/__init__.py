"""Requests for a server: read from files, or drawn.

::

    from adadecode.sim.serving.workloads import arrivals, read_requests

    requests = read_requests("AzureLLMInferenceTrace_conv.csv")
    drawn = arrivals("poisson:5,count=1000,prompt=512,output=128").requests
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.sim.serving.workloads.drawn_requests import arrivals
    from adadecode.sim.serving.workloads.request_file import (
        read_lengths,
        read_requests,
        read_workload,
    )
    from adadecode.sim.serving.workloads.selection import Selection
    from adadecode.sim.serving.workloads.served_file import read_served
    from adadecode.sim.serving.workloads.workload import Workload
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Selection": "adadecode.sim.serving.workloads.selection",
            "Workload": "adadecode.sim.serving.workloads.workload",
            "arrivals": "adadecode.sim.serving.workloads.drawn_requests",
            "read_lengths": "adadecode.sim.serving.workloads.request_file",
            "read_requests": "adadecode.sim.serving.workloads.request_file",
            "read_served": "adadecode.sim.serving.workloads.served_file",
            "read_workload": "adadecode.sim.serving.workloads.request_file",
        },
    )

__all__ = [
    "Selection",
    "Workload",
    "arrivals",
    "read_lengths",
    "read_requests",
    "read_served",
    "read_workload",
]
