"""How many replicas there is work for, as the place where a search begins."""

from __future__ import annotations

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.planning.candidate import Candidate
from adadecode.sim.serving.scheduling.step import Chunk, StepWork
from adadecode.sim.serving.workloads.workload import Workload


def replicas_for_work(candidate: Candidate, workload: Workload) -> int:
    """Return how many replicas would be busy all the time, in steps as full as they can be.

    Prompts are computed as many at once as a step has tokens for, and answers with as many
    sequences as there are places and blocks for. It is an estimate: fewer replicas could hardly
    keep up, and more may be wanted.

    Args:
        candidate: The server.
        workload: The requests.

    Returns:
        The replicas, 1 or more; 1 in a closed loop, which has no rate, and where all come at once.

    Raises:
        LatencyError: If the price of a step is none.
    """
    requests, settings = workload.requests, candidate.settings
    span = workload.seconds - requests[0].arrival_s
    if workload.in_flight is not None or not span > 0:
        return 1
    prompts = sum(one.n_prompt for one in requests)
    outputs = sum(one.n_output - 1 for one in requests)
    prompt, context = max(prompts // len(requests), 2), (prompts + outputs // 2) // len(requests)
    chunks = max(settings.max_batched_tokens // prompt, 1)
    chunk = min(prompt, settings.max_batched_tokens)
    blocks = settings.usable_blocks // settings.blocks_of(context + 1)
    count = max(min(settings.max_num_seqs, settings.max_batched_tokens, blocks, len(requests)), 1)
    first = _price(candidate, StepWork(chunks=[Chunk(chunk, 0)] * chunks)) / (chunk * chunks)
    later = _price(candidate, StepWork(contexts=[context] * count)) / count
    return max(int((first * prompts + later * outputs) / span), 1)


def _price(candidate: Candidate, work: StepWork) -> float:
    """Return the seconds of a step. Raises LatencyError where it takes none, or for ever."""
    seconds = candidate.price(work)
    if not 0 < seconds < float("inf"):
        raise LatencyError(
            f"wanted steps that take time, got one of {seconds!r} s of {candidate.label}: check "
            "its latencies"
        )
    return seconds
