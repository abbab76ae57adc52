"""What a profile says of a server: its devices, its memory, and what it decodes with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.hardware.importers.aiconfigurator import import_kernels, system_device
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.serving.exits.exit_policy import ExitPolicy
from adadecode.sim.serving.latency.found_steps import StepsWanted
from adadecode.sim.serving.metrics import Slo
from adadecode.sim.serving.planning.candidate import Candidate
from adadecode.sim.serving.planning.find_candidate import find_candidate
from adadecode.sim.serving.planning.plan import plan
from adadecode.sim.serving.served_run import Server, run_server
from adadecode.sim.serving.workloads import arrivals
from tests.support.kernel_tables import write_exchanges, write_kernel_tables
from tests.support.paths import ROOT

SHAPE = replace(find_model("llama-3.1-8b"), name="small", n_layers=4)
CARD = system_device("a100_sxm")
LOAD = arrivals("poisson:5,count=6,prompt=64,output=4")


def imported(folder: Path, n_devices: int, cache: str) -> Profile:
    place = write_kernel_tables(folder / "t", caches={"bfloat16": 1.0, "fp8": 0.5})
    write_exchanges(place)
    tables = KernelLibrary.of(place).tables("a100_sxm", "vllm")
    return import_kernels(tables, SHAPE, CARD, folder / "p", cache=cache, n_devices=n_devices)


def found(profile: Profile) -> Candidate:
    wanted = StepsWanted(context=68, prompt=64, tokens=2048)
    return find_candidate(profile, wanted, Server(), {CARD.name: 1.5}, LOAD.requests)


@pytest.mark.parametrize(
    ("n_devices", "cache", "weights", "block"),
    [
        # Of each layer 218,103,808 numbers in matrices, of which a device holds its share, and
        # 8,192 in norms; 2 x 525,336,576 in the embedding and the LM head; 4,096 in the last norm.
        (1, "bf16", 2 * (4 * (218_103_808 + 8192) + 2 * 525_336_576 + 4096), 16 * 4 * 2 * 1024 * 2),
        (1, "fp8", 2 * (4 * (218_103_808 + 8192) + 2 * 525_336_576 + 4096), 16 * 4 * 2 * 1024),
        (2, "bf16", 2 * (4 * (109_051_904 + 8192) + 525_336_576 + 4096), 16 * 4 * 2 * 512 * 2),
        (4, "fp8", 2 * (4 * (54_525_952 + 8192) + 262_668_288 + 4096), 16 * 4 * 2 * 256),
    ],
)
def test_a_server_has_the_devices_of_its_profile(
    tmp_path: Path, n_devices: int, cache: str, weights: int, block: int
) -> None:
    """Each holds its share, keys and values are as wide as the profile says, and each is paid."""
    profile = imported(tmp_path, n_devices, cache)
    one = found(profile)
    step = 2048 * 4096 * 2 + 256 * 128_256 * 10
    room = 0.9 * 0.965 * CARD.memory_bytes - weights - step - 2**30
    assert (one.devices, one.settings.kv_blocks) == (n_devices, int(room // block))
    assert run_server(profile, LOAD, Server()).settings.kv_blocks == int(room // block)
    (planned,) = plan([one], lambda _: LOAD, Slo.parse("e2e_p99=1h"), recorded=True).deployments
    assert (planned.devices, planned.hourly) == (n_devices, 1.5 * n_devices)


EXITS = (
    "with early exits a step is formed when the one before it is done, and prompts that begin "
    "alike share nothing"
)
ASYNC = "asynchronous scheduling (leave it out with --no-async)"
PREFIXES = "prefix caching (leave it out with --no-prefix-caching)"


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (Server(kv_blocks=200), f"{EXITS}: vanilla has {ASYNC} and {PREFIXES}"),
        (Server(kv_blocks=200, async_scheduling=False), f"{EXITS}: vanilla has {PREFIXES}"),
        (
            Server(kv_blocks=200, prefix_caching=False, routing="prefix-aware"),
            f"{EXITS}, so that requests go to the least loaded server: vanilla has {ASYNC}",
        ),
        (
            Server(kv_blocks=200, prefix_caching=False, async_scheduling=False),
            f"{EXITS}: here vanilla does the same",
        ),
    ],
)
def test_what_early_exits_do_otherwise_than_vanilla_is_told(server: Server, said: str) -> None:
    profile = read_profile(ROOT / "profiles/recorded/demo-cpu")
    wanted = StepsWanted(context=68, prompt=64, tokens=2048)
    vanilla = find_candidate(profile, wanted, server, {}, LOAD.requests)
    exits = find_candidate(profile, wanted, server, {}, LOAD.requests, ExitPolicy(gamma=0.6))
    assert exits.notes[-1] == said
    assert not any("early exits" in note for note in vanilla.notes)
