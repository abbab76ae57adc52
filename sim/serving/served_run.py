"""One deployment under one load, from what the user has to the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Policy
from adadecode.sim.serving.exits.exit_policy import ADAPTIVE, ExitPolicy
from adadecode.sim.serving.exits.exit_server import ServedExits, serve_exits
from adadecode.sim.serving.exits.found_exits import FoundExits
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

    def settings(self, steps: FoundSteps, heads: tuple[int, ...] = ()) -> ServerSettings:
        """Return how the server forms its steps.

        Args:
            steps: What it runs, and on what.
            heads: Depths of the exit heads that it holds.

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
                heads=heads,
                n_devices=steps.n_devices,
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
        exits: How servers with early exits decoded; None for vanilla.
        policies: Under the policy adaptive, the figures of all policies under the same load, by
            their names.
    """

    metrics: LoadMetrics
    left_out: int
    load: ServedLoad
    settings: ServerSettings
    steps: FoundSteps
    notes: tuple[str, ...]
    measured: LoadMetrics | None
    exits: FoundExits | None = None
    policies: Mapping[str, LoadMetrics] = field(default_factory=dict)

    @property
    def policy(self) -> str:
        """What decoded, in words: the label of a design, and the order of segments."""
        return "vanilla" if self.exits is None else self.exits.label

    @property
    def better(self) -> str | None:
        """Which of vanilla and early exits ends requests sooner; None where only one was run."""
        fixed = {name: one for name, one in self.policies.items() if name != ADAPTIVE}
        return min(fixed, key=lambda name: fixed[name].e2e_s.mean, default=None)

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
            "policy": self.policy,
            "notes": list(self.notes),
        }
        if self.measured is not None:
            found["measured"] = self.measured.to_json()
            found["errors"] = errors(self.metrics, self.measured)
        if self.policies:
            found["better"] = self.better
            found["policies"] = {
                name: {
                    "e2e_s": one.e2e_s.to_json(),
                    "tpot_s": None if one.tpot_s is None else one.tpot_s.to_json(),
                    "output_tokens_per_s": one.throughput.output_tokens_per_s,
                }
                for name, one in self.policies.items()
            }
        if self.exits is not None and self.exits.drafting:
            found["drafting"] = [
                {"sequences": count, "design": label} for count, label in self.exits.drafting
            ]
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
    exits: ExitPolicy | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        exits: How servers with early exits decode; None for vanilla, as vLLM has it. The policy
            adaptive runs vanilla and its own design without it, too.
        progress: Called with how many requests of all have ended, each time that one does.

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
    found = None
    if exits is not None:
        found = exits.found(profile, requests, steps, seed=workload.seed)
    heads = () if found is None else found.decoding.design.placement
    settings = server.settings(steps, heads)
    deployed = _Deployed(
        workload=workload, settings=settings, server=server, steps=steps, progress=progress
    )
    notes = [*workload.notes, *steps.notes]
    if found is None:
        load = deployed.vanilla(keep_steps=keep_steps)
    else:
        answered = deployed.with_exits(found, keep_steps=keep_steps)
        load = answered.load
        notes += found.notes_of(answered)

    def figures(load: ServedLoad) -> LoadMetrics:
        return measure(load.served, warmup_s=warmup_s, slo=slo, use=load.use)

    metrics, policies = figures(load), dict[str, LoadMetrics]()
    if found is not None and found.decoding.rule is not None:
        policies = {
            "vanilla": figures(replace(deployed, settings=server.settings(steps)).vanilla()),
            str(Policy.ADADECODE): figures(deployed.with_exits(found.without_rule()).load),
            ADAPTIVE: metrics,
        }
    if against and (why := other_load(requests, [one.request for one in against])):
        notes.append(why)
    if server.kv_blocks is None:
        notes.append(
            f"{settings.kv_blocks:,} blocks of keys and values, worked out from the device's "
            "memory: give those of the server's log with --kv-blocks"
        )
    times = steps.price if found is None else found.times
    if beyond := times.beyond / times.steps:
        notes.append(f"{beyond:.1%} of the steps lie beyond what was measured, where a law goes on")
    return ServedRun(
        metrics=metrics,
        left_out=workload.left_out,
        load=load,
        settings=settings,
        steps=steps,
        notes=tuple(notes),
        measured=None if against is None else measure(against, warmup_s=warmup_s),
        exits=found,
        policies=policies,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Deployed:
    """Requests and the servers that they go to, whatever those decode by."""

    workload: Workload
    settings: ServerSettings
    server: Server
    steps: FoundSteps
    progress: Callable[[int, int], None] | None

    def vanilla(self, *, keep_steps: bool = False) -> ServedLoad:
        """Return what comes of servers as vLLM has them."""
        return serve(
            self.workload.requests,
            self.settings,
            self.steps.price,
            in_flight=self.workload.in_flight,
            replicas=self.server.replicas,
            routing=self.server.routing,
            keep_steps=keep_steps,
            progress=self.progress,
        )

    def with_exits(self, found: FoundExits, *, keep_steps: bool = False) -> ServedExits:
        """Return what comes of servers with early exits."""
        return serve_exits(
            self.workload.requests,
            self.settings,
            found.decoding,
            in_flight=self.workload.in_flight,
            replicas=self.server.replicas,
            routing=self.server.routing,
            seed=self.workload.seed,
            keep_steps=keep_steps,
            progress=self.progress,
        )
