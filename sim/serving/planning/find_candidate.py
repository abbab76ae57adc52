"""A candidate of a plan, from a profile or a datasheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adadecode.profiles.store import Profile
from adadecode.sim.serving.exits.exit_policy import ExitPolicy
from adadecode.sim.serving.latency.found_steps import StepsWanted, find_steps
from adadecode.sim.serving.load_checks import check_positions
from adadecode.sim.serving.planning.candidate import Candidate
from adadecode.sim.serving.planning.ridge import ridge_tokens
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.served_run import Server


def find_candidate(
    profile: Profile | None,
    wanted: StepsWanted,
    server: Server,
    prices: Mapping[str, float],
    requests: Sequence[Request],
    exits: ExitPolicy | None = None,
) -> Candidate:
    """Return a server on a device.

    Args:
        profile: A recording or an import; None for the datasheet of the device.
        wanted: The device, the model, and how long requests are.
        server: How it is set.
        prices: What an hour of each device costs.
        requests: All requests that it is to serve.
        exits: How it decodes with early exits; None for vanilla.

    Raises:
        InputError: If the blocks of keys and values are not given and cannot be worked out, or a
            request is longer than the model has positions for.
        DeviceError: If the device is unknown, or the model leaves no room on it.
        LatencyError: If something was not measured, and cannot be carried.
        ProfileError: If the profile lacks latencies, or there is no text to replay.
        DesignError: If the design makes no sense, or needs heads or gates that are not there.
    """
    steps = find_steps(profile, wanted)
    check_positions(requests, steps.shape)
    name = wanted.device or (steps.device if steps.hardware is None else steps.hardware.name)
    ridge = None
    if steps.hardware is not None and steps.precision is not None:
        ridge = ridge_tokens(steps.hardware, steps.precision)
    found = None if exits is None else exits.found(profile, requests, steps)
    heads = () if found is None else found.decoding.design.placement
    return Candidate(
        name=name,
        settings=server.settings(steps, heads),
        price=steps.price,
        devices=steps.n_devices,
        ridge_tokens=ridge,
        hourly=prices.get(name),
        exits=found,
        notes=(
            *steps.notes,
            *(() if found is None else (*found.notes, _unlike_vanilla(server))),
        ),
    )


def _unlike_vanilla(server: Server) -> str:
    """Return which settings servers with early exits do not follow, and vanilla does."""
    routed = (
        ", so that requests go to the least loaded server"
        if server.routing == "prefix-aware"
        else ""
    )
    has = [
        f"{words} (leave it out with {option})"
        for words, option, on in (
            ("asynchronous scheduling", "--no-async", server.async_scheduling),
            ("prefix caching", "--no-prefix-caching", server.prefix_caching),
        )
        if on
    ]
    vanilla = f"vanilla has {' and '.join(has)}" if has else "here vanilla does the same"
    return (
        "with early exits a step is formed when the one before it is done, and prompts that begin "
        f"alike share nothing{routed}: {vanilla}"
    )
