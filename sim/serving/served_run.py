"""One deployment under one load, from what the user has to the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile
from adadecode.sim.serving.kv_memory import UTILISATION, kv_blocks_of_memory
from adadecode.sim.serving.latency.found_steps import FoundSteps, StepsWanted, find_steps
from adadecode.sim.serving.load_checks import check_positions, other_load
from adadecode.sim.serving.metrics.comparison import errors
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics, measure
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.request import ServedRequest
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.server import ServedLoad, serve
from adadecode.sim.serving.workloads.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server as the user describes it; see `ServerSettings`.

    Attributes:
        kv_blocks: Blocks of keys and values; None for what the device's memory holds.
        utilisation: Share of that memory which the server takes.
        block_size: Positions of a block.
        max_batched_tokens: Tokens of a step.
        max_num_seqs: Sequences that run at once.
        prefix_caching: Whether blocks are kept and shared.
        async_scheduling: Whether a step is formed while the one before it runs.
        replicas: Servers, all alike.
        routing: Which of them a request goes to.
    """

    kv_blocks: int | None = None
    utilisation: float = UTILISATION
    block_size: int = 16
    max_batched_tokens: int = 2048
    max_num_seqs: int = 256
    prefix_caching: bool = True
    async_scheduling: bool = True
    replicas: int = 1
    routing: str = "round-robin"

    def settings(self, steps: FoundSteps) -> ServerSettings:
        """Return how the server forms its steps.

        Args:
            steps: What it runs, and on what.

        Raises:
            InputError: If the blocks are not given and cannot be worked out.
            DeviceError: If the model leaves no room for them.
        """
        blocks = self.kv_blocks
        if blocks is None:
            if steps.shape is None or steps.hardware is None or steps.precision is None:
                raise InputError(
                    "wanted the blocks of keys and values, which follow from a model and a device "
                    "of the catalogue: name them with --model and --from, or give --kv-blocks"
                )
            blocks = kv_blocks_of_memory(
                steps.shape,
                steps.hardware,
                steps.precision,
                block_size=self.block_size,
                max_batched_tokens=self.max_batched_tokens,
                max_num_seqs=self.max_num_seqs,
                utilisation=self.utilisation,
            )
        return ServerSettings(
            kv_blocks=blocks,
            block_size=self.block_size,
            max_batched_tokens=self.max_batched_tokens,
            max_num_seqs=self.max_num_seqs,
            prefix_caching=self.prefix_caching,
            async_scheduling=self.async_scheduling,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedRun:
    """What came of it.

    Attributes:
        metrics: The figures.
        left_out: Rows of the file of requests that are no request that was answered.
        load: Every request, and every step where steps are kept.
        settings: How each server formed its steps.
        steps: What steps took, and what that rests on.
        notes: What was estimated or assumed, a sentence each.
        measured: The figures of the measured run; None where there is none.
    """

    metrics: LoadMetrics
    left_out: int
    load: ServedLoad
    settings: ServerSettings
    steps: FoundSteps
    notes: tuple[str, ...]
    measured: LoadMetrics | None

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``adadecode-sim serve --json`` prints."""
        found = {
            **self.metrics.to_json(),
            "left_out": self.left_out,
            "device": self.steps.device,
            "basis": self.steps.basis,
            "kv_blocks": self.settings.kv_blocks,
            "steps": self.load.n_steps,
            "cached_share": self.load.hit_share,
            "notes": list(self.notes),
        }
        if self.measured is not None:
            found["measured"] = self.measured.to_json()
            found["errors"] = errors(self.metrics, self.measured)
        return found


def run_server(
    profile: Profile | None,
    workload: Workload,
    server: Server,
    *,
    device: str | None = None,
    source: str | None = None,
    model: str | None = None,
    dtype: str | None = None,
    unequal_contexts: bool | None = None,
    warmup_s: float = 0.0,
    slo: Slo | None = None,
    against: tuple[ServedRequest, ...] | None = None,
    keep_steps: bool = False,
) -> ServedRun:
    """Serve a workload.

    Args:
        profile: Where latencies come from; None for the datasheet of ``device``.
        workload: The requests.
        server: The server.
        device: The device; None for the one of the profile.
        source: The device of the profile, where it does not say.
        model: The model of the profile, where it does not say; with a datasheet, the one to run.
        dtype: Number format of the weights; None for the recorded one.
        unequal_contexts: As in `StepsWanted`.
        warmup_s: Requests that arrive within so many seconds are left out of the figures.
        slo: Objectives, for the goodput.
        against: What a server measured of these requests.
        keep_steps: Whether to keep every step.

    Raises:
        InputError: If the options contradict each other, or a request cannot be served.
        DeviceError: If the device is unknown, or the model does not fit on it.
        LatencyError: If something was not measured, and cannot be carried.
    """
    requests = workload.requests
    wanted = StepsWanted(
        device=device,
        source=source,
        model=model,
        dtype=dtype,
        context=max(one.n_prompt + one.n_output for one in requests),
        prompt=max(one.n_prompt for one in requests),
        tokens=server.max_batched_tokens,
        unequal_contexts=unequal_contexts,
    )
    steps = find_steps(profile, wanted)
    check_positions(requests, steps.shape)
    settings = server.settings(steps)
    load = serve(
        requests,
        settings,
        steps.price,
        in_flight=workload.in_flight,
        replicas=server.replicas,
        routing=server.routing,
        keep_steps=keep_steps,
    )
    notes = [*workload.notes, *steps.notes]
    if against and (why := other_load(requests, [one.request for one in against])):
        notes.append(why)
    if server.kv_blocks is None:
        notes.append(
            f"{settings.kv_blocks:,} blocks of keys and values, worked out from the device's "
            "memory: give those of the server's log with --kv-blocks"
        )
    if beyond := steps.price.beyond / steps.price.steps:
        notes.append(f"{beyond:.1%} of the steps lie beyond what was measured, where a law goes on")
    return ServedRun(
        metrics=measure(load.served, warmup_s=warmup_s, slo=slo, use=load.use),
        left_out=workload.left_out,
        load=load,
        settings=settings,
        steps=steps,
        notes=tuple(notes),
        measured=None if against is None else measure(against, warmup_s=warmup_s),
    )
