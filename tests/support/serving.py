"""Requests and servers that are small enough to be worked out by hand."""

from __future__ import annotations

from adadecode.sim.serving.request import Request
from adadecode.sim.serving.scheduling.settings import ServerSettings


def request(
    name: str,
    *,
    arrival_s: float = 0.0,
    n_prompt: int = 4,
    n_output: int = 1,
    blocks: tuple[int, ...] = (),
) -> Request:
    """Return a request."""
    return Request(
        name=name, arrival_s=arrival_s, n_prompt=n_prompt, n_output=n_output, blocks=blocks
    )


def one_at_a_time(longest: int) -> ServerSettings:
    """Return a server that computes one whole request after the other."""
    return ServerSettings(
        kv_blocks=2,
        block_size=longest,
        max_batched_tokens=longest,
        max_num_seqs=1,
        async_scheduling=False,
        prefix_caching=False,
    )
